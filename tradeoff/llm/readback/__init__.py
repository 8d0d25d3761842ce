"""Texts read back by models: their laws at every token, and what a key does there."""
