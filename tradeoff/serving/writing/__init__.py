"""Marked text for whoever asks, where a server was started for it: in a process that holds models and key."""
