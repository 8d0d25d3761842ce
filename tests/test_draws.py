"""Inversion of a distribution function: the token is where it passes the uniform number."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.support import distributions
from tradeoff.draws import categorical


@given(p=distributions(), u=st.floats(1e-16, 1 - 2**-53))
def test_categorical_inverts_the_distribution_function(p: np.ndarray, u: float) -> None:
    token = int(categorical(p, np.array(u)))
    assert p[token] > 0
    end = np.cumsum(p)
    assert end[token] >= u * end[-1] * (1 - 1e-15)
    assert end[token] - p[token] <= u * end[-1] * (1 + 1e-15)


def test_categorical_at_the_ends() -> None:
    p = np.array([0.0, 0.3, 0.0, 0.7, 0.0])
    assert categorical(p, np.array(2.0**-53)) == 1
    assert categorical(p, np.array(1 - 2.0**-53)) == 3
