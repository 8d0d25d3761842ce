"""The machine-checked companion of the paper: one module per statement, `python -m sims` for all of them."""
