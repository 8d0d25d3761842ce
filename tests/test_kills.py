"""Whoever is killed while writing loses nothing, and leaves nothing for good."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.versions.lock import ROOT


@pytest.mark.parametrize("kills", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_kills_at_random_moments(tmp_path: Path, kills: int) -> None:
    """Acknowledged texts are there, once; lines, tables and pages are whole; the next writer tidies up."""
    command = [sys.executable, "-m", "tests.helpers.killing", str(tmp_path), str(kills), "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["problems"] == []
    assert report["kills"] == kills
    # The writers were at work: there was something to lose, and something to tidy up.
    assert report["acknowledged"] > 0
    assert report["leftovers"] > 0
