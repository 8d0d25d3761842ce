"""The second paper: e-values that may be stopped at any time."""
