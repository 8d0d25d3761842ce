"""Statistics of texts as their software computes them, each as a p-value under a key of its own.

Peers are run as they are installed: Transformers is, MarkLLM and Google's synthid-text only where somebody
put them. vLLM's statistic is what its documentation describes (the sum of -log(1 - u) over positions, Gamma
under the hypothesis of no watermark, with contexts counted once or as often as they come), on numbers of its
format that this package computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy import stats

from tradeoff.detection import Evidence, detect, text_contexts
from tradeoff.keyed import DepthKeys, Key, Stream, VllmPhilox
from tradeoff.scheme import Scheme

__all__ = ["STATISTICS", "UNTRAINED", "Statistics"]

#: What tells posteriors and no p-values: 0 stands for one above 1/2.
UNTRAINED = "SynthID, untrained Bayesian detector"

#: Of the built-in model, `config.vocab_size`.
_VOCABULARY = 49152
_ROUNDS, _NGRAM = 30, 5
#: A p-value that stands for a verdict without one.
_CALLED, _NOT_CALLED = 0.0, 1.0

_Test = Callable[[np.ndarray, np.random.Generator], tuple[float, ...]]


@dataclass(frozen=True)
class Statistics:
    """Tests of a text that are made of the same numbers.

    Attributes:
        names: of the statistics.
        software: whose they are; "ours" of this package.
        needs: the package that must be installed; "" for none.
        cost: of a text, from 1 to 3: a millisecond, some of them, tens of them.
        p_values: of token ids [n], under a key drawn from a generator; one a name.
    """

    names: tuple[str, ...]
    software: str
    needs: str
    cost: int
    p_values: _Test

    @property
    def here(self) -> bool:
        """Whether they can be run."""
        return not self.needs or find_spec(self.needs) is not None


#: All of them, in the order of tables.
STATISTICS: list[Statistics] = []


def _tests(software: str, *names: str, needs: str = "", cost: int = 1) -> Callable[[_Test], _Test]:
    def register(test: _Test) -> _Test:
        STATISTICS.append(Statistics(names, software, needs, cost, test))
        return test

    return register


def _integer(rng: np.random.Generator) -> int:
    """A key of 32 bits, which all software takes; from 1."""
    return int(rng.integers(1, 1 << 32))


# --- Transformers --------------------------------------------------------------------------------


@cache
def _model_config() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(vocab_size=_VOCABULARY, bos_token_id=1)


def _green(ids: np.ndarray, rng: np.random.Generator, ignore: bool = False, **settings: Any) -> float:
    import torch
    from transformers import WatermarkDetector, WatermarkingConfig

    config = WatermarkingConfig(hashing_key=_integer(rng), **settings)
    detector: Any = WatermarkDetector(_model_config(), "cpu", config, ignore_repeated_ngrams=ignore)
    return float(detector(torch.tensor(ids[None]), return_dict=True).p_value[0])


@_tests("Transformers", "KGW, lefthash", needs="transformers", cost=3)
def _lefthash(ids: np.ndarray, rng: np.random.Generator) -> tuple[float]:
    return (_green(ids, rng),)


@_tests("Transformers", "KGW, lefthash, repeated n-grams once", needs="transformers", cost=3)
def _lefthash_once(ids: np.ndarray, rng: np.random.Generator) -> tuple[float]:
    return (_green(ids, rng, ignore=True),)


@_tests("Transformers", "KGW, selfhash", needs="transformers", cost=3)
def _selfhash(ids: np.ndarray, rng: np.random.Generator) -> tuple[float]:
    return (_green(ids, rng, seeding_scheme="selfhash"),)


def _depth_keys(rng: np.random.Generator) -> list[int]:
    """Uniform on 0 .. 2^31 - 1."""
    return rng.integers(1 << 31, size=_ROUNDS).tolist()


def _z_test(mean: float, values: float) -> float:
    """That of a mean of fair bits, upper tail."""
    return float(stats.norm.sf((mean - 0.5) * 2 * np.sqrt(values)))


@_tests(
    "Transformers",
    "SynthID, z-test of the mean",
    "SynthID, z-test of the mean, no mask",
    UNTRAINED,
    needs="transformers",
    cost=2,
)
def _synthid(ids: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    import torch
    from transformers import BayesianDetectorConfig, BayesianDetectorModel, SynthIDTextWatermarkingConfig

    config = SynthIDTextWatermarkingConfig(ngram_len=_NGRAM, keys=_depth_keys(rng))
    processor: Any = config.construct_processor(_VOCABULARY, "cpu")
    tokens = torch.tensor(ids[None])
    bits = processor.compute_g_values(tokens)
    mask = processor.compute_context_repetition_mask(tokens)
    torch.manual_seed(int(rng.integers(1 << 32)))
    model = BayesianDetectorModel(BayesianDetectorConfig(watermarking_depth=_ROUNDS))
    with torch.no_grad():
        told = model(bits.float(), mask.float(), return_dict=True)
    kept = bits[mask.bool()].double()
    return (
        _z_test(float(kept.mean()), kept.numel()),
        _z_test(float(bits.double().mean()), bits.numel()),
        _CALLED if float(told.posterior_probabilities[0]) > 0.5 else _NOT_CALLED,
    )


# --- Google --------------------------------------------------------------------------------------


@cache
def _google(weighted: bool) -> Any:
    detectors = import_module("synthid_text.detector_mean")
    score = detectors.weighted_mean_score if weighted else detectors.mean_score
    return import_module("jax").jit(score)


def _google_bits(ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    import torch

    processor = import_module("synthid_text.logits_processing").SynthIDLogitsProcessor(
        ngram_len=_NGRAM,
        keys=_depth_keys(rng),
        sampling_table_size=1 << 16,
        sampling_table_seed=0,
        context_history_size=1024,
        temperature=1.0,
        top_k=_VOCABULARY,
        device=torch.device("cpu"),
    )
    tokens = torch.tensor(ids[None])
    bits, mask = processor.compute_g_values(tokens), processor.compute_context_repetition_mask(tokens)
    return bits.numpy().astype(np.float32), mask.numpy().astype(np.float32)


@_tests(
    "synthid-text",
    "SynthID, z-test of the mean",
    "SynthID, z-test of the weighted mean",
    needs="synthid_text",
    cost=2,
)
def _google_means(ids: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    bits, mask = _google_bits(ids, rng)
    kept = float(mask.sum()) * _ROUNDS
    weights = np.linspace(10, 1, _ROUNDS)
    weights *= _ROUNDS / weights.sum()
    # So many values of equal weight have the variance of the weighted mean.
    alike = kept * _ROUNDS / (weights**2).sum()
    return (
        _z_test(float(_google(False)(bits, mask)[0]), kept),
        _z_test(float(_google(True)(bits, mask)[0]), alike),
    )


# --- MarkLLM -------------------------------------------------------------------------------------


class _Ids:
    """A tokenizer of token ids."""

    def encode(self, ids: np.ndarray, **_: Any) -> Any:
        import torch

        return torch.tensor(ids[None])


@cache
def _markllm(name: str) -> Any:
    """A configuration with MarkLLM's defaults, and the class that scores under it."""
    module = import_module(f"markllm.watermark.{name.lower()}.{name.lower()}")
    model = import_module("markllm.utils.transformers_config").TransformersConfig(
        None, _Ids(), vocab_size=_VOCABULARY, device="cpu"
    )
    return getattr(module, name), getattr(module, f"{name}Config")(None, model), module


