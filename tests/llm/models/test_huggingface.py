"""The door to Transformers: every name that the library uses, as this release spells it and as others do."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AddedToken,
    FalconConfig,
    FalconForCausalLM,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import logging

from tradeoff.keyed.keys import Key
from tradeoff.llm.generation.slots import Feeder
from tradeoff.llm.models.builtin import ModelUnavailableError
from tradeoff.llm.models.huggingface import (
    CacheLayer,
    LayeredCache,
    attention_mask,
    control_tokens,
    end_token_ids,
    final_states,
    grouped_attention,
    growing_cache,
    masks_rows,
    next_logits,
    quiet_transformers,
    read_model,
    read_tokenizer,
    render_chat,
    selects_positions,
    text_config,
    unrollable_layers,
)
from tradeoff.llm.models.loading import load_model

ROOT = Path(__file__).parents[3]
MakeLlama = Callable[..., LlamaForCausalLM]


class Recorder(torch.nn.Module):
    """A model that only tells how it was called."""

    @property
    def base_model(self) -> Recorder:
        return self


class Named(Recorder):
    """Calls its cache `cache`, as models do since Transformers 5.24."""

    def forward(
        self, input_ids, attention_mask=None, position_ids=None, cache=None, use_cache=None, **kwargs
    ):
        seen = {"cache": cache, "use_cache": use_cache, **kwargs}
        self.seen = seen
        return SimpleNamespace(logits=torch.zeros(1, 1, 1), last_hidden_state=seen)


class NamedBefore(Recorder):
    """Calls its cache `past_key_values`, as models did until Transformers 5.23."""

    def forward(
        self,
        input_ids,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        use_cache=None,
        **kwargs,
    ):
        assert not kwargs.keys() & {"cache"}
        seen = {"cache": past_key_values, "use_cache": use_cache, **kwargs}
        self.seen = seen
        return SimpleNamespace(logits=torch.zeros(1, 1, 1), last_hidden_state=seen)


class Nameless(Recorder):
    """Takes whatever it is given, and says nothing of a cache."""

    def forward(self, input_ids, **kwargs):
        raise AssertionError("not to be called with a cache that may be ignored")


class Concatenated(CacheLayer):
    """The plainest layer: entries one after the other."""

    @property
    def length(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    @property
    def capacity(self) -> int:
        return self.length

    def write(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys = keys if self.keys is None else torch.cat([self.keys, keys], dim=2)
        self.values = values if self.values is None else torch.cat([self.values, values], dim=2)
        return self.keys, self.values


@pytest.mark.parametrize("kind", [Named, NamedBefore])
def test_both_spellings_of_the_cache(kind: Callable[[], Any]) -> None:
    """A cache reaches the model by the name that its own signature has; without one, none is kept."""
    model, ids, cache = kind(), torch.zeros(1, 1), object()
    next_logits(model, ids, 1, cache=cache)
    assert model.seen == {"cache": cache, "use_cache": True, "logits_to_keep": 1}
    assert final_states(model, ids, cache) == {"cache": cache, "use_cache": True}
    assert final_states(model, ids) == {"cache": None, "use_cache": False}


def test_a_model_without_a_known_cache_argument_is_refused() -> None:
    """`**kwargs` may swallow a cache, and the text would be sampled without its past."""
    with pytest.raises(
        ValueError, match=r"Nameless\.forward takes no key/value cache .* cache or past_key_values"
    ):
        next_logits(Nameless(), torch.zeros(1, 1), 1, cache=object())


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_passes_in_pieces_are_one_pass(make_llama: MakeLlama, attention: str, own: bool) -> None:
    """Through Transformers' cache and through ours, with given positions and masks, and without a warning."""
    model = make_llama().double()
    text_config(model)._attn_implementation = attention
    assert masks_rows(model)
    ids = torch.randint(3, 100, (2, 9), generator=torch.Generator().manual_seed(0))
    layers = [Concatenated() for _ in range(text_config(model).num_hidden_layers)]
    cache = LayeredCache(layers) if own else growing_cache(model)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error")
        whole = next_logits(model, ids, 9)
        pieces = []
        for start, end in ((0, 4), (4, 5), (5, 9)):
            where = torch.arange(start, end)
            reads = (torch.arange(end) <= where[:, None]).expand(2, -1, -1)
            part = ids[:, start:end]
            mask = attention_mask(model, reads) if own else None
            positions = where.expand(2, -1) if own else None
            pieces.append(next_logits(model, part, end - start, cache=cache, positions=positions, mask=mask))
        states = final_states(model, ids)
    # Eager attention takes its softmax in float32.
    tolerance = 1e-9 if attention == "sdpa" else 1e-5
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=tolerance)
    torch.testing.assert_close(model.get_output_embeddings()(states), whole, rtol=0, atol=tolerance)
    assert cache.get_seq_length() == 9


