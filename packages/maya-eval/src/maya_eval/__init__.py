"""Normalisation profiles, WER and CER, significance and reports for speech recognition."""

__version__ = "0.2.0"
