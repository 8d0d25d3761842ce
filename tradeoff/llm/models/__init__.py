"""Pairs of draft and target: the built-in one, any of Hugging Face's, checked before they are used."""
