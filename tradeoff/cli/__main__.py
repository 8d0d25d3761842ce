"""`python -m tradeoff.cli`: the command without the console script."""

from tradeoff.cli import main

main()
