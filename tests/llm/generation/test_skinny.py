"""Products the faster way are the same products, and the model is left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tradeoff.llm.generation.skinny import skinny_maps, skinny_products


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 2), (2, 1), (1, 7), (2, 4), (3, 5), (4, 4), (16, 6), (97,), (4,), (1,), (2, 0)],
)
def test_same_values_in_both_ways(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(40, 24, bias=bias).requires_grad_(False)
    x = torch.randn(*shape, 40)
    plain = linear(x)
    with skinny_products(skinny_maps(linear)):
        fast = linear(x)
    assert fast.shape == plain.shape
    assert fast.is_contiguous()
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-6)


def test_maps_are_used_inside_and_restored_after() -> None:
    linear = nn.Linear(4, 3).requires_grad_(False)
    inside = []

    def stand_in(x: torch.Tensor) -> torch.Tensor:
        inside.append(x)
        raise KeyError

    with pytest.raises(KeyError), skinny_products([(linear, stand_in)]):
        linear(torch.zeros(1, 4))
    assert len(inside) == 1
    assert "forward" not in vars(linear)
    assert linear(torch.zeros(1, 4)).shape == (1, 3)


def test_only_float32_on_cpus_gains() -> None:
    class Adapted(nn.Linear):
        """Has a forward pass of its own, which must not be replaced."""

    model = nn.Sequential(nn.Linear(4, 4), Adapted(4, 4), nn.ReLU())
    assert [module for module, _ in skinny_maps(model)] == [model[0]]
    assert skinny_maps(model.double()) == []
    assert skinny_maps(model.bfloat16()) == []
    assert skinny_maps(nn.Linear(4, 4, device="meta")) == []
