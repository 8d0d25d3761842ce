"""`tradeoff detect` as users run it."""
