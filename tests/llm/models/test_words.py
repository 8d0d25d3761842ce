"""The built-in model's tokenizer read without Transformers is the one that Transformers reads."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tradeoff.llm import load_tokenizer, load_words
from tradeoff.llm.models.words import BuiltinWords
from tradeoff.verdicts import vocabulary_hash


@pytest.fixture(scope="module")
def both() -> tuple[BuiltinWords, object]:
    return load_words(progress=False), load_tokenizer(progress=False)


WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@given(st.lists(WORDS, min_size=1, max_size=4))
@example(["", " ", "\r\n\t  \n", "<|im_start|>user\nA<|im_end|><|endoftext|>", " <|im_end |>", "don't 12345"])
@example(["é e\u0301 ﬁ \u200b\u00a0 \ufeff 漢字 👩‍👩‍👧 \x00\x7f"])
def test_words_have_the_tokens_of_transformers(both, words: list[str]) -> None:
    light, whole = both
    ids = light(words, add_special_tokens=False)["input_ids"]
    assert ids == whole(words, add_special_tokens=False, verbose=False)["input_ids"]
    for one in ids:
        for skip in (False, True):
            assert light.decode(one, skip_special_tokens=skip) == whole.decode(one, skip_special_tokens=skip)


def test_every_token_is_spelled_alike(both) -> None:
    light, whole = both
    assert len(light) == len(whole)
    assert vocabulary_hash(light) == vocabulary_hash(whole)
    everything = list(range(len(whole)))
    assert [light.decode([one]) for one in everything] == [whole.decode([one]) for one in everything]
    assert [light.convert_ids_to_tokens(one) for one in everything] == whole.convert_ids_to_tokens(everything)
    rng = np.random.default_rng(0)
    for ids in rng.integers(0, len(whole), (200, 20)).tolist():
        assert light.decode(ids) == whole.decode(ids)


def test_long_texts_are_neither_cut_nor_padded(both) -> None:
    """Longer than any context of the model, beside a short one."""
    light, whole = both
    words = ["one word after another, and so on; " * 3000, "short"]
    ids = light(words)["input_ids"]
    assert ids == whole(words, add_special_tokens=False, verbose=False)["input_ids"]
    assert len(ids[0]) > 20_000
    assert len(ids[1]) < 4


def test_half_a_character_is_refused_alike(both) -> None:
    kinds = []
    for tokenizer in both:
        with pytest.raises(Exception) as caught:  # noqa: PT011
            tokenizer(["\ud800"], add_special_tokens=False)
        kinds.append(caught.type)
    assert kinds[0] is kinds[1]


def test_neither_pytorch_nor_transformers_is_imported() -> None:
    code = (
        "import sys; from tradeoff.llm import load_words; load_words(progress=False)(['x']); "
        "sys.exit(bool({'torch', 'transformers'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_others_are_left_to_transformers(tiny_folder) -> None:
    assert type(load_words(tiny_folder, progress=False)) is type(load_tokenizer(tiny_folder, progress=False))
