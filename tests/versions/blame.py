"""Which package broke which test: versions are taken back by halves until one is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

__all__ = ["UNCHANGED", "blame", "suspicion"]

#: Blamed where a test fails with every version taken back: this machine, or the code itself.
UNCHANGED = frozenset[str]()
#: Runs tests with these packages taken back, and returns those that pass.
Passing = Callable[[frozenset[str], frozenset[str]], frozenset[str]]


def blame(tests: Iterable[str], suspects: Sequence[str], passing: Passing) -> dict[str, frozenset[str]]:
    """Find for every failing test which packages must be taken back so that it passes.

    Args:
        tests: those that failed with none of the suspects taken back.
        suspects: packages whose versions changed, the likeliest first.
        passing: given (packages that are taken back, tests), runs the tests and returns those that pass.

    Returns:
        {test: packages}; one as a rule, a set of which none can be spared where several must go together, and
        `UNCHANGED` where nothing helps. A test that passes when it is run again is left out: no version broke
        it.
    """
    failing = frozenset(tests)
    failing -= passing(frozenset(), failing) if failing else frozenset()
    found = dict.fromkeys(sorted(failing), UNCHANGED)
    if suspects and failing:
        curable = passing(frozenset(suspects), failing)
        found |= _halved(curable, tuple(suspects), passing)
    return found


def suspicion(changed: Iterable[str], direct: Iterable[str], failures: Iterable[str]) -> list[str]:
    """Changed packages, the likeliest culprits first: named in failures, then asked for by us, then the rest.

    Args:
        changed: normalised names.
        direct: names that pyproject.toml asks for.
        failures: texts of failures.
    """
    said, ours = "\n".join(failures), set(direct)

    def rank(name: str) -> tuple[int, bool, str]:
        module = name.replace("-", "_")
        mentions = said.count(f"site-packages/{module}/") + said.count(f"named '{module}")
        return -mentions, name not in ours, name

    return sorted(changed, key=rank)


def _halved(tests: frozenset[str], suspects: tuple[str, ...], passing: Passing) -> dict[str, frozenset[str]]:
    """As `blame`, for tests that pass with all of the suspects taken back."""
    if not tests:
        return {}
    if len(suspects) == 1:
        return dict.fromkeys(tests, frozenset(suspects))
    half = (len(suspects) + 1) // 2
    found: dict[str, frozenset[str]] = {}
    for part in (suspects[:half], suspects[half:]):
        left = tests - found.keys()
        if left:
            found |= _halved(passing(frozenset(part), left), part, passing)
    return found | {test: _fewest(test, suspects, passing) for test in sorted(tests - found.keys())}


def _fewest(test: str, suspects: tuple[str, ...], passing: Passing) -> frozenset[str]:
    """A set of suspects of which none can be spared (delta debugging; Zeller and Hildebrandt 2002)."""
    kept, parts = suspects, 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        rests = (kept[:start] + kept[start + size :] for start in range(0, len(kept), size))
        cured = next((rest for rest in rests if rest and passing(frozenset(rest), frozenset([test]))), None)
        if cured is not None:
            kept, parts = cured, max(parts - 1, 2)
        elif size == 1:
            break
        else:
            parts = min(2 * parts, len(kept))
    return frozenset(kept)
