"""Figures of the detection experiment, from its tables."""
