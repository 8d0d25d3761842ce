"""Configurations of other software: which watermark they name, under which key.

Three are read as they are, each from the JSON that its software reads or writes:

- Transformers' `WatermarkingConfig`: greenlist_ratio, bias, hashing_key, seeding_scheme, context_width;
- Transformers' `SynthIDTextWatermarkingConfig`: ngram_len, keys, sampling_table_size, sampling_table_seed,
  context_history_size, skip_first_ngram_calls, debug_mode; both as well in `generation_config.json`, under
  `watermarking_config`;
- vLLM's `--watermark-config`: key, algorithm, alpha, context_width, prf, deduplicate_contexts,
  deduplicate_contexts_max_history, allow_target_only_watermarking
  (https://docs.vllm.ai/en/v0.32.0/features/watermarking/).

Fields that are left out have the defaults of their software. A field that is unknown is refused by its name:
it may change what is drawn. All of them hold secrets, which no message quotes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tradeoff.errors import FileError
from tradeoff.files import read_at_most
from tradeoff.keyed import DepthKeys, KeyFile, KeyFormatError, KeyProfile, VllmPhilox, read_key_file
from tradeoff.scheme import Scheme

__all__ = ["ForeignConfig", "vocabulary_beside"]

#: How many tokens a model has; or what tells it, and is asked only where it is needed.
_Vocabulary = int | Callable[[], int | None] | None

#: Where a model's configuration lies, beside its `generation_config.json`.
_MODEL = "config.json"
#: Of a model's configuration.
_MOST_BYTES = 1 << 24
_INSIDE = "watermarking_config"

#: Names of the fields with their defaults; a type where there is none.
_KGW: dict[str, Any] = {
    "greenlist_ratio": 0.25,
    "bias": 2.0,
    "hashing_key": 15485863,
    "seeding_scheme": "lefthash",
    "context_width": 1,
}
_SYNTHID: dict[str, Any] = {
    "ngram_len": int,
    "keys": list,
    "context_history_size": 1024,
    "sampling_table_seed": 0,
    "sampling_table_size": 1 << 16,
    "skip_first_ngram_calls": False,
    "debug_mode": False,
}
_VLLM: dict[str, Any] = {
    "key": int,
    "algorithm": "gumbel",
    "alpha": 0.1,
    "context_width": 4,
    "prf": "philox",
    "deduplicate_contexts": "single_turn",
    "deduplicate_contexts_max_history": 8192,
    "allow_target_only_watermarking": False,
}
#: vLLM's only function.
_PHILOX = "philox"
_GUMBEL, _DUAL = "gumbel", "dual_key_gumbel"
#: Of `KGW`.
_MOST_BIAS = 80.0
#: Fields that may be null.
_OPTIONAL = {"deduplicate_contexts_max_history"}
#: Tokens that Transformers' self-hashing looks at.
_MOST = 40


@dataclass(frozen=True)
class ForeignConfig:
    """What a configuration of other software says: `read` and `of` make it.

    Attributes:
        software: "Transformers" or "vLLM".
        scheme: by which `tradeoff.generate` writes text of that format, speculating where the format can
            carry it, and `tradeoff.detect` reads it.
        key: with the scheme as its profile, so that it may stand in a keyring.
    """

    software: str
    scheme: Scheme
    key: KeyFile = field(repr=False)

    @classmethod
    def read(cls, path: str | Path, vocabulary: _Vocabulary = None) -> ForeignConfig:
        """The configuration in a file of JSON.

        Args:
            path: `generation_config.json`, or a file with a watermark's configuration alone.
            vocabulary: `config.vocab_size` of the model, which Transformers' green lists need; if left out,
                that of the `config.json` beside the file. Or a function that tells it where none is there.

        Raises:
            KeyFormatError: if the file is missing, unreadable, or no JSON; nothing of it is quoted.
            FileError: for a `config.json` beside it that is none.
            ValueError: as `of`.
        """
        content = read_key_file(path)
        try:
            # Read as latin-1, which quotes nothing.
            told = json.loads(content.encode("latin-1").decode("utf-8-sig"), object_pairs_hook=_once)
        except _TwiceError as error:
            raise KeyFormatError(f"{path} has the field {error} twice; leave one of them") from None
        except (ValueError, RecursionError):
            raise KeyFormatError(
                f"{path} is no JSON, or is damaged; pass the configuration that Transformers or vLLM reads"
            ) from None

        def beside() -> int | None:
            found = vocabulary_beside(path)
            return vocabulary() if found is None and callable(vocabulary) else found

        try:
            return cls.of(told, vocabulary if isinstance(vocabulary, int) else beside)
        except KeyFormatError as error:
            raise KeyFormatError(f"{path}: {error}") from None
        except FileError:
            raise
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def of(cls, told: Mapping[str, Any], vocabulary: _Vocabulary = None) -> ForeignConfig:
        """The configuration that a mapping holds, as `to_dict` of Transformers' classes gives it.

        Args:
            told: its fields, or those of a `generation_config.json`.
            vocabulary: as of `read`, which has nothing beside it.

        Raises:
            KeyFormatError: for keys out of range.
            ValueError: for what is no configuration of these, fields that are unknown, missing or out of
                range, and settings that leave no watermark which could be read.
        """
        if not isinstance(told, Mapping):
            raise ValueError(
                f"the configuration is {type(told).__name__}, not an object of JSON; pass that of "
                "Transformers or vLLM"
            )
        if _INSIDE in told:
            told = told[_INSIDE]
            if not isinstance(told, Mapping):
                raise ValueError(f"{_INSIDE} holds no configuration, so that nothing was watermarked by it")
        if "ngram_len" in told or "keys" in told:
            return _synthid(_fields(told, _SYNTHID, "Transformers' SynthIDTextWatermarkingConfig"))
        if {"hashing_key", "greenlist_ratio", "seeding_scheme", "bias"} & told.keys():
            return _kgw(_fields(told, _KGW, "Transformers' WatermarkingConfig"), vocabulary)
        if "key" in told or "algorithm" in told:
            return _vllm(_fields(told, _VLLM, "vLLM's watermark configuration"))
        raise ValueError(
            f"the configuration has {_listed(told) or 'no fields'}, and none of keys, hashing_key or key, by "
            "which those of Transformers and vLLM are known; pass one of these"
        )


def vocabulary_beside(path: str | Path) -> int | None:
    """`vocab_size` in the `config.json` of the folder of a file, or in a folder; None if there is none.

    Raises:
        FileError: for one that cannot be read.
    """
    place = Path(path)
    file = (place if place.is_dir() else place.parent) / _MODEL
    if not file.is_file() or file.resolve() == place.resolve():
        return None
    try:
        told = json.loads(read_at_most(file, _MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        raise FileError(f"{file} is no configuration of a model; repair it, or pass the vocabulary") from None
    # Models of words and pictures have one of the words inside.
    parts = [told, told.get("text_config")] if isinstance(told, dict) else []
    sizes = [part.get("vocab_size") for part in parts if isinstance(part, dict)]
    return next((size for size in sizes if type(size) is int), None)


class _TwiceError(ValueError):
    """A field is there twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(repr(next(name for name in names if names.count(name) > 1)))
    return told


