"""What a server counts for Prometheus: no text, no key and no address is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Counters"]

#: Upper ends of the buckets of seconds.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

#: The same of generation, which takes longer.
_LONGER = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Counters:
    """Counts of one server.

    Args:
        paths: the paths that are counted by their names; all others are "other".
    """

    def __init__(self, paths: Iterable[str]):
        self._paths = frozenset(paths)
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "tradeoff_requests", "Requests that were answered.", ["path", "status"], registry=registry
        )
        self._refusals = Counter(
            "tradeoff_refusals",
            "Requests that were refused, by the code of the error.",
            ["code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "tradeoff_request_seconds",
            "From the head of a request to the end of its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._running = Gauge(
            "tradeoff_requests_running", "Requests that are read, wait or are judged.", registry=registry
        )
        self._bytes = Counter("tradeoff_body_bytes", "Bytes of bodies that were read.", registry=registry)
        self._tokens = Counter(
            "tradeoff_tokens_judged", "Tokens of texts that were judged.", registry=registry
        )
        self._texts = Counter(
            "tradeoff_texts_judged", "Texts that were judged, by verdict.", ["verdict"], registry=registry
        )

    def generating(self, writing: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Count generations, too.

        Args:
            writing, waiting: how many are at work, and how many wait, whenever that is asked for.
        """
        registry = self._registry
        self._generations = Counter(
            "tradeoff_generations", "Generations that are over, by how.", ["outcome"], registry=registry
        )
        self._new_tokens = Counter("tradeoff_tokens_generated", "Tokens generated.", registry=registry)
        self._generation_seconds = Histogram(
            "tradeoff_generation_seconds",
            "From the turn of a generation to its end.",
            buckets=_LONGER,
            registry=registry,
        )
        for name, what, count in (
            ("running", "Generations at work.", writing),
            ("waiting", "Generations that wait for their turn.", waiting),
        ):
            Gauge(f"tradeoff_generations_{name}", what, registry=registry).set_function(count)

    def generated(self, outcome: str, tokens: int, seconds: float) -> None:
        """One generation that is over, in which texts got so many tokens."""
        self._generations.labels(outcome).inc()
        self._new_tokens.inc(tokens)
        # One that had no turn took no time of the models.
        if seconds:
            self._generation_seconds.observe(seconds)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """One request."""
        known = path if path in self._paths else "other"
        self._requests.labels(known, str(status)).inc()
        self._seconds.labels(known).observe(seconds)

    def refused(self, code: str) -> None:
        """One refusal."""
        self._refusals.labels(code).inc()

    def running(self, count: int) -> None:
        """How many requests are at work."""
        self._running.set(count)

    def read(self, size: int) -> None:
        """So many bytes."""
        self._bytes.inc(size)

    def judged(self, tokens: int, verdicts: Iterable[str]) -> None:
        """Texts with so many tokens in all."""
        self._tokens.inc(tokens)
        for verdict in verdicts:
            self._texts.labels(verdict).inc()

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)
