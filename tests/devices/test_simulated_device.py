"""Kernels, watermarks and their numbers on a CUDA device that is simulated: nothing falls back to the host.

On the fake device every operation between device and host is an error, and so is whatever waits for data;
what does wait is named here with its reason, and followed on the played device, where results are those of
the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from tests.devices.cases import (
    CONTEXTS,
    DECODERS,
    METHODS_OF_ALL,
    PRF,
    ROWS,
    Calls,
    N,
    calls_of_decoder,
    calls_of_method,
    randomness,
)
from tests.devices.simulated import (
    CUDA,
    WAITS,
    MixedDevices,
    Played,
    ReadBack,
    fake_device,
    needs_simulation,
    on_device,
    played_device,
)
from tradeoff.decoders import Decoder, GumbelMax, SynthID, parse_decoder
from tradeoff.kernels import METHODS, Columns, Method, OneRace
from tradeoff.keyed import (
    DepthKeys,
    HfKgwSettings,
    HfSynthIDSettings,
    Prf,
    SamplingTable,
    Stream,
    VllmPhilox,
    listed,
)

pytestmark = needs_simulation
HOST = torch.device("cpu")
#: Watermarks that wait for the device, and why.
WAITING_DECODERS: dict[str, tuple[set[str], str]] = {
    "synthid:inf": ({"law", "law of rows", "token"}, "rounds go on until all rows have settled"),
    "kgw:2": ({"law of rows"}, "rows of green lists are looked up on the host"),
    "kgw:hard,gamma=0.5": ({"law of rows"}, "the same"),
    "kgw:2,most=5": ({"law of rows"}, "the same"),
    "completed:kgw:2": ({"law of rows"}, "the same"),
    "simplexwater:4": ({"law", "law of rows"}, "plans are solved on the host"),
    "heavywater:lognormal,k=32": ({"law", "law of rows"}, "the same"),
    "completed:heavywater:lognormal,k=32": ({"law", "law of rows", "token"}, "the same"),
}
_VERDICTS = {
    *("accepts", "settles", "replacement", "after rejection", "verdict", "of some rows"),
    "accepted of a block",
}
#: Methods that wait, likewise.
WAITING_METHODS: dict[str, tuple[set[str], str]] = {
    "joint-tournament": (
        {"draft", "candidates", *_VERDICTS},
        "few tokens play, and which ones decides shapes; the martingale is walked on the host",
    ),
    "joint-transport": (
        {"bonus", "draft", "candidates", *_VERDICTS},
        "plans are solved on the host, for rows whose draft may be rejected",
    ),
}


def parts(result: Any) -> list[torch.Tensor]:
    """The tensors of a result."""
    return [part for part in (result if isinstance(result, tuple) else (result,)) if part is not None]


def kinds(result: Any) -> list[tuple[tuple[int, ...], torch.dtype]]:
    return [(tuple(part.shape), part.dtype) for part in parts(result)]


def on_fake(of: Callable[[torch.device], Calls]) -> set[str]:
    """Names of the calls that wait; of the others, that results are on the device and as on the host."""
    wanted = {name: kinds(call()) for name, call in of(HOST).items()}
    waiting = set()
    with fake_device():
        for name, call in of(CUDA).items():
            try:
                found = call()
            except WAITS:
                waiting.add(name)
                continue
            assert all(part.device == CUDA for part in parts(found)), name
            assert kinds(found) == wanted[name], name
    return waiting


def on_played(of: Callable[[torch.device], Calls]) -> None:
    """Every call gives on the device what it gives on the host."""
    wanted = {name: parts(call()) for name, call in of(HOST).items()}
    with played_device():
        found = {name: parts(call()) for name, call in of(CUDA).items()}
        assert all(part.device == CUDA for some in found.values() for part in some)
        copies = {name: [part.cpu() for part in some] for name, some in found.items()}
    for name, some in copies.items():
        for part, other in zip(some, wanted[name], strict=True):
            # Logarithms of the libraries differ in the last place.
            torch.testing.assert_close(part, other, rtol=1e-12, atol=1e-14, equal_nan=True, msg=name)


def described(method: Method) -> str:
    return f"{method.name}-{method.decoder.name}"


def test_every_kernel_is_here() -> None:
    assert {method.name for method in METHODS_OF_ALL} == set(METHODS)


@pytest.mark.parametrize("method", METHODS_OF_ALL, ids=described)
def test_kernels(method: Method) -> None:
    """Those that wait are named; all others never do, and mix nothing."""
    wanted = WAITING_METHODS.get(method.name, (set(), ""))[0]
    if "green lists" in method.decoder.randomness and method.drafts:
        # As `WAITING_DECODERS` says of rows.
        wanted = wanted | {"of some rows"}
    assert on_fake(lambda device: calls_of_method(method, device)) == wanted


@pytest.mark.parametrize("method", METHODS_OF_ALL, ids=described)
def test_kernels_give_what_they_give_on_the_host(method: Method) -> None:
    on_played(lambda device: calls_of_method(method, device))


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.spelling)
def test_watermarks(decoder: Decoder) -> None:
    wanted = WAITING_DECODERS.get(decoder.spelling, (set(), ""))[0]
    assert on_fake(lambda device: calls_of_decoder(decoder, device)) == wanted
    on_played(lambda device: calls_of_decoder(decoder, device))


_SYNTHID = DepthKeys((11, 22, 33))
_TOKENS = (np.arange(N), np.arange(2 * ROWS).reshape(ROWS, 2))


@pytest.mark.parametrize(
    ("prf", "names"),
    [
        (PRF, ("uniform", "race", "bits", "lists")),
        (VllmPhilox(0x0123456789ABCDEF, 2), ("uniform", "race")),
        (HfSynthIDSettings()(_SYNTHID, 2), ("bits",)),
        (HfSynthIDSettings(SamplingTable(1000))(_SYNTHID, 2), ("bits",)),
    ],
    ids=["default", "vllm", "hf-synthid", "hf-synthid, table of 1000"],
)
def test_pseudorandom_functions(prf: Prf, names: tuple[str, ...]) -> None:
    """Of a vocabulary and of single tokens, in every stream: no number waits, or is of the host."""
    more = {"lists": (0.3,)}

    def calls(device: torch.device) -> Calls:
        return {
            f"{name} {stream} {tokens.ndim}": partial(
                getattr(prf, name), stream, CONTEXTS, torch.from_numpy(tokens).to(device), *more.get(name, ())
            )
            for name in names
            for stream in sorted(prf.streams)
            for tokens in _TOKENS
        }

    assert on_fake(calls) == set()
    on_played(calls)


def test_numbers_of_tokens_alone() -> None:
    """Buckets, and the one list of a key."""

    def calls(device: torch.device) -> Calls:
        ids = torch.from_numpy(np.arange(N)).to(device)
        return {"buckets": lambda: PRF.buckets(ids, 8), "listed": lambda: listed(PRF, ids, 0.4)}

    assert on_fake(calls) == set()
    on_played(calls)


def test_lists_of_transformers_are_made_on_the_host() -> None:
    """By the generator of PyTorch's CPUs: tokens are read back."""
    prf = HfKgwSettings(N)(5, 2)

    def calls(device: torch.device) -> Calls:
        ids = torch.from_numpy(np.arange(N)).to(device)
        return {"lists": lambda: prf.lists(Stream.SHARED, CONTEXTS, ids, 0.25)}

    assert on_fake(calls) == {"lists"}
    on_played(calls)


