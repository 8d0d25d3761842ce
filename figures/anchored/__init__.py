"""Figures of the second paper."""
