"""Curves of efficiency and strength."""