@pytest.mark.parametrize("prf", [None, PRF], ids=["no key", "a masked position"])
def test_true_draws(prf: Prf | None) -> None:
    """True randomness is drawn on the host, and put where the vocabulary is."""

    def calls(device: torch.device) -> Calls:
        numbers = randomness(device, prf)
        token = torch.from_numpy(np.array([0, 3, 5])).to(device)
        return {
            "uniform": numbers.uniform,
            "kept": lambda: numbers.kept("some"),
            "coin": numbers.coin,
            "race": lambda: numbers.zeta(Stream.SHARED, GumbelMax()),
            "one of a race": lambda: numbers.race_at(Stream.SHARED, token),
            "bits": lambda: numbers.zeta(Stream.TARGET, SynthID(3)).word(0),
            "side information": lambda: numbers.zeta(Stream.SHARED, parse_decoder("simplexwater:4")).s,
            "position": lambda: numbers.zeta(Stream.SHARED, parse_decoder("delta-reweight")),
            "lists": lambda: numbers.zeta(Stream.SHARED, parse_decoder("kgw:2")).every(),
            "one list": lambda: numbers.zeta(Stream.SHARED, parse_decoder("unigram:2")).every(),
        }

    assert on_fake(calls) == set()
    on_played(calls)


def _with(column: Callable[..., torch.Tensor]) -> Method:
    """The method of one race, whose replacement is another function."""

    class Faulty(Method):
        name = "faulty"
        columns: Columns = OneRace.columns._replace(replace=column)
        detection = OneRace.detection

    return Faulty(GumbelMax())


