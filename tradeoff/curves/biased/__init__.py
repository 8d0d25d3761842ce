"""Biased decoders: what strength is made of, and what a budget of distortion buys."""
