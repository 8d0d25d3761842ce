"""Detectors that need the models at hand, not the key alone."""