def _of_the_host(method: Method, p: Any, q: Any, draft: Any, numbers: Any) -> torch.Tensor:
    # What is made without a device is made on the host.
    return (p * torch.linspace(0, 1, N)).argmax(dim=-1)


def _left_on_the_host(method: Method, p: Any, q: Any, draft: Any, numbers: Any) -> torch.Tensor:
    return torch.zeros(ROWS, dtype=torch.int64)


def _waiting(method: Method, p: Any, q: Any, draft: Any, numbers: Any) -> torch.Tensor:
    return draft if bool((p > q).any()) else draft + 0


def test_a_constant_of_the_host_is_found() -> None:
    """So that the tests above can fail: in an operation, as a result, and where data are waited for."""
    mixed = _with(_of_the_host)
    with pytest.raises(Exception, match="device"):
        on_fake(lambda device: {"replacement": calls_of_method(mixed, device)["replacement"]})
    with pytest.raises(MixedDevices, match="one on the host"):
        on_played(lambda device: {"replacement": calls_of_method(mixed, device)["replacement"]})
    left = _with(_left_on_the_host)
    for check in (on_fake, on_played):
        with pytest.raises(AssertionError):
            check(lambda device: {"replacement": calls_of_method(left, device)["replacement"]})
    waits = _with(_waiting)
    assert on_fake(lambda device: {"replacement": calls_of_method(waits, device)["replacement"]}) == {
        "replacement"
    }


@pytest.mark.parametrize("simulated", [fake_device, played_device], ids=["fake", "played"])
def test_what_the_simulated_devices_refuse(simulated: Callable[[], Any]) -> None:
    """Arrays of the device, and indices of the host, which PyTorch would copy without a word."""
    with simulated():
        values = on_device(np.arange(6.0).reshape(2, 3))
        with pytest.raises(ReadBack):
            values.numpy()
        with pytest.raises(MixedDevices, match="indexed by one on cpu"):
            values[torch.zeros(1, dtype=torch.int64)]
        with pytest.raises(MixedDevices, match="indexed by ndarray"):
            values[np.zeros(1, dtype=np.int64)]


def test_what_the_fake_device_cannot_carry() -> None:
    """Arrays of NumPy go in and have no data any more, on the host neither: what reads them is played."""
    with fake_device():
        held = torch.from_numpy(np.ones(3))
        assert held.device == HOST
        with pytest.raises(ReadBack, match="without data"):
            held.numpy()
        with pytest.raises(ReadBack, match="without data"):
            on_device(np.ones(3)).cpu().numpy()
    with played_device():
        assert isinstance(on_device(np.ones(3)), Played)
        assert on_device(np.arange(3.0)).cpu().numpy().tolist() == [0, 1, 2]


def test_played_entries() -> None:
    """Numbers, slices, masks, and what they set, as PyTorch has them."""
    wanted = torch.arange(24.0).reshape(2, 3, 4)
    with played_device():
        values = on_device(np.arange(24.0, dtype=np.float32).reshape(2, 3, 4))
        rows = on_device(np.array([1, 0]))
        for found, other in (
            (values[1], wanted[1]),
            (values[..., 1:3], wanted[..., 1:3]),
            (values[:, None, 0], wanted[:, None, 0]),
            (values[rows], wanted[[1, 0]]),
            (values[rows, rows], wanted[[1, 0], [1, 0]]),
            (values[:, rows], wanted[:, [1, 0]]),
            (values[values > 5], wanted[wanted > 5]),
        ):
            assert torch.equal(found.cpu(), other)
        values[0, 1] = 7.0
        values[rows, 2] = values[0, 0]
        assert values.cpu()[0, 1].tolist() == [7] * 4
        assert values.cpu()[:, 2].tolist() == [[0, 1, 2, 3]] * 2
