"""Watermarking language models under speculative decoding: exact theory, engine, detectors."""
