"""`tradeoff detect` of documents that are watermarked in part: the verdict, and where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tradeoff as td
from tests.helpers.detecting import KEY, PRF, detect, findings, lines, marked, other
from tests.helpers.tiny import VOCABULARY
from tradeoff.detection import Evidence, Exactness, WeightedMeanBits
from tradeoff.keyed.prf import Stream
from tradeoff.verdicts import Outcome

SCHEME = td.Scheme.of("joint-race")
#: A marked passage of 60 tokens among 1,500 others.
HIDDEN = [*other(700), *marked(60), *other(800, seed=2)]
#: Letters that no merge joins, so that their text has one tokenisation.
LETTERS = np.array([VOCABULARY.index(letter) for letter in "bcdfgijklmopqrsuvwxyzĠ"])


def overlap(found: tuple[int, int], meant: tuple[int, int]) -> float:
    """Intersection over union."""
    both = max(0, min(found[1], meant[1]) - max(found[0], meant[0]))
    return both / (found[1] - found[0] + meant[1] - meant[0] - both)


def test_a_hidden_passage_is_found_and_placed(folder: Path) -> None:
    path = lines(folder / "x.jsonl", {"id": "a", "token_ids": HIDDEN}, {"token_ids": other(1560, seed=3)})
    part, none = findings(detect(folder, path, "--json"))
    assert part["verdict"] == "watermarked in part"
    (segment,) = part["segments"]
    assert overlap((segment["start"], segment["end"]), (700, 760)) > 0.85
    assert segment["log10_p"] == part["log10_p"] < -20
    assert part["share"] == segment["tokens_scored"] / part["tokens_scored"]
    assert part["log10_p_whole"] > -10
    assert segment["characters"] is None, "words would need a tokenizer"
    assert (none["verdict"], none["segments"], none["share"]) == ("not detected", [], 0.0)
    shown = detect(folder, path).stdout
    words = f"a: tokens {segment['start'] + 1:,} to {segment['end']:,}: 4% of those that count, log10 p = "
    assert words in shown
    assert "2 texts: 0 watermarked, 1 watermarked in part, 1 not detected" in shown
    page = folder / "page.html"
    detect(folder, path, "--html", page)
    (first,) = folder.glob("page-pages-*/0001.html")
    for view in (detect(folder, path, "--tokens").stdout, first.read_text()):
        assert words.removeprefix("a: ") in view
    found = td.detect(HIDDEN, SCHEME, KEY)
    assert found.verdict is Outcome.IN_PART
    assert found.detected
    assert found


def test_a_text_that_is_marked_throughout_is_no_part(folder: Path) -> None:
    path = lines(folder / "x.jsonl", {"token_ids": marked(400)})
    (whole,) = findings(detect(folder, path, "--json"))
    assert (whole["verdict"], whole["share"]) == ("watermarked", 1.0)
    assert [(s["start"], s["end"]) for s in whole["segments"]] == [(PRF.context_width, 400)]
    assert "in part" not in detect(folder, path).stdout


def test_as_a_whole(folder: Path) -> None:
    """--whole gives the p-value of the whole text, and looks for nothing."""
    path = lines(folder / "x.jsonl", {"token_ids": HIDDEN})
    (part,), (whole,) = (findings(detect(folder, path, "--json", *how)) for how in ((), ("--whole",)))
    assert whole["log10_p"] == part["log10_p_whole"]
    assert (whole["segments"], whole["share"]) == ([], None)
    found = td.detect(HIDDEN, SCHEME, KEY, segments=False)
    assert (found.segments, found.share, found.where) == ((), None, "")


def test_two_passages(folder: Path) -> None:
    ids = [*other(300), *marked(80), *other(300, seed=5), *marked(80, seed=6), *other(300, seed=7)]
    found = td.detect(ids, SCHEME, KEY)
    for segment, meant in zip(found.segments, ((300, 380), (680, 760)), strict=True):
        assert overlap((segment.start, segment.end), meant) > 0.85
    assert found.where.count("tokens") == 2


def test_many_passages_are_all_told_to_programs_and_few_to_people() -> None:
    ids: list[int] = []
    # Of so few tokens narrow contexts would be those of other passages.
    wide = td.Scheme.of("joint-race", context_width=4)
    for seed in range(8):
        ids += [*other(150, seed=100 + seed), *marked(60, wide.function(KEY), seed=seed)]
    found = td.detect(ids, wide, KEY)
    assert len(found.segments) == len(found.to_dict()["segments"]) == 8
    assert "and 3 more" in found.where


def test_detectors_without_p_values_of_parts_judge_the_whole() -> None:
    class Given(WeightedMeanBits):
        exactness = Exactness.GIVEN_TEXT

    detector = Given(30, (Stream.SHARED,))
    found = td.detect(HIDDEN, td.Scheme.of("basic", "synthid:30"), KEY, detector=detector)
    assert found.share is None
    assert found.log_p == td.detection.detect(detector, Evidence(HIDDEN, PRF)).log_p


def test_sequential_detection_looks_for_no_parts() -> None:
    found = td.detect(HIDDEN, SCHEME, KEY, sequential=True)
    assert found.share is None
    assert "segments" not in found.to_dict()


@pytest.fixture
def tokenizer(tmp_path: Path, tiny_folder: Path) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_folder / name, tmp_path / name)
    return tmp_path


def letters(tokens: int, seed: int, key: bool) -> list[int]:
    if key:
        return marked(tokens, seed=seed, alphabet=LETTERS)
    return np.random.default_rng(seed).choice(LETTERS, size=tokens).tolist()


def test_characters_are_those_of_the_words(folder: Path, tokenizer: Path) -> None:
    """Of a file of words, of a record with both, and of bare ids, which have none."""
    ids = [*letters(400, 1, False), *letters(80, 2, True), *letters(400, 3, False)]
    words = "".join(VOCABULARY[i] for i in ids).replace("Ġ", " ")
    (folder / "x.txt").write_text(words)
    (found,) = findings(detect(folder, folder / "x.txt", "--json", "--tokenizer", tokenizer))
    (segment,) = found["segments"]
    # A token is a letter.
    assert segment["characters"] == [segment["start"], segment["end"]]
    assert overlap(tuple(segment["characters"]), (400, 480)) > 0.8
    record = {"text": words, "token_ids": ids}
    for text, known in ((record, True), ({"token_ids": ids}, False), (record | {"text": "no"}, False)):
        path = lines(folder / "y.jsonl", text)
        (result,) = td.detect_all(
            td.texts.read_texts([str(path)], None, lambda _: None),
            td.verdicts.Options(method="joint-race", tokenizer=str(tokenizer)),
            KEY,
        )
        (placed,) = result.segments
        assert result.characters(placed) == ((placed.start, placed.end) if known else None)
        assert json.loads(json.dumps(result.to_dict()))["segments"][0]["characters"] is None
