"""Taking versions back by halves finds the package that broke a test, and says so where none did."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.versions.blame import UNCHANGED, blame, suspicion

PACKAGES = [f"p{i}" for i in range(13)]


class World:
    """Tests that pass exactly if all packages that broke them are taken back."""

    def __init__(self, broken_by: dict[str, frozenset[str]]):
        self.broken_by, self.runs = broken_by, 0

    def passing(self, back: frozenset[str], tests: frozenset[str]) -> frozenset[str]:
        assert tests
        self.runs += 1
        return frozenset(t for t in tests if self.broken_by[t] and self.broken_by[t] <= back)


class Shaky(World):
    """The same, but that one test fails the first time alone, whatever the versions."""

    def passing(self, back: frozenset[str], tests: frozenset[str]) -> frozenset[str]:
        return super().passing(back, tests) | (tests & {"shaky"})


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(PACKAGES), min_size=1),
    st.permutations(PACKAGES),
)
def test_single_culprits_are_found(broken_by: dict[str, str], order: list[str]) -> None:
    """Whoever they are and in whatever order they are suspected, with few runs."""
    world = World({test: frozenset([package]) for test, package in broken_by.items()})
    assert blame(broken_by, order, world.passing) == world.broken_by
    assert world.runs <= 2 + 2 * 4 * len(set(broken_by.values()))


@given(st.sets(st.sampled_from(PACKAGES), min_size=2), st.permutations(PACKAGES))
def test_accomplices_are_named_together(culprits: set[str], order: list[str]) -> None:
    """Where no half alone helps, those that must go together are named, and nobody else."""
    world = World({"a": frozenset(culprits), "b": frozenset([order[0]])})
    assert blame("ab", order, world.passing) == world.broken_by


def test_a_test_that_passes_again_convicts_nobody() -> None:
    world = Shaky({"shaky": UNCHANGED, "b": frozenset(["p3"])})
    assert blame(["shaky", "b"], PACKAGES, world.passing) == {"b": frozenset(["p3"])}


def test_what_no_version_cures_is_blamed_on_none() -> None:
    world = World({"a": UNCHANGED, "b": frozenset(["p3"])})
    assert blame("ab", PACKAGES, world.passing) == world.broken_by
    assert blame("ab", [], world.passing) == {"a": UNCHANGED, "b": UNCHANGED}


def test_the_likeliest_are_looked_at_first() -> None:
    """Those that failures name, then those that we ask for, then theirs."""
    text = "lib/site-packages/b_c/x.py:3: in f\nlib/site-packages/b_c/y.py\nNo module named 'd.e'"
    assert suspicion(["a", "b-c", "d", "z"], ["z"], [text]) == ["b-c", "d", "z", "a"]
