"""Trials of detectors on generated texts."""