def test_logits_at_chosen_positions_alone(make_llama: MakeLlama) -> None:
    model = make_llama().double()
    ids, chosen = torch.arange(5, 12)[None], torch.tensor([1, 4])
    assert selects_positions(model)
    with torch.no_grad():
        torch.testing.assert_close(next_logits(model, ids, chosen), next_logits(model, ids, 7)[:, chosen])


def test_a_mask_hides_what_a_row_must_not_read(make_llama: MakeLlama) -> None:
    """Two rows of one batch read different pasts: logits are those of the text without the hidden token."""
    for attention in ("sdpa", "eager"):
        model = make_llama().double()
        text_config(model)._attn_implementation = attention
        ids = torch.tensor([[7, 8, 9], [7, 99, 9]])
        reads = torch.tril(torch.ones(3, 3, dtype=torch.bool)).repeat(2, 1, 1)
        reads[1, 2, 1] = False
        positions = torch.tensor([[0, 1, 2], [0, 1, 1]])
        with torch.no_grad():
            mask = attention_mask(model, reads)
            seen = next_logits(model, ids, 1, positions=positions, mask=mask)
            for row, text in ((0, [7, 8, 9]), (1, [7, 9])):
                alone = next_logits(model, torch.tensor([text]), 1)
                torch.testing.assert_close(seen[row], alone[0], rtol=0, atol=1e-5)


