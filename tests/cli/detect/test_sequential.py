"""`tradeoff detect --sequential`: reading ends where the verdict is certain."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import re
import time
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.detect.test_records import folder, marked_ids, run, spelled  # noqa: F401
from tests.helpers.detecting import PRF, detect, findings, flat, lines, marked, other, tournament
from tradeoff.decoders import Completed, GumbelMax, Identity, SynthID, heavy_water
from tradeoff.detection import Evidence
from tradeoff.detection.bets.gumbel import RaceBets
from tradeoff.detection.bets.synthid import TournamentBets
from tradeoff.detection.choice import default_bets
from tradeoff.detection.sequential import Sequential
from tradeoff.kernels import METHODS, make_method
from tradeoff.keyed.keyring import Keyring
from tradeoff.keyed.prf import Stream
from tradeoff.texts.json_texts import Text
from tradeoff.texts.reading import read_texts
from tradeoff.verdicts import Examiner, Options

BOTH = (Stream.DRAFT, Stream.TARGET)


def test_the_verdict_comes_with_the_tokens_it_took(folder: Path) -> None:  # noqa: F811
    ids = marked(200)
    path = lines(folder / "x.jsonl", {"token_ids": ids}, {"token_ids": other(200)})
    found, unmarked = findings(detect(folder, path, "--json", "--sequential"))
    expected = Sequential(RaceBets(), late=True).test(Evidence(ids, PRF)).tokens_needed(0.01)
    (whole, _) = findings(detect(folder, path, "--json", "--sequential", "--whole"))
    assert whole["tokens_needed"] == Sequential(RaceBets()).test(Evidence(ids, PRF)).tokens_needed(0.01)
    assert found["verdict"] == "watermarked"
    assert found["tokens_needed"] == found["tokens"] == expected
    assert expected is not None
    assert 4 < expected < 30
    assert found["tokens_scored"] == expected - PRF.context_width
    assert found["log10_p"] <= -2
    assert unmarked["verdict"] == "not detected"
    assert unmarked["tokens_needed"] is None
    assert unmarked["tokens"] == 200


def test_a_watermark_that_begins_late_is_found(folder: Path) -> None:  # noqa: F811
    """Half of the wealth waits for it, so that nobody needs to begin anew."""
    path = lines(folder / "x.jsonl", {"token_ids": [*other(3000), *marked(80)]})
    (late,), (whole,) = (
        findings(detect(folder, path, "--json", "--sequential", how)) for how in ("--segments", "--whole")
    )
    assert 3000 < late["tokens_needed"] < 3050
    assert (whole["verdict"], whole["tokens_needed"]) == ("not detected", None)


def test_a_stricter_level_takes_more_tokens(folder: Path) -> None:  # noqa: F811
    path = lines(folder / "x.jsonl", {"token_ids": marked(200)})
    needed = [
        findings(detect(folder, path, "--json", "--sequential", "--fpr", fpr))[0]["tokens_needed"]
        for fpr in ("0.05", "0.001", "1e-9")
    ]
    assert needed == sorted(needed)
    assert needed[0] < needed[-1]


def test_without_the_option_nothing_is_said_of_it(folder: Path) -> None:  # noqa: F811
    path = lines(folder / "x.jsonl", {"token_ids": marked(50)})
    (found,) = findings(detect(folder, path, "--json"))
    assert "tokens_needed" not in found
    shown = detect(folder, path, "--sequential")
    assert "needed" in shown.stdout
    assert "race bets" in flat(shown.stdout)


def test_every_line_has_the_same_keys(folder: Path) -> None:  # noqa: F811
    """Whatever the verdict."""
    texts = [{"token_ids": marked(200)}, {"token_ids": other(200)}, {"token_ids": []}]
    path = lines(folder / "x.jsonl", *texts, {"token_ids": other(60), "run": {"method": "standard"}})
    for options in ((), ("--sequential",)):
        found = findings(detect(folder, path, "--json", *options))
        assert [f["verdict"] for f in found] == [
            "watermarked",
            "not detected",
            "too short",
            "not detected",
        ]
        assert len({tuple(f) for f in found}) == 1
    assert [f["tokens_needed"] for f in found][1:] == [None] * 3


def test_every_method_has_its_bets() -> None:
    assert default_bets(make_method("one-race", GumbelMax())) == RaceBets()
    assert default_bets(make_method("basic", SynthID(20))) == TournamentBets(20)
    assert default_bets(make_method("two-keys", GumbelMax())) == RaceBets(
        (Stream.DRAFT, Stream.TARGET), False
    )
    assert default_bets(make_method("algorithm-1", SynthID(20))) == TournamentBets(
        20, (Stream.DRAFT, Stream.TARGET), True
    )
    for name in set(METHODS) - {"standard"}:
        others = {
            "joint-transport": heavy_water(),
            "joint-tournament": SynthID(20),
            "joint-race-marked": Completed(SynthID(20)),
        }
        method = make_method(name, others.get(name, GumbelMax()))
        assert set(default_bets(method).streams) == method.detection.streams
    for method in (make_method("standard", Identity()), make_method("basic", Identity())):
        with pytest.raises(ValueError, match="leaves no watermark"):
            default_bets(method)


def test_synthid_is_read_from_its_bits(folder: Path) -> None:  # noqa: F811
    ids = tournament(120, 5, Stream.SHARED)
    path = lines(folder / "x.jsonl", {"token_ids": ids})
    (found,) = findings(
        detect(folder, path, "--json", "--sequential", "--method", "basic", "--watermark", "synthid:5")
    )
    assert found["detector"] == "tournament bets, from any token on"
    assert found["verdict"] == "watermarked"
    assert found["tokens"] < 120


def test_evidence_is_shown_token_by_token(folder: Path) -> None:  # noqa: F811
    path = lines(folder / "x.jsonl", {"token_ids": marked(60)})
    page = folder / "page.html"
    result = detect(folder, path, "--sequential", "--tokens", "--html", page)
    assert result.exit_code == 0
    assert "one in" in result.stdout
    assert "tokens needed" in page.read_text()
    (found,) = findings(detect(folder, path, "--json", "--sequential", "--tokens"))
    assert len(found["scores"]) == found["tokens_scored"]


class Slow(io.RawIOBase):
    """Standard input of a writer who is not done: what was read of it, in parts of 40 characters."""

    def __init__(self, text: str):
        self.data, self.read_so_far = text.encode(), 0

    def read1(self, size: int) -> bytes:
        part = self.data[self.read_so_far : self.read_so_far + 40]
        self.read_so_far += len(part)
        return part


def test_words_are_read_while_they_are_written(folder: Path) -> None:  # noqa: F811
    """Eager pieces come up to the last seam, and hold what the whole text holds."""
    text = "some words, and\n\nmore of them " * 30
    slow = Slow(text)
    (found,) = read_texts(["-"], slow, pytest.fail, eager=True)  # type: ignore[arg-type]
    pieces = iter(found.pieces)  # type: ignore[union-attr, arg-type]
    first = next(pieces)
    assert slow.read_so_far <= 80
    assert "".join([first, *pieces]) == text


def test_a_text_without_blanks_costs_no_more_in_small_parts(folder: Path) -> None:  # noqa: F811
    """Only what is new is searched for a blank: all of it again at every part would take minutes."""
    for eager, text in ((True, "x" * (1 << 19)), (False, "and on " * (1 << 16))):
        slow = Slow(text)
        start = time.process_time()
        (found,) = read_texts(["-"], slow, pytest.fail, eager=eager)  # type: ignore[arg-type]
        assert "".join(found.pieces) == text  # type: ignore[union-attr, arg-type]
        # A hundredth of this is usual.
        assert time.process_time() - start < 5


@given(st.text("ab \n", max_size=40), st.lists(st.integers(1, 9), max_size=10), st.booleans())
def test_pieces_end_between_words_however_the_text_comes(text: str, sizes: list[int], eager: bool) -> None:
    parts, rest = [], text.encode()
    for size in sizes:
        parts.append(rest[:size])
        rest = rest[size:]
    stream = Parts([*(part for part in [*parts, rest] if part), b""])
    (found,) = read_texts(["-"], stream, pytest.fail, eager=eager) if text else (None,)  # type: ignore[arg-type]
    pieces = [] if found is None else list(found.pieces)  # type: ignore[union-attr, arg-type]
    assert "".join(pieces) == text
    for before, after in itertools.pairwise(pieces):
        assert re.fullmatch(r".*\S\n", before, re.S) or re.match(r" \S", after)
        assert before[-1] != " "
        assert not after[0].isspace() or before[-1] != "\n"
    if not eager:
        assert len(pieces) <= 1
    elif sizes and re.search(r"\S\s\S", text[: sizes[0]]):
        assert len(pieces) > 1


CHINESE = "水印是一种在文本中留下痕迹的方法，读者看不见，但持有密钥的人可以找到它。" * 12


def test_text_that_has_no_blanks_is_read_while_it_is_written(folder: Path) -> None:  # noqa: F811
    """After two hundred characters before a comma or full stop, or sooner at the end of a line."""
    for text, most in ((CHINESE, 320), (CHINESE.replace("。", "。\n"), 100), ("x" * 900 + ", y", 960)):
        characters = math.ceil(most * len(text.encode()) / len(text))
        slow = Slow(text)
        (found,) = read_texts(["-"], slow, pytest.fail, eager=True)  # type: ignore[arg-type]
        pieces = iter(found.pieces)  # type: ignore[union-attr, arg-type]
        first = next(pieces)
        assert slow.read_so_far <= characters
        rest = list(pieces)
        assert "".join([first, *rest]) == text
        for before, after in itertools.pairwise([first, *rest]):
            assert before[-1] == "\n" or after[0] in "，。, "


HINDI = "यहजलचिह्नहैजोपाठमेंछिपाहै।पाठकइसेनहींदेखताहै।जिसकेपासकुंजीहैवहइसेपाताहै।कखग।" * 8
MYANMAR = "ဤစာသားတွင်အမှတ်အသားရှိသည်။ဖတ်သူမမြင်နိုင်ပါ၊သော့ရှိသူတွေ့နိုင်သည်။" * 8
SPREAD = ("words  apart,  two  blanks  ", "columns\tof\t\ta table,\t", "a word\n\n\nor\n\n\ntwo.\n\n")
#: How GPT-2 and, with prefixes and line ends that words and punctuation take along, Llama 3 part a text.
GPT_2 = r"'s|'t| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA_3 = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@pytest.mark.parametrize("parting", [GPT_2, LLAMA_3], ids=["GPT-2", "Llama 3"])
@pytest.mark.parametrize("text", [HINDI, MYANMAR, *(part.replace(" of ", "  ") * 40 for part in SPREAD)])
def test_text_without_single_blanks_comes_in_parts_with_the_tokens_of_the_whole(
    folder: Path,  # noqa: F811
    text: str,
    parting: str,
) -> None:
    """After some two hundred characters, whether words are parted by nothing or by much."""
    text = re.sub(r"(?<=\S)[ \n](?=\S)", "", text)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(parting), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.train_from_iterator([text], tokenizers.trainers.BpeTrainer(vocab_size=600))
    tokenizer.save(str(folder / "parting.json"))
    slow = Slow(text)
    (found,) = read_texts(["-"], slow, pytest.fail, eager=True)  # type: ignore[arg-type]
    pieces = iter(found.pieces)  # type: ignore[union-attr, arg-type]
    first = next(pieces)
    assert slow.read_so_far <= math.ceil(320 * len(text.encode()) / len(text))
    pieces = [first, *pieces]
    assert "".join(pieces) == text
    options = Options(tokenizer=str(folder / "parting.json"), sequential=True, fpr=1e-9)
    key = Keyring.read([folder / "key"])
    whole, parts = (
        Examiner(options, key, pytest.fail, str).examine(Text("x", "x", "x", None, given)).token_ids.tolist()
        for given in ([text], pieces)
    )
    assert parts == whole
    assert len(whole) < len(text)


class Parts(io.RawIOBase):
    """Standard input that comes in these parts."""

    def __init__(self, parts: list[bytes]):
        self.parts = iter(parts)

    def read1(self, size: int) -> bytes:
        return next(self.parts)


def test_reading_ends_with_certainty(folder: Path) -> None:  # noqa: F811
    words = spelled(marked_ids(3_000))
    (folder / "x.txt").write_text(words)
    (found,) = findings(run(folder, folder / "x.txt", "--json", "--sequential"))
    assert found["verdict"] == "watermarked"
    assert found["tokens"] == found["tokens_needed"] < 100


def test_nothing_is_waited_for_after_certainty(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Neither the rest of a megabyte nor the end of standard input."""
    slow = Slow(spelled(marked_ids(3_000)))
    monkeypatch.setattr(
        "tradeoff.cli.detect.read_texts",
        lambda sources, _, warn, **how: read_texts(sources, slow, warn, **how),
    )
    (found,) = findings(run(folder, "-", "--json", "--sequential"))
    assert found["verdict"] == "watermarked"
    assert slow.read_so_far < 400


