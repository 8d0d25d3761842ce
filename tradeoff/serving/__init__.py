"""A server of verdicts, and of marked text if it is asked for: requests read, judged in processes, and
answered; it needs the extra `serve`."""

from tradeoff.serving.limits import Access, Limits, Setup, Writing
from tradeoff.serving.server import Reports, serve

__all__ = ["Access", "Limits", "Reports", "Setup", "Writing", "serve"]
