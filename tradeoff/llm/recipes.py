"""What a worker makes an engine from: names of models, settings, and how to read the key; never the key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

from tradeoff.llm.generation.engine import EngineSettings
from tradeoff.llm.models.pair import ModelPair, load_pair
from tradeoff.llm.models.placement import DeviceMap, check_device_map
from tradeoff.llm.requested import Requested
from tradeoff.scheme import Scheme
from tradeoff.workers import parse_workers

if TYPE_CHECKING:
    from tradeoff.keyed import AnyKey

__all__ = ["PairNames", "Recipe", "SchemeRecipe", "pair_of", "spread_of"]


@dataclass(frozen=True)
class PairNames:
    """A pair by its names, as `load_pair` takes them.

    Attributes:
        target, draft: models.
        device, dtype: those of `load_pair` where None.
        device_map: how the target is spread over devices; None for one device.
    """

    target: str
    draft: str
    device: str | None = None
    dtype: str | None = None
    device_map: str | None = None


class Recipe(Protocol):
    """An engine's models and settings. It is sent to workers, so that it holds no key.

    Attributes:
        names: the models.
        probe: as of `Engine`.
    """

    @property
    def names(self) -> PairNames: ...

    @property
    def probe(self) -> bool: ...

    def settings(self, pair: ModelPair, tell: Callable[[str], None] = lambda _: None) -> EngineSettings:
        """The settings for a pair, with the key, which is read here and now; what models set is told."""
        ...


@dataclass(frozen=True)
class SchemeRecipe:
    """A scheme, with the key of whoever reads it.

    Attributes:
        names: the models.
        scheme: how to watermark.
        read_key: called in every process; None for a scheme without a watermark.
        further: of `EngineSettings`, beside method and key.
        probe: as of `Engine`.
        requested: what else is asked for of sampling, which the models may complete.
    """

    names: PairNames
    scheme: Scheme
    read_key: Callable[[], AnyKey] | None
    further: Mapping[str, Any] = field(default_factory=dict)
    probe: bool = True
    requested: Requested | None = None

    @classmethod
    def of(
        cls,
        names: PairNames,
        scheme: Scheme,
        read_key: Callable[[], AnyKey] | None,
        settings: EngineSettings,
        probe: bool = True,
        requested: Requested | None = None,
    ) -> SchemeRecipe:
        """That of settings of this process, without the key in them."""
        kept = [one.name for one in fields(settings) if one.name not in ("method", "prf")]
        further = {name: getattr(settings, name) for name in kept}
        return cls(names, scheme, read_key, further, probe, requested)

    def settings(self, pair: ModelPair, tell: Callable[[str], None] = lambda _: None) -> EngineSettings:
        """As of `Recipe`."""
        prf = None if self.read_key is None else self.scheme.function(self.read_key())
        settings = EngineSettings(method=self.scheme.method, prf=prf, **self.further)
        return settings if self.requested is None else self.requested.settled(settings, pair, tell)


def spread_of(
    device_map: DeviceMap | None, device: str | None, workers: int | str, gpus_per_worker: float | None
) -> str | None:
    """How every worker spreads its target; None for one device.

    Args:
        device_map, device: as asked for; with several GPUs each, "auto" where both are None.
        workers, gpus_per_worker: as of `tradeoff.workers.executor_of`.

    Raises:
        ValueError: as `check_device_map`; for a mapping, which names devices of one process; several GPUs and
            one device; or processes that would each take all GPUs.
    """
    if device_map is None:
        several = gpus_per_worker is not None and gpus_per_worker > 1
        if several and device is not None:
            raise ValueError(
                f"device={device!r} is one device, and gpus_per_worker={gpus_per_worker} are several; leave "
                "one of them out"
            )
        return "auto" if several else None
    check_device_map(device_map, device)
    if not isinstance(device_map, str):
        raise ValueError(
            f"device_map={device_map!r} names devices of one process; with workers use 'auto', 'balanced' or "
            "'sequential'"
        )
    who = parse_workers(workers)
    if not who.ray and not who.alone:
        raise ValueError(
            f"device_map={device_map!r} would give each of workers={workers} all GPUs; use workers='ray' "
            "with gpus_per_worker=2, say, or workers=1"
        )
    return device_map


#: The one pair of this process.
_loaded: dict[PairNames, ModelPair] = {}


def pair_of(names: PairNames) -> ModelPair:
    """The pair of these names, loaded once; another one takes its place."""
    if names not in _loaded:
        # First, so that there is never room needed for both.
        _loaded.clear()
        _loaded[names] = load_pair(
            names.target,
            names.draft,
            device=names.device,
            dtype=names.dtype,
            device_map=names.device_map,
            progress=False,
        )
    return _loaded[names]