def test_certainty_outweighs_how_few_tokens_count(folder: Path) -> None:  # noqa: F811
    path = lines(folder / "x.jsonl", {"token_ids": marked(200)})
    (found,) = findings(detect(folder, path, "--json", "--sequential", "--fpr", 0.6))
    assert found["tokens_scored"] < PRF.context_width
    assert found["verdict"] == "watermarked"


def test_the_p_value_of_a_text_is_that_of_its_highest_wealth(folder: Path) -> None:  # noqa: F811
    ids = other(200, seed=5)
    result = Sequential(RaceBets()).test(Evidence(ids, PRF))
    (found,) = findings(
        detect(folder, lines(folder / "x.jsonl", {"token_ids": ids}), "--json", "--sequential", "--whole")
    )
    assert found["log10_p"] == pytest.approx(result.log_p[-1] / math.log(10))
    assert result.log_p[-1] < -max(result.log_wealth[-1], 0)


def test_a_fitted_detector_has_no_sequential_form(folder: Path) -> None:  # noqa: F811
    path = lines(folder / "x.jsonl", {"token_ids": marked(20)})
    result = detect(folder, path, "--sequential", "--detector", folder / "fitted")
    assert result.exit_code == 2
    assert "leave out sequential" in flat(result.stderr)


def test_an_empty_text_is_too_short(folder: Path) -> None:  # noqa: F811
    path = folder / "x.jsonl"
    path.write_text(json.dumps({"token_ids": []}) + "\n")
    (found,) = findings(detect(folder, path, "--json", "--sequential"))
    assert found["verdict"] == "too short"
    assert found["log10_p"] == 0
    assert found["tokens_needed"] is None


