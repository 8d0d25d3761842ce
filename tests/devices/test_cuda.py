"""On a real GPU, where there is one: kernels and watermarks give what they give on the host."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.devices.cases import DECODERS, METHODS_OF_ALL, Calls, calls_of_decoder, calls_of_method
from tests.devices.simulated import CUDA
from tradeoff.decoders import Decoder
from tradeoff.kernels import Method

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def agree(of: Callable[[torch.device], Calls]) -> None:
    """Every call of a device; logarithms of the libraries differ in the last place."""
    wanted = of(torch.device("cpu"))
    for name, call in of(CUDA).items():
        for found, other in zip(tensors(call()), tensors(wanted[name]()), strict=True):
            assert found.device == CUDA, name
            torch.testing.assert_close(found.cpu(), other, rtol=1e-12, atol=1e-14, equal_nan=True, msg=name)


def tensors(result: object) -> list[torch.Tensor]:
    """Those of a result."""
    parts = result if isinstance(result, tuple) else (result,)
    return [part for part in parts if isinstance(part, torch.Tensor)]


@pytest.mark.parametrize("method", METHODS_OF_ALL, ids=lambda method: f"{method.name}-{method.decoder.name}")
def test_kernels_on_cuda(method: Method) -> None:
    agree(lambda device: calls_of_method(method, device))


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.spelling)
def test_watermarks_on_cuda(decoder: Decoder) -> None:
    agree(lambda device: calls_of_decoder(decoder, device))
