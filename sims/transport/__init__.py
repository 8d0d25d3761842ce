"""The third paper: watermarks by optimal transport."""