def attended_heads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Heads of the keys of every call of PyTorch's attention from now on."""
    attend, seen = torch.nn.functional.scaled_dot_product_attention, []

    def watched(query: torch.Tensor, key: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        seen.append(key.shape[1])
        return attend(query, key, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    return seen


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_shared_heads_are_read_without_copies(
    make_llama: MakeLlama, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that read different pasts, behind a cache: the same logits, keys and values are not repeated."""
    model = make_llama().to(dtype)
    ids = torch.randint(3, 100, (2, 7), generator=torch.Generator().manual_seed(1))
    reads = torch.tril(torch.ones(7, 7, dtype=torch.bool)).repeat(2, 1, 1)
    reads[1, -1, 1:3] = False
    seen = attended_heads(monkeypatch)

    def logits(grouped: bool) -> torch.Tensor:
        cache = LayeredCache([Concatenated() for _ in range(text_config(model).num_hidden_layers)])
        found = []
        with torch.no_grad(), grouped_attention(model) if grouped else nullcontext():
            for start, end in ((0, 4), (4, 7)):
                mask = attention_mask(model, reads[:, start:end, :end])
                where = torch.arange(start, end).expand(2, -1)
                part = ids[:, start:end]
                found.append(next_logits(model, part, end - start, cache=cache, positions=where, mask=mask))
        return torch.cat(found, dim=1)

    plain = logits(False)
    assert set(seen) == {4}
    del seen[:]
    grouped = logits(True)
    assert set(seen) == {2}
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]
    torch.testing.assert_close(grouped, plain, rtol=0, atol=tolerance)
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is sdpa_attention_forward


def test_the_engine_attends_without_copies(make_llama: MakeLlama, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for long prompts, whose mask would take more memory than is saved."""
    seen = attended_heads(monkeypatch)
    feeder = Feeder(make_llama(), 1, 8)
    feeder.logits(0, np.arange(40)[None], np.arange(40)[None], 1)
    assert set(seen) == {4}
    del seen[:]
    feeder.logits(0, np.arange(3)[None], 40 + np.arange(3)[None], 1)
    assert set(seen) == {2}


def test_a_family_that_asks_for_the_name_of_its_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Falcon calls PyTorch's attention itself, where the name is "sdpa", and computes otherwise where not."""
    config = FalconConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, attn_implementation="sdpa"
    )
    model = FalconForCausalLM(config).eval()
    seen = attended_heads(monkeypatch)
    Feeder(model, 1, 8).logits(0, np.arange(3)[None], np.arange(3)[None], 1)
    assert len(seen) == 1


def test_attention_of_other_kinds_is_left_to_transformers(make_llama: MakeLlama) -> None:
    """A cap of scores, or a setting that nobody has looked at, goes where it always went; attention that
    somebody else has put behind the name stays there."""
    model = make_llama()
    with grouped_attention(model):
        attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
    with pytest.raises(KeyError), grouped_attention(model):
        raise KeyError
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is sdpa_attention_forward
    module = next(part for part in model.modules() if hasattr(part, "num_key_value_groups"))
    query, key = torch.zeros(1, 4, 1, 8), torch.zeros(1, 2, 3, 8)
    mask = torch.zeros(1, 1, 1, 3)
    with pytest.raises(ValueError, match="softcap"):
        attend(module, query, key, key, mask, softcap=30.0)
    bias = torch.tensor([[[[0.0, -torch.inf, -torch.inf]]]])
    values = torch.arange(3.0)[None, None, :, None].expand(1, 2, 3, 8)
    found, _ = attend(module, query, key, values, mask, position_bias=bias.expand(1, 4, 1, 3))
    assert not found.any()

    def another(*_: object, **__: object) -> None:
        """Somebody else's."""

    ALL_ATTENTION_FUNCTIONS.register("sdpa", another)
    try:
        with grouped_attention(model):
            assert ALL_ATTENTION_FUNCTIONS["sdpa"] is another
    finally:
        ALL_ATTENTION_FUNCTIONS.register("sdpa", sdpa_attention_forward)


def test_attention_without_masks_is_refused(make_llama: MakeLlama) -> None:
    """Such kernels would let rows read each other's padding."""
    model = make_llama()
    text_config(model)._attn_implementation = "flash_attention_2"
    assert not masks_rows(model)
    with pytest.raises(ValueError, match=r"'flash_attention_2', which takes no mask for every row; load it"):
        Feeder(model, 1, 8)


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_half_a_model_is_refused(tiny_folder: Path, tmp_path: Path, change: str) -> None:
    """Transformers would fill what is missing, or of another shape, with random numbers."""
    folder = tmp_path / "half"
    shutil.copytree(tiny_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if "layers.1." in name and "mlp" in name)
    tensors = {key: tensor for key, tensor in tensors.items() if key != name}
    if change == "shape":
        tensors[name] = torch.zeros(3, 5)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    said = rf"1 weights are missing or of another shape \({re.escape(name)}\); they would be random"
    with pytest.raises(ValueError, match=said):
        read_model(folder, torch.float32)
    with pytest.raises(ModelUnavailableError, match=said):
        load_model("target", folder, None, torch.device("cpu"), torch.float32, False)


def test_a_folder_may_be_called_like_a_file(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model.gguf"
    shutil.copytree(tiny_folder, folder)
    assert len(read_tokenizer(folder)) == len(read_tokenizer(tiny_folder))
    assert read_model(folder, torch.float32).dtype == torch.float32


def test_layers_that_roll_back(make_llama: MakeLlama) -> None:
    assert unrollable_layers(make_llama()) == []


def test_end_tokens(make_llama: MakeLlama) -> None:
    """One number, several, or none: as the model's generation settings say."""
    model = make_llama()
    for named, expected in ((2, {2}), ([2, 5], {2, 5}), (None, None)):
        model.generation_config.eos_token_id = named
        assert end_token_ids(model) == expected
    model.generation_config = None
    assert end_token_ids(model) is None


def test_models_and_tokenizers_are_read_from_folder_and_gguf(tiny_folder: Path, tiny_gguf: Path) -> None:
    for place in (tiny_folder, tiny_gguf):
        model = read_model(place, torch.float64)
        assert model.dtype == torch.float64
        assert not model.training
        assert read_tokenizer(place)("the")["input_ids"] == read_tokenizer(tiny_folder)("the")["input_ids"]
    file = tiny_folder / "tokenizer.json"
    assert read_tokenizer(file)("the an")["input_ids"] == read_tokenizer(tiny_folder)("the an")["input_ids"]


def test_chat_format(make_tokenizer: Callable[..., PreTrainedTokenizerFast]) -> None:
    assert render_chat(make_tokenizer(), "Why?") is None
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ add_generation_prompt }}"
    assert render_chat(make_tokenizer(chat_template=template), "Why?") == "<user>Why?True"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('Only  questions\\n please.') }}", "Only questions please."),
        ("{{ messages[3].content }}", "has no element 3"),
        ("{% for m in messages %}", "Unexpected end of template"),
        ("{{ 1 / 0 }}", "division by zero"),
    ],
)
def test_what_a_chat_format_says_is_passed_on(
    make_tokenizer: Callable[..., PreTrainedTokenizerFast], template: str, said: str
) -> None:
    """On one line, whatever the exception."""
    with pytest.raises(ValueError, match=said) as caught:
        render_chat(make_tokenizer(chat_template=template), "Why?")
    assert "\n" not in str(caught.value)


