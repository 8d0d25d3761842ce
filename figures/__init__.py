"""One module per figure: data in, picture (pdf, png) and csv out. `python -m figures --help` lists them."""

import tradeoff  # noqa: F401  its old paths, and those of this package, are found after that