@pytest.fixture
def prepending(folder: Path) -> Path:  # noqa: F811
    """A tokenizer as Llama 2's: it puts a blank in front of whatever it is given."""
    letters = {letter: i for i, letter in enumerate("▁abcdefghijklmnopqrstuvwxyz")}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(letters, []))
    tokenizer.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
    )
    path = folder / "prepending.json"
    tokenizer.save(str(path))
    return path


def test_text_without_blanks_that_comes_in_parts_has_the_tokens_of_the_whole(folder: Path) -> None:  # noqa: F811
    """Under a byte-level tokenizer, as most are, whose tokens do not cross punctuation or line ends."""
    text = CHINESE + CHINESE.replace("。", "。\n") + "https://example.org/some/path?with=3.14,and:more" * 20
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator([text], tokenizers.trainers.BpeTrainer(vocab_size=600))
    tokenizer.save(str(folder / "bytes.json"))
    options = Options(tokenizer=str(folder / "bytes.json"), sequential=True, fpr=1e-9)
    key = Keyring.read([folder / "key"])
    whole = Examiner(options, key, pytest.fail, str).examine(Text("x", "x", "x", None, [text]))
    (found,) = read_texts(["-"], Slow(text), pytest.fail, eager=True)  # type: ignore[arg-type]
    parts = Examiner(options, key, pytest.fail, str).examine(found)  # type: ignore[arg-type]
    assert len(whole.token_ids) < len(text)
    assert parts.token_ids.tolist() == whole.token_ids.tolist()


