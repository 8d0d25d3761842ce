"""Detectors of complete texts: statistics whose law without a watermark is known."""
