"""A key in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.detecting import KEY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    KEY.write(tmp_path / "key")
    return tmp_path