def _fields(told: Mapping[str, Any], known: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The fields with their defaults, each of the kind of its default; ValueError names one that is not."""
    for name in told:
        if name not in known:
            raise ValueError(
                f"{what} has the field {name!r}, unknown to this version, which may change what is drawn; "
                f"known are {_listed(known)}"
            )
    found = {}
    for name, default in known.items():
        if name not in told:
            if isinstance(default, type):
                raise ValueError(f"{what} has no {name}; it cannot do without")
            found[name] = default
            continue
        value, kind = told[name], default if isinstance(default, type) else type(default)
        if kind is float and type(value) is int:
            try:
                value = float(value)
            except OverflowError:
                raise ValueError(f"{what} has a {name} that is too large; repair it") from None
        if type(value) is not kind and not (value is None and name in _OPTIONAL):
            raise ValueError(f"{what} has {name} of the type {type(value).__name__}, not {kind.__name__}")
        found[name] = value
    return found


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(map(str, names))


def _kgw(told: dict[str, Any], vocabulary: _Vocabulary) -> ForeignConfig:
    if callable(vocabulary):
        vocabulary = vocabulary()
    if vocabulary is None:
        raise ValueError(
            "vocabulary is missing: green lists are of the model's whole vocabulary, config.vocab_size, "
            "which Transformers' WatermarkingConfig does not hold; pass --vocabulary N (vocabulary=N), or "
            "lay the model's config.json beside the file"
        )
    if type(vocabulary) is not int or vocabulary < 2:
        raise ValueError(f"vocabulary={vocabulary!r} must be the model's config.vocab_size, at least 2")
    if told["seeding_scheme"] not in ("lefthash", "selfhash"):
        raise ValueError(f"seeding_scheme={told['seeding_scheme']!r} is unknown; it is lefthash or selfhash")
    bias, ratio = told["bias"], told["greenlist_ratio"]
    if not bias > 0:
        raise ValueError(f"bias={bias} leaves no watermark that could be read; it must be above 0")
    if bias > _MOST_BIAS:
        raise ValueError(f"bias={bias:g} is more than is read; it must be at most {_MOST_BIAS:g}")
    if not 0 <= told["hashing_key"] < 1 << 64:
        raise ValueError("hashing_key is out of range; keys of 0 to 2^64 - 1 are read")
    if not 0 < ratio < 1:
        raise ValueError(f"greenlist_ratio={ratio} must be above 0 and below 1; 0.25 is usual")
    selfhash = told["seeding_scheme"] == "selfhash"
    shared = "" if ratio == _KGW["greenlist_ratio"] else f",gamma={ratio!r}"
    return _made(
        "Transformers",
        told["hashing_key"],
        KeyProfile(
            # Only what verifies drafts against the law that is meant carries it.
            method="keep-strength",
            watermark=f"kgw:{bias!r}{shared}{f',most={_MOST}' if selfhash else ''}",
            prf=f"hf-kgw:{vocabulary}{shared}{',selfhash' if selfhash else ''}",
            context_width=told["context_width"],
        ),
    )


def _synthid(told: dict[str, Any]) -> ForeignConfig:
    if told["debug_mode"]:
        raise ValueError(
            "debug_mode=true: the model's probabilities are passed over, and the text is noise; texts of it "
            "are not read"
        )
    settings = {
        "table": (told["sampling_table_size"], _SYNTHID["sampling_table_size"]),
        "seed": (told["sampling_table_seed"], _SYNTHID["sampling_table_seed"]),
        "history": (told["context_history_size"], _SYNTHID["context_history_size"]),
    }
    named = [f"{name}={value}" for name, (value, usual) in settings.items() if value != usual]
    named += ["skip-first"] if told["skip_first_ngram_calls"] else []
    if told["ngram_len"] < 2:
        raise ValueError(f"ngram_len={told['ngram_len']} leaves no context to seed a token; 5 is usual")
    for name in ("sampling_table_seed", "context_history_size"):
        if told[name] < 0:
            raise ValueError(f"{name}={told[name]} must be at least 0")
    keys = DepthKeys(told["keys"])
    return _made(
        "Transformers",
        keys,
        KeyProfile(
            method="joint-tournament",
            watermark=f"synthid:{len(keys)}",
            prf=":".join(["hf-synthid", *([",".join(named)] if named else [])]),
            context_width=told["ngram_len"] - 1,
        ),
    )


def _vllm(told: dict[str, Any]) -> ForeignConfig:
    if told["prf"] != _PHILOX:
        raise ValueError(f"prf={told['prf']!r} is unknown; vLLM's are {_PHILOX}")
    scope, history = told["deduplicate_contexts"], told["deduplicate_contexts_max_history"]
    if scope not in ("none", "single_turn", "all"):
        raise ValueError(f"deduplicate_contexts={scope!r} is unknown; it is none, single_turn or all")
    if history is not None and history < 1:
        raise ValueError(f"deduplicate_contexts_max_history={history} must be at least 1, or null")
    # Without a memory the size of it has no effect.
    settings = [scope] if scope != "single_turn" else []
    settings += [f"history={history}"] if history is not None and scope != "none" else []
    alpha = None
    if told["algorithm"] == _DUAL:
        alpha = told["alpha"]
        if not 0 < alpha < 1:
            raise ValueError(
                f"alpha={alpha} must be above 0 and below 1: at either end one derived key counts alone, "
                "which is not read"
            )
    elif told["algorithm"] != _GUMBEL:
        raise ValueError(f"algorithm={told['algorithm']!r} is unknown; {_GUMBEL} and {_DUAL} are read")
    only = told["allow_target_only_watermarking"]
    return _made(
        "vLLM",
        told["key"],
        KeyProfile(
            method="two-keys" if alpha is not None else "target-only" if only else "joint-race",
            watermark="gumbel",
            prf=":".join([VllmPhilox.name, *([",".join(settings)] if settings else [])]),
            context_width=told["context_width"],
            alpha=alpha,
        ),
    )


def _made(software: str, key: Any, profile: KeyProfile) -> ForeignConfig:
    scheme = Scheme.of(
        profile.method,
        profile.watermark,
        alpha=profile.alpha,
        prf=profile.prf,
        context_width=profile.context_width,
    )
    # What nothing could be detected by is refused here.
    scheme.detector()
    made = KeyFile(key, profile=profile)
    scheme.function(made.key)
    return ForeignConfig(software, scheme, made)
