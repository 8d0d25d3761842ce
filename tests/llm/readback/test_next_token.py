"""Next-token pairs: full rows, right positions, saved and loaded whole, refused when damaged."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers.support import ALPHA, chi_square_p
from tradeoff.errors import FileError
from tradeoff.laws import distribution, overlap
from tradeoff.llm.readback.next_token import (
    FIRST_POSITION,
    TEXT_TOKENS,
    NextTokenPairs,
    collect_pairs,
    load_pairs,
    pair_settings,
    sample_continuations,
    save_pairs,
)
from tradeoff.texts.corpus import human_paragraphs


@pytest.fixture(scope="module")
def pairs(builtin_pair):
    return collect_pairs(builtin_pair, positions=16, seed=3)


def test_rows_are_whole_distributions(pairs, builtin_pair):
    assert pairs.target.shape == pairs.draft.shape == (16, builtin_pair.vocabulary_size)
    assert pairs.target.dtype == np.float32
    for k in range(len(pairs)):
        for temperature in (1.0, 0.5):
            p, q = pairs.probabilities(k, temperature)
            assert p.dtype == np.float64
            assert np.allclose(distribution(p), p, atol=1e-12)
            assert np.allclose(distribution(q), q, atol=1e-12)


def test_one_softmax_at_the_temperature_for_both_models(pairs):
    for temperature in (1.0, 0.7, 0.5):
        for rows, law in zip((pairs.target, pairs.draft), pairs.probabilities(5, temperature), strict=True):
            expected = torch.softmax(torch.from_numpy(rows[5]).double() / temperature, dim=-1)
            assert law == pytest.approx(expected.numpy(), rel=1e-9, abs=1e-15)


def test_rows_are_each_models_own_at_its_position(pairs, builtin_pair):
    """Human texts are known, so that their rows can be recomputed one text at a time."""
    texts = [
        builtin_pair.tokenizer(text, add_special_tokens=False)["input_ids"] for text in human_paragraphs()
    ]
    texts = [ids[:TEXT_TOKENS] for ids in texts if len(ids) >= TEXT_TOKENS]
    for k in (8, 11, 15):
        ids = torch.tensor([texts[pairs.text[k] - 4]])
        for model, rows in ((builtin_pair.target, pairs.target), (builtin_pair.draft, pairs.draft)):
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0, pairs.position[k]]
            expected = torch.log_softmax(logits[: builtin_pair.vocabulary_size], dim=-1)
            assert rows[k] == pytest.approx(expected.numpy(), abs=1e-3)


def test_both_sources_two_positions_a_text(pairs):
    assert pairs.source.tolist() == ["model"] * 8 + ["human"] * 8
    assert pairs.text.tolist() == [k // 2 for k in range(16)]
    assert np.all((pairs.position >= FIRST_POSITION) & (pairs.position < TEXT_TOKENS))
    assert np.all(np.diff(pairs.position.reshape(-1, 2), axis=1) > 0)


def test_overlap_of_the_built_in_pair(pairs):
    """About 0.57 at temperature 1 with a spread of 0.2 over positions; 16 of them."""
    values = [overlap(*pairs.probabilities(k, 1.0)) for k in range(len(pairs))]
    assert 0.35 < np.mean(values) < 0.8


def test_same_seed_same_pairs(pairs, builtin_pair):
    again = collect_pairs(builtin_pair, positions=16, seed=3)
    assert np.array_equal(again.position, pairs.position)
    assert np.array_equal(again.target, pairs.target)
    assert np.array_equal(again.draft, pairs.draft)


def test_saved_pairs_come_back_bit_for_bit(pairs, tmp_path):
    path = tmp_path / "pairs.npz"
    save_pairs(pairs, path)
    assert [file.name for file in tmp_path.iterdir()] == ["pairs.npz"]
    loaded = load_pairs(path)
    for name in ("target", "draft", "source", "text", "position"):
        assert np.array_equal(getattr(loaded, name), getattr(pairs, name))
    assert loaded.settings == pairs.settings


def test_settings_tell_when_saved_pairs_fit(pairs, builtin_pair):
    assert pairs.settings == pair_settings(builtin_pair, positions=16, seed=3)
    assert pairs.settings != pair_settings(builtin_pair, positions=16, seed=4)
    other = replace(builtin_pair, draft=builtin_pair.target)
    assert pairs.settings["weights"] != pair_settings(other, positions=16, seed=3)["weights"]


def small_pairs():
    logs = np.log(np.full((2, 4), 0.25, dtype=np.float32))
    return NextTokenPairs(logs, logs, np.array(["model", "human"]), np.arange(2), np.arange(2), {"seed": 0})


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "pairs.npz"
    with pytest.raises(FileError, match="does not exist"):
        load_pairs(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(FileError, match="delete it"):
        load_pairs(path)
    save_pairs(small_pairs(), path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FileError, match="delete it"):
        load_pairs(path)
    # Only the top of each row kept: the rest of the mass is missing.
    half = np.float32([[np.log(0.25)] * 2, [np.log(0.25)] * 2])
    truncated = replace(small_pairs(), target=half + np.float32(np.log(2)), draft=half)
    save_pairs(truncated, path)
    with pytest.raises(FileError, match=r"draft are not log-probabilities .*worst sum 0\.5"):
        load_pairs(path)
    for shapes in (((4,), (4,)), ((2, 4), (1, 4)), ((0, 4), (0, 4))):
        target, draft = (np.full(shape, np.log(0.25), dtype=np.float32) for shape in shapes)
        save_pairs(replace(small_pairs(), target=target, draft=draft), path)
        with pytest.raises(FileError, match="must be rows"):
            load_pairs(path)
    with pytest.raises(ValueError, match=r"temperature=0\.0 must be positive"):
        small_pairs().probabilities(0, 0.0)
    with pytest.raises(FileError, match="cannot be written"):
        save_pairs(small_pairs(), tmp_path / "none" / "pairs.npz")


@pytest.mark.parametrize("positions", [0, 2, 6, -4])
def test_bad_numbers_of_positions(builtin_pair, positions):
    with pytest.raises(ValueError, match=f"positions={positions}"):
        collect_pairs(builtin_pair, positions=positions)


def test_too_many_positions_say_how_many_there_are(builtin_pair):
    with pytest.raises(ValueError, match=r"are needed; ask for at most \d+ positions"):
        collect_pairs(builtin_pair, positions=40_000)


def test_samples_follow_the_target(builtin_pair, make_llama):
    """Two sampled tokens of 20,000 continuations by a tiny model, jointly: chi-square at level ALPHA."""
    tiny = replace(builtin_pair, target=make_llama(), vocabulary_size=40)
    prompt = [5, 7, 11]
    with torch.no_grad():
        first = torch.softmax(tiny.target(input_ids=torch.tensor([prompt])).logits[0, -1, :40].double(), -1)
        texts = torch.tensor([[*prompt, token] for token in range(40)])
        second = torch.softmax(tiny.target(input_ids=texts).logits[:, -1, :40].double(), -1)
    expected = (first[:, None] * second).numpy()
    drawn = sample_continuations(tiny, np.array([prompt] * 20_000), 2, np.random.default_rng(0))
    counts = np.bincount(drawn[:, -2] * 40 + drawn[:, -1], minlength=1600)
    assert chi_square_p(counts, 20_000 * expected.ravel()) > ALPHA


def test_cached_sampling_continues_the_text_it_has(builtin_pair):
    """Incremental sampling with a cache draws the tokens that full forward passes would."""
    prompt = np.array([builtin_pair.tokenizer("Once upon a time", add_special_tokens=False)["input_ids"]])
    text = sample_continuations(builtin_pair, prompt, 6, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    ids = torch.from_numpy(prompt)
    for _ in range(6):
        with torch.no_grad():
            scores = builtin_pair.target(input_ids=ids).logits[:, -1, : builtin_pair.vocabulary_size].double()
        race = torch.from_numpy(rng.standard_exponential(tuple(scores.shape)))
        ids = torch.cat([ids, torch.argmax(scores - torch.log(race), dim=-1, keepdim=True)], dim=1)
    assert np.array_equal(text, ids.numpy())
