"""A server of verdicts: requests read, judged in processes, and answered; it needs the extra `serve`."""

from tradeoff.serving.limits import Access, Limits, Setup
from tradeoff.serving.server import Reports, serve

__all__ = ["Access", "Limits", "Reports", "Setup", "serve"]