def test_control_tokens(make_tokenizer: Callable[..., PreTrainedTokenizerFast]) -> None:
    """Special ones by name and those that were added as special; other added tokens are words."""
    tokenizer = make_tokenizer()
    named = {0: "<unk>", 1: "<s>", 2: "</s>"}
    assert control_tokens(tokenizer) == named
    turn, think = AddedToken("<|turn|>", special=True), AddedToken("<think>", special=False)
    tokenizer.add_tokens([turn, think])
    assert control_tokens(tokenizer) == named | {tokenizer.convert_tokens_to_ids("<|turn|>"): "<|turn|>"}


@pytest.mark.parametrize("bars", [False, True])
def test_quiet_hides_and_restores(capsys: pytest.CaptureFixture[str], bars: bool) -> None:
    """Inside, no warning is heard, and no bar is seen unless it is wanted; after it, all is as before."""
    before = logging.get_verbosity()
    with quiet_transformers(with_bars=bars):
        assert logging.get_verbosity() == logging.ERROR
        assert logging.is_progress_bar_enabled() == bars
        warnings.warn("not heard", FutureWarning, stacklevel=1)
        print("a bar", file=sys.stderr)
    assert logging.get_verbosity() == before
    assert logging.is_progress_bar_enabled()
    assert capsys.readouterr().err == ("a bar\n" if bars else "")


def test_no_other_module_imports_transformers() -> None:
    """What a release changes is mended in one file (`TYPE_CHECKING` included: types come from there too)."""
    importing = re.compile(r"^ *(from|import) transformers", re.MULTILINE)
    packages = ("tradeoff", "paper_repro", "sims", "figures")
    sources = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    assert len(sources) > 100
    found = [
        path.relative_to(ROOT).as_posix() for path in sources if importing.search(path.read_text("utf-8"))
    ]
    # Beside it, where others' statistics are measured as they are.
    assert sorted(found) == ["paper_repro/level/statistics.py", "tradeoff/llm/models/huggingface.py"]


def test_generating_prints_no_warning(tiny_folder: Path, tmp_path: Path) -> None:
    """With every warning shown, the whole way from models to text says nothing that a user cannot act on."""
    Key.new().write(tmp_path / "a.key")
    (tmp_path / "prompts.txt").write_text("the man\n")
    command = [sys.executable, "-W", "always::FutureWarning", "-m", "tradeoff.cli", "generate"]
    options = {
        "--key-file": tmp_path / "a.key",
        "--prompts": tmp_path / "prompts.txt",
        "--target": tiny_folder,
        "--draft": "skip:1",
        "--max-tokens": 12,
        "-o": tmp_path / "texts.jsonl",
    }
    command += [str(part) for option in options.items() for part in option]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    assert "warn" not in result.stderr.lower()
    assert "deprecat" not in result.stderr.lower()
