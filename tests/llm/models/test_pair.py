"""Draft/target pairs: loading them, logits at chosen positions, agreeing tokenizers, clear errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from tests.helpers.logits import full_logits, random_ids
from tradeoff.llm.models.pair import (
    BUILTIN_DRAFT_SKIPPED_LAYERS,
    ModelPair,
    ModelUnavailableError,
    TokenizerMismatchError,
    check_tokenizers,
    load_pair,
    logits_at,
)
from tradeoff.texts.corpus import human_paragraphs

MakeLlama = Callable[..., LlamaForCausalLM]
MakeTokenizer = Callable[..., PreTrainedTokenizerFast]


# Logits at chosen positions


@pytest.mark.parametrize("tied", [True, False])
def test_logits_at_are_the_full_logits_gathered(make_llama: MakeLlama, tied: bool) -> None:
    model = make_llama(tied=tied)
    ids = random_ids(3, 9)
    positions = torch.tensor([[0, 8], [3, 3], [7, 2]])
    expected = full_logits(model, ids)[torch.arange(3)[:, None], positions]
    torch.testing.assert_close(logits_at(model, ids, None, positions), expected)
    torch.testing.assert_close(logits_at(model, ids, None, positions, vocab=100), expected[..., :100])


def test_padding_does_not_reach_the_logits(make_llama: MakeLlama) -> None:
    model = make_llama()
    ids, lengths = random_ids(3, 9), [9, 4, 1]
    mask = torch.tensor([[int(t < length) for t in range(9)] for length in lengths])
    positions = torch.tensor([[8, 0], [3, 1], [0, 0]])
    batched = logits_at(model, ids * mask, mask, positions)
    for row, length in enumerate(lengths):
        alone = full_logits(model, ids[row : row + 1, :length])[0, positions[row]]
        torch.testing.assert_close(batched[row], alone)


def test_projection_is_applied_to_the_chosen_positions_only(make_llama: MakeLlama) -> None:
    model = make_llama()
    seen: list[torch.Size] = []
    model.lm_head.register_forward_hook(lambda _, args, __: seen.append(args[0].shape))
    logits_at(model, random_ids(2, 50), None, torch.tensor([[4, 40], [0, 49]]))
    assert seen == [(2, 2, 32)]


def test_logits_are_float32_whatever_the_weights(make_llama: MakeLlama) -> None:
    model = make_llama().bfloat16()
    logits = logits_at(model, random_ids(1, 5), None, torch.tensor([[4]]))
    assert logits.dtype == torch.float32
    assert not logits.requires_grad


@pytest.mark.parametrize(
    ("ids", "mask", "positions", "message"),
    [
        (random_ids(1, 4)[0], None, torch.tensor([[0]]), "add a batch axis"),
        (random_ids(2, 4), None, torch.tensor([[0]]), r"\[2, 4\] and positions \[1, 1\]"),
        (random_ids(1, 4), torch.ones(1, 3), torch.tensor([[0]]), "shape of ids"),
        (random_ids(1, 4), torch.tensor([[0, 1, 1, 1]]), torch.tensor([[1]]), "pad on the right"),
        (random_ids(1, 4), torch.tensor([[1, 1, 0, 0]]), torch.tensor([[2]]), r"\[\[2\]\].*\[2\]"),
        (random_ids(1, 4), None, torch.tensor([[4]]), r"lie inside the texts"),
        (random_ids(1, 4), None, torch.tensor([[-1]]), "count from 0"),
    ],
)
def test_bad_positions_and_masks_are_explained(
    make_llama: MakeLlama,
    ids: torch.Tensor,
    mask: torch.Tensor | None,
    positions: torch.Tensor,
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        logits_at(make_llama(), ids, mask, positions)


# Loading a pair


def test_layer_skip_pair_from_a_folder(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = load_pair(tiny_folder, "skip:1,2", device="cpu")
    assert len(pair.draft.model.layers) == 2
    held = {p.data_ptr() for p in pair.target.parameters()}
    assert {p.data_ptr() for p in pair.draft.parameters()} <= held
    assert not any(p.requires_grad for p in pair.target.parameters())
    assert not pair.target.training
    # The logits have 16 columns more than there are tokens.
    assert pair.vocabulary_size == len(pair.tokenizer) == 262
    assert pair.target.config.vocab_size == 278
    assert (pair.device, pair.dtype) == (torch.device("cpu"), torch.float32)
    described = pair.describe()
    for part in (str(tiny_folder), "without layers 1,2", "sharing", "cpu", "float32", "262"):
        assert part in described
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1] == described
    assert shown.out == ""


def test_two_folders_make_a_pair_of_separate_models(
    tiny_folder: Path,
    tmp_path: Path,
    make_llama: MakeLlama,
    make_tokenizer: MakeTokenizer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_llama(seed=1).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    capsys.readouterr()
    pair = load_pair(str(tiny_folder), str(tmp_path), device="cpu", progress=False)
    assert capsys.readouterr().err == ""
    ids = random_ids(1, 6)
    assert torch.equal(full_logits(pair.draft, ids), full_logits(make_llama(seed=1), ids))
    assert "sharing" not in pair.describe()
    assert pair.vocabulary_size == 262


def test_vocabulary_is_bounded_by_the_narrower_logits(
    tiny_folder: Path, tmp_path: Path, make_llama: MakeLlama, make_tokenizer: MakeTokenizer
) -> None:
    make_llama(width=260).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    assert load_pair(tiny_folder, tmp_path, device="cpu", progress=False).vocabulary_size == 260


def test_gguf_files_are_loaded_unpacked(tiny_gguf: Path) -> None:
    pair = load_pair(tiny_gguf, "skip:3", device="cpu", progress=False)
    assert len(pair.target.model.layers) == 4
    assert pair.target.dtype == torch.float32
    assert pair.tokenizer("the")["input_ids"] == [pair.tokenizer.get_vocab()["the"]]
    assert torch.isfinite(full_logits(pair.draft, random_ids(1, 5))).all()


@pytest.mark.parametrize("dtype", ["bfloat16", torch.float64])
def test_dtype_can_be_chosen(tiny_folder: Path, dtype: str | torch.dtype) -> None:
    pair = load_pair(tiny_folder, "skip:0", device="cpu", dtype=dtype, progress=False)
    chosen = torch.bfloat16 if dtype == "bfloat16" else torch.float64
    assert pair.dtype == pair.target.dtype == pair.draft.dtype == chosen


def test_dtype_and_device_are_chosen_for_the_machine(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    pair = load_pair(tiny_folder, "skip:0", progress=False)
    assert (pair.device.type, pair.dtype) == ("cpu", torch.float32)
    assert {p.device.type for p in pair.draft.parameters()} == {"cpu"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "int8"}, r"dtype='int8'.*float32"),
        ({"dtype": torch.int8}, r"dtype='torch.int8'.*float32"),
        ({"device": "abacus"}, r"device='abacus'.*'cpu'"),
        ({"device": "meta"}, r"device='meta' is not available.*'cpu'"),
        ({"device": "cuda:99"}, r"device='cuda:99' is not available.*'cpu'"),
        ({"draft": "skip:"}, r"draft='skip:'.*'skip:14,16'"),
        ({"draft": "skip:1;2"}, r"draft='skip:1;2'.*'skip:14,16'"),
        ({"draft": "skip:9"}, r"contains 9.*0 to 3"),
    ],
)
def test_bad_choices_are_named(tiny_folder: Path, arguments: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"draft": "skip:1", "progress": False} | arguments
    with pytest.raises(ValueError, match=message):
        load_pair(tiny_folder, **options)


# Models that are not there


def missing_folder(folder: Path, _: Path) -> tuple[Path, str]:
    return folder / "nowhere", "does not exist here; pass 'builtin'"


def missing_gguf(folder: Path, _: Path) -> tuple[str, str]:
    return str(folder / "nowhere.gguf"), "does not exist here; pass 'builtin'"


def folder_without_config(folder: Path, _: Path) -> tuple[Path, str]:
    return folder, "folder without config.json; pass the folder"


def damaged_gguf(folder: Path, _: Path) -> tuple[Path, str]:
    (folder / "model.gguf").write_bytes(b"not a GGUF file")
    return folder / "model.gguf", "could not be loaded"


def damaged_weights(folder: Path, good: Path) -> tuple[Path, str]:
    shutil.copytree(good, folder, dirs_exist_ok=True)
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    return folder, "could not be loaded .*; pass a folder with config.json, safetensors"


def damaged_tokenizer(folder: Path, good: Path) -> tuple[Path, str]:
    shutil.copytree(good, folder, dirs_exist_ok=True)
    (folder / "tokenizer.json").write_text("[]")
    return folder, "could not be loaded .*; pass a folder with config.json, safetensors"


def unknown_architecture(folder: Path, good: Path) -> tuple[Path, str]:
    shutil.copytree(good, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "unheard-of"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder, "could not be loaded .*unheard-of"


def pickled_weights(folder: Path, good: Path) -> tuple[Path, str]:
    shutil.copytree(good, folder, dirs_exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(good)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder, "could not be loaded .*; pass a folder with config.json, safetensors"


def unreachable_hub(_: Path, __: Path) -> tuple[str, str]:
    return "organisation/model", "no folder or file 'organisation/model' here; connect to the network, or"


@pytest.mark.parametrize(
    "make",
    [
        missing_folder,
        missing_gguf,
        folder_without_config,
        damaged_gguf,
        damaged_weights,
        damaged_tokenizer,
        unknown_architecture,
        pickled_weights,
        unreachable_hub,
    ],
)
@pytest.mark.parametrize("role", ["target", "draft"])
def test_model_that_cannot_be_had_is_named_with_a_remedy(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path, Path], tuple[str | Path, str]],
    role: str,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    spec, message = make(tmp_path, tiny_folder)
    models: dict[str, Any] = {"target": tiny_folder, "draft": "skip:1"} | {role: spec}
    with pytest.raises(ModelUnavailableError, match=message) as caught:
        load_pair(**models, device="cpu", progress=False)
    assert f"{role}={str(spec)!r}" in str(caught.value)


# Tokenizers


def test_differing_ids_are_named(make_tokenizer: MakeTokenizer) -> None:
    tokenizer = make_tokenizer()
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    check_tokenizers(tokenizer, make_tokenizer(tokens))
    swapped = tokens.copy()
    swapped[10], swapped[20] = swapped[20], swapped[10]
    with pytest.raises(TokenizerMismatchError) as caught:
        check_tokenizers(tokenizer, make_tokenizer(swapped))
    for part in (
        "differ at 2 ids",
        f"10: target {tokens[10]!r}, draft {tokens[20]!r}",
        f"20: target {tokens[20]!r}, draft {tokens[10]!r}",
        "skip:",
    ):
        assert part in str(caught.value)


def test_longer_vocabulary_is_a_difference(make_tokenizer: MakeTokenizer) -> None:
    longer = make_tokenizer()
    longer.add_tokens(["<extra>"])
    with pytest.raises(TokenizerMismatchError, match="262: target None, draft '<extra>'"):
        check_tokenizers(make_tokenizer(), longer)


def test_same_vocabulary_split_differently_is_a_difference(make_tokenizer: MakeTokenizer) -> None:
    with pytest.raises(TokenizerMismatchError, match="split 'The quick brown fox"):
        check_tokenizers(make_tokenizer(), make_tokenizer(merges=[]))


def test_pair_with_different_tokenizers_is_refused(
    tiny_folder: Path, tmp_path: Path, make_llama: MakeLlama, make_tokenizer: MakeTokenizer
) -> None:
    make_llama().save_pretrained(tmp_path)
    make_tokenizer(merges=[]).save_pretrained(tmp_path)
    with pytest.raises(TokenizerMismatchError, match="layer-skip draft"):
        load_pair(tiny_folder, tmp_path, device="cpu", progress=False)


# The built-in pair


def test_builtin_draft_is_the_target_with_five_layers_left_out(builtin_pair: ModelPair) -> None:
    held = {p.data_ptr() for p in builtin_pair.target.parameters()}
    assert {p.data_ptr() for p in builtin_pair.draft.parameters()} < held
    assert len(builtin_pair.target.model.layers) == 30
    kept = [i for i in range(30) if i not in BUILTIN_DRAFT_SKIPPED_LAYERS]
    for new, old in enumerate(kept):
        draft_weight = builtin_pair.draft.model.layers[new].mlp.up_proj.weight
        target_weight = builtin_pair.target.model.layers[old].mlp.up_proj.weight
        assert draft_weight.data_ptr() == target_weight.data_ptr()
    assert builtin_pair.vocabulary_size == 49152
    assert "sharing the weights of the target" in builtin_pair.describe()


def test_builtin_pair_overlaps_as_much_as_a_real_draft(builtin_pair: ModelPair) -> None:
    texts = human_paragraphs(60)[:5]
    rows = [builtin_pair.tokenizer(text)["input_ids"][:48] for text in texts]
    ids = torch.tensor(rows)
    positions = torch.tensor([[11, 23, 35, 47]] * len(rows))
    p, q = (
        logits_at(model, ids, None, positions, builtin_pair.vocabulary_size).double().softmax(-1)
        for model in (builtin_pair.target, builtin_pair.draft)
    )
    overlap = torch.minimum(p, q).sum(-1)
    # 0.57 on average with a spread of 0.2 over positions: 20 positions have a standard error of 0.05.
    assert 0.4 < overlap.mean() < 0.75
    assert overlap.max() < 1
