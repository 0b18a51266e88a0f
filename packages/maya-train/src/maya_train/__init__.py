"""Composer, stages, training loop and strategies on Lightning Fabric."""

__version__ = "0.2.0"
