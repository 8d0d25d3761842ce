"""Figures of the third paper."""
