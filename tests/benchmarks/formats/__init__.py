"""Timings beside the software whose formats are read."""
