"""The first paper on a real pair of models."""
