"""The first paper: the trade-off and its end."""
