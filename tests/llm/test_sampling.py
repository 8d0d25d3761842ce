"""From logits to laws: temperature, top-k and top-p on small exact cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tradeoff.llm.sampling import Sampling

LAW = [0.4, 0.1, 0.3, 0.15, 0.05]


def cut(law: list[float], sampling: Sampling) -> np.ndarray:
    return sampling.probabilities(torch.tensor(law, dtype=torch.float64).log()).numpy()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), LAW),
        (Sampling(0.5), [0.16, 0.01, 0.09, 0.0225, 0.0025]),
        (Sampling(2.0), [0.4**0.5, 0.1**0.5, 0.3**0.5, 0.15**0.5, 0.05**0.5]),
        (Sampling(top_k=1), [1, 0, 0, 0, 0]),
        (Sampling(top_k=2), [0.4, 0, 0.3, 0, 0]),
        (Sampling(top_k=4), [0.4, 0.1, 0.3, 0.15, 0]),
        (Sampling(top_k=5), LAW),
        (Sampling(top_k=50), LAW),
        (Sampling(top_p=0.39), [1, 0, 0, 0, 0]),
        (Sampling(top_p=0.41), [0.4, 0, 0.3, 0, 0]),
        (Sampling(top_p=0.69), [0.4, 0, 0.3, 0, 0]),
        (Sampling(top_p=0.71), [0.4, 0, 0.3, 0.15, 0]),
        (Sampling(top_p=1e-9), [1, 0, 0, 0, 0]),
        # In this order: heated to (.16, .01, .09, ..), cut to (.64, .36), of which .6 takes the first alone.
        (Sampling(0.5, 2, 0.6), [1, 0, 0, 0, 0]),
        # Top-p looks at what top-k left: .4 / .7 = .57 of the mass, where it would be .4 of the whole.
        (Sampling(top_k=2, top_p=0.5), [1, 0, 0, 0, 0]),
        (Sampling(top_k=3, top_p=0.8), [0.4, 0, 0.3, 0, 0]),
        (Sampling(min_p=0.3), [0.4, 0, 0.3, 0.15, 0]),
        (Sampling(min_p=0.76), [0.4, 0, 0, 0, 0]),
        (Sampling(min_p=1.0), [1, 0, 0, 0, 0]),
        # Behind the temperature: .3 is .75 of .4, and its square .5625 of the square of that.
        (Sampling(0.5, min_p=0.6), [1, 0, 0, 0, 0]),
        (Sampling(2.0, min_p=0.6), [0.4**0.5, 0, 0.3**0.5, 0.15**0.5, 0]),
    ],
)
def test_small_cases(sampling: Sampling, expected: list[float]) -> None:
    """The law is `expected`, normalised; what is cut is exactly 0."""
    p = cut(LAW, sampling)
    reference = np.array(expected) / np.sum(expected)
    np.testing.assert_allclose(p, reference, rtol=1e-12)
    assert ((p == 0) == (reference == 0)).all()


def test_top_k_keeps_those_that_tie_with_the_last() -> None:
    """Three tokens tie for the second place: top-2 keeps all four."""
    p = cut([0.4, 0.18, 0.06, 0.18, 0.18], Sampling(top_k=2))
    np.testing.assert_allclose(p, np.array([0.4, 0.18, 0, 0.18, 0.18]) / 0.94, rtol=1e-12)


def test_top_p_keeps_the_smallest_set_and_breaks_ties_by_id() -> None:
    """Of four equal tokens, .5 keeps the first two and .51 the first three."""
    equal = [0.25] * 4
    np.testing.assert_array_equal(cut(equal, Sampling(top_p=0.5)), [0.5, 0.5, 0, 0])
    np.testing.assert_allclose(cut(equal, Sampling(top_p=0.51)), [1 / 3, 1 / 3, 1 / 3, 0])


def test_batches_of_any_dtype_give_float64_laws() -> None:
    """Rows of a batch are treated one by one, in float64, and sum to one."""
    logits = torch.randn(3, 2, 40, generator=torch.Generator().manual_seed(0))
    sampling = Sampling(0.8, 10, 0.9)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        p = sampling.probabilities(logits.to(dtype))
        assert p.dtype == torch.float64
        torch.testing.assert_close(p.sum(-1), torch.ones(3, 2, dtype=torch.float64))
        torch.testing.assert_close(p[1, 1], sampling.probabilities(logits[1, 1].to(dtype)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0}, "temperature=0 is greedy"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"top_k": -1}, "top_k=-1"),
        ({"min_p": -0.1}, "min_p=-0.1"),
        ({"min_p": 1.1}, "min_p=1.1"),
        ({"top_k": 1.5}, "top_k=1.5"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"top_p": float("nan")}, "top_p=nan"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    """Values out of range are refused by name."""
    with pytest.raises(ValueError, match=message):
        Sampling(**arguments)


def test_plain_is_the_models_own_law() -> None:
    """`plain` holds exactly where nothing is changed."""
    assert Sampling().plain
    assert not any(s.plain for s in (Sampling(0.9), Sampling(top_k=3), Sampling(top_p=0.9)))