def test_words_that_come_in_parts_have_the_tokens_of_the_whole(
    folder: Path,  # noqa: F811
    prepending: Path,
) -> None:
    key = Keyring.read([folder / "key"])
    options = Options(tokenizer=str(prepending), sequential=True, fpr=1e-9)
    words = "some words of a text that says nothing much at all"
    whole = Examiner(options, key, pytest.fail, str).examine(Text("x", "x", "x", None, [words]))
    (found,) = read_texts(["-"], Slow(words * 3), pytest.fail, eager=True)  # type: ignore[arg-type]
    parts = Examiner(options, key, pytest.fail, str).examine(found)  # type: ignore[arg-type]
    n = len(whole.token_ids)
    assert parts.token_ids[:n].tolist() == whole.token_ids.tolist()
    assert len(parts.token_ids) == 3 * (n - 1) + 1


def test_the_rest_of_a_text_is_read_for_the_page_where_it_is_there(folder: Path) -> None:  # noqa: F811
    """Of a file it is, for comparison, and its hash is that of the file; what is still arriving is not."""
    words, page = spelled(marked_ids(200)), folder / "page.html"
    (folder / "x.txt").write_text(words)
    assert run(folder, folder / "x.txt", "--sequential", "--html", page).exit_code == 0
    content = page.read_text()
    (whole,) = findings(run(folder, folder / "x.txt", "--json"))
    assert f"a single look at all {whole['tokens']} tokens would say: watermarked" in content
    assert "reading stopped here" in content
    assert f"<td>{hashlib.sha256(words.encode()).hexdigest()}</td>" in content
    assert run(folder, "-", "--sequential", "--html", page, input=words).exit_code == 0
    content = page.read_text()
    assert "single look" not in content
    assert "The rest was not read." in content
    assert "none: the words were not read to their end" in content