def _green_z(name: str, ids: np.ndarray, rng: np.random.Generator) -> float:
    import torch

    _, config, module = _markllm(name)
    config.hash_key = _integer(rng)
    z, _ = vars(module)[f"{name}Utils"](config).score_sequence(torch.tensor(ids))
    return float(stats.norm.sf(z))


@_tests("MarkLLM", "KGW", needs="markllm", cost=3)
def _markllm_kgw(ids: np.ndarray, rng: np.random.Generator) -> tuple[float]:
    return (_green_z("KGW", ids, rng),)


@_tests("MarkLLM", "Unigram", needs="markllm", cost=2)
def _markllm_unigram(ids: np.ndarray, rng: np.random.Generator) -> tuple[float]:
    return (_green_z("Unigram", ids, rng),)


@_tests("MarkLLM", "EXP", needs="markllm", cost=3)
def _markllm_exp(ids: np.ndarray, rng: np.random.Generator) -> tuple[float]:
    make, config, _ = _markllm("EXP")
    made = make.__new__(make)
    config.hash_key = _integer(rng)
    made.config, made.utils = config, vars(_markllm("EXP")[2])["EXPUtils"](config)
    return (float(made.detect_watermark(ids)["score"]),)


# --- vLLM ----------------------------------------------------------------------------------------


@_tests("vLLM", "gumbel, contexts once", "gumbel, deduplicate_contexts=False")
def _vllm(ids: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    prf = VllmPhilox(int(rng.integers(1 << 63)))
    contexts = text_contexts(ids, prf.context_width)
    scores = -np.log1p(-prf.uniform(Stream.SHARED, contexts, ids[:, None])[:, 0])
    new = np.unique(contexts, axis=0, return_index=True)[1]
    return (
        float(stats.gamma.sf(scores[new].sum(), len(new))),
        float(stats.gamma.sf(scores.sum(), len(ids))),
    )


# --- Ours ----------------------------------------------------------------------------------------


def _ours(name: str, scheme: Scheme, key: Callable[[np.random.Generator], Any]) -> None:
    """The detector of a scheme, of whole texts."""
    detector = scheme.detector()

    @_tests("ours", name, cost=2 if scheme.prf.startswith("hf-") else 1)
    def p_values(ids: np.ndarray, rng: np.random.Generator) -> tuple[float]:
        evidence = Evidence(ids, scheme.reading_function(key(rng)))
        return (float(np.exp(detect(detector, evidence).log_p)),)


def _secret(rng: np.random.Generator) -> Key:
    return Key(rng.bytes(32))


_ours("KGW, lefthash", Scheme.of("basic", "kgw:2", prf=f"hf-kgw:{_VOCABULARY}"), _integer)
_ours("KGW, selfhash", Scheme.of("basic", "kgw:2,most=40", prf=f"hf-kgw:{_VOCABULARY},selfhash"), _integer)
_ours(
    "SynthID",
    Scheme.of("basic", f"synthid:{_ROUNDS}", prf="hf-synthid"),
    lambda rng: DepthKeys(_depth_keys(rng)),
)
_ours(
    "vLLM's gumbel",
    Scheme.of("basic", "gumbel", prf="vllm-philox-v1"),
    lambda rng: int(rng.integers(1 << 63)),
)
_ours("own format, gumbel", Scheme.of("basic", "gumbel"), _secret)
_ours("own format, synthid:30", Scheme.of("basic", f"synthid:{_ROUNDS}"), _secret)
_ours("own format, kgw:2", Scheme.of("basic", "kgw:2"), _secret)
