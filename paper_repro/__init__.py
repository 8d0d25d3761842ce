"""The papers' experiments, reproduced: `python -m paper_repro` runs all of them."""
