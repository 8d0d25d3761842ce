"""Fits the `jump` draft of the built-in target."""
