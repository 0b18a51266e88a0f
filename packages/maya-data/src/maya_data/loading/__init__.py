"""Batches for one rank: loader, its state, workers, and what becomes of damaged audio."""
