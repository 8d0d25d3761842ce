"""The papers' experiments, reproduced: `python -m paper_repro` runs all of them."""

from tradeoff.display import require_llm

# Before any module of it imports PyTorch: who lacks it is told what to install, and sees no traceback.
require_llm()
