"""`tradeoff detect` with several keys and settings, words that were changed on the way, and many texts."""

from __future__ import annotations

import json
import math
import re
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import tradeoff as td
from tests.helpers.detecting import KEY, detect, findings, flat, lines, marked, other, runner
from tests.helpers.tiny import VOCABULARY
from tradeoff.cli import app
from tradeoff.cli.verdict_table import chance_line
from tradeoff.keyed import Key, KeyedPrf, KeyFile, KeyProfile, Keyring, VllmPhilox
from tradeoff.keyed.prf import Stream

SECOND = Key(bytes(range(50, 82)))
INTEGER = 0x9E3779B97F4A7C15
LETTERS = np.array([VOCABULARY.index(letter) for letter in "bcdfgijklmopqrsuvwxyzĠ"])


def run(*arguments: object):
    return runner.invoke(app, list(map(str, arguments)))


# Several keys and settings


def test_all_keys_are_tested_and_paid_for(folder: Path) -> None:
    """Twice a --key-file are two keys, and a folder all of its own."""
    KeyFile(SECOND, "letters").write(folder / "second.key")
    ids = marked(60, KeyedPrf(SECOND))
    path = lines(folder / "x.jsonl", {"token_ids": ids})
    options = ("--method", "joint-race")
    (alone,) = findings(
        detect(folder, path, "--json", *options, "--key-file", folder / "second.key", key=False)
    )
    (both,) = findings(detect(folder, path, "--json", *options, "--key-file", folder / "second.key"))
    assert (both["verdict"], both["key"], both["key_name"]) == ("watermarked", SECOND.fingerprint, "letters")
    assert both["log10_p"] == pytest.approx(alone["log10_p"] + math.log10(2))
    assert both["log10_p_uncorrected"] == alone["log10_p"]
    assert {test["key"] for test in both["tests"]} == {KEY.fingerprint, SECOND.fingerprint}
    ring = folder / "ring"
    ring.mkdir()
    shutil.copy(folder / "key", ring / "first.key")
    shutil.copy(folder / "second.key", ring)
    (of_folder,) = findings(run("detect", path, "--json", *options, "--key-file", ring))
    assert of_folder["log10_p"] == both["log10_p"]
    shown = flat(run("detect", path, *options, "--key-file", ring).stdout)
    assert f"key {SECOND.fingerprint} (letters)" in shown
    assert shown.count("tested: ") == 2
    # The functions are the same.
    found = td.detect(ids, td.Scheme.of("joint-race"), [KEY, KeyFile(SECOND, "letters")])
    assert found.log10_p == both["log10_p"]


def test_all_settings_are_tested_and_paid_for(folder: Path) -> None:
    """In all combinations; those that read the same are one test."""
    path = lines(folder / "x.jsonl", {"token_ids": marked(60)})
    options = ["--method", "joint-race", "--method", "one-race", "--method", "two-keys"]
    (found,) = findings(
        detect(folder, path, "--json", *options, "--context-width", "2", "--context-width", "4")
    )
    told = [(test["method"], test["context_width"]) for test in found["tests"]]
    assert told == [("joint-race", 2), ("joint-race", 4), ("two-keys", 2), ("two-keys", 4)]
    (single,) = findings(detect(folder, path, "--json", "--method", "joint-race"))
    assert found["log10_p"] == pytest.approx(single["log10_p"] + math.log10(4))
    corrected = sorted(test["log10_p"] for test in found["tests"])
    uncorrected = sorted(test["log10_p_uncorrected"] for test in found["tests"])
    # Holm's: the k-th smallest, times how many are not smaller, and no less than those before.
    expected = np.minimum(np.maximum.accumulate(np.array(uncorrected) + np.log10([4, 3, 2, 1])), 0)
    assert corrected == pytest.approx(expected.tolist())
    assert found["segments"][0]["log10_p"] == pytest.approx(found["log10_p"])


def test_several_settings_in_sequence(folder: Path) -> None:
    path = lines(folder / "x.jsonl", {"token_ids": marked(300)})
    options = ("--json", "--sequential", "--context-width", "2")
    (one,) = findings(detect(folder, path, *options))
    (four,) = findings(detect(folder, path, *options, "--context-width", "4", "--watermark", "gumbel"))
    assert four["verdict"] == "watermarked"
    assert one["tokens_needed"] <= four["tokens_needed"] == four["tokens"] < 60
    assert four["log10_p"] <= -2


def test_bets_are_part_of_a_test(folder: Path) -> None:
    """Those of two methods with one detector are two tests in sequence, and a record changes neither."""
    claims = {"method": "algorithm-1", "watermark": "gumbel"}
    ids = marked(200, stream=Stream.TARGET)
    path = lines(folder / "x.jsonl", {"token_ids": ids}, {"token_ids": ids, "run": claims})
    how = ("--json", "--sequential", "--method", "two-keys")
    alone, with_record = findings(detect(folder, path, *how))
    assert with_record["log10_p"] == alone["log10_p"]
    both = findings(detect(folder, path, *how, "--method", "algorithm-1"))
    assert [len(one["tests"]) for one in (alone, *both)] == [1, 2, 2]
    at_once = findings(detect(folder, path, "--json", "--method", "two-keys", "--method", "algorithm-1"))
    assert [len(one["tests"]) for one in at_once] == [1, 1]


def test_a_record_makes_no_text_long_enough(folder: Path) -> None:
    path = lines(folder / "x.jsonl", {"token_ids": other(3), "run": {"context_width": 1}})
    (found,) = findings(detect(folder, path, "--json"))
    assert (found["verdict"], len(found["tests"])) == ("too short", 2)


def test_what_a_profile_says(folder: Path) -> None:
    """Comes before the defaults and behind options."""
    profile = KeyProfile("two-keys", "gumbel", context_width=3)
    KeyFile(KEY, "pages", profile=profile).write(folder / "profiled.key")
    prf = KeyedPrf(KEY, 3)
    path = lines(folder / "x.jsonl", {"token_ids": marked(80, prf, Stream.TARGET)})
    how = ("--json", "--key-file", folder / "profiled.key")
    (found,) = findings(detect(folder, path, *how, key=False))
    assert (found["verdict"], found["method"], found["context_width"]) == ("watermarked", "two-keys", 3)
    assert len(found["tests"]) == 1
    (other_width,) = findings(detect(folder, path, *how, "--context-width", "4", key=False))
    assert (other_width["verdict"], other_width["context_width"]) == ("not detected", 4)
    assert detect(folder, path, *how, key=False).stderr == ""


def test_integer_keys_beside_secret_ones(folder: Path) -> None:
    """Each is read in its own format; an integer alone needs no --prf."""
    KeyFile(INTEGER, "server").write(folder / "server.key")
    path = lines(folder / "x.jsonl", {"token_ids": marked(60, VllmPhilox(INTEGER))})
    (found,) = findings(detect(folder, path, "--json", "--key-file", folder / "server.key"))
    assert (found["key_name"], found["prf"], len(found["tests"])) == ("server", "vllm-philox-v1", 2)
    (alone,) = findings(detect(folder, path, "--json", "--key", INTEGER, key=False))
    assert alone["log10_p_uncorrected"] == found["log10_p_uncorrected"]
    refused = detect(folder, path, "--key-file", folder / "server.key", "--prf", "blake2b-splitmix-v1")
    assert refused.exit_code == 2
    assert "takes a key of secret bytes, not an integer" in flat(refused.stderr)


def test_days_of_keys(folder: Path) -> None:
    made = run("key", "new", "-o", folder / "old.key", "--name", "old", "--valid-until", "2026-06-30")
    assert made.exit_code == 0
    path = lines(folder / "x.jsonl", {"token_ids": marked(60)})
    how = ("--json", "--key-file", folder / "old.key", "--written")
    (then,) = findings(detect(folder, path, *how, "2026-06-30"))
    (later,) = findings(detect(folder, path, *how, "2026-07-01"))
    assert [len(one["tests"]) for one in (then, later)] == [2, 1]
    for day, message in (
        ("2026-13-01", "--written 2026-13-01 is no day; write it as"),
        ("June", "is no day"),
    ):
        assert message in flat(detect(folder, path, *how, day).stderr)


def test_keys_are_made_with_a_profile_and_listed(folder: Path, tiny_folder: Path) -> None:
    path = folder / "new.key"
    made = run(
        *("key", "new", "-o", path, "--name", "letters", "--valid-from", "2027-01-01"),
        *("--watermark", "synthid:20", "--context-width", "2", "--tokenizer", tiny_folder),
    )
    assert made.exit_code == 0, made.output
    file = KeyFile.read(path)
    assert (file.name, str(file.valid_from), file.valid_until) == ("letters", "2027-01-01", None)
    assert file.profile.watermark == "synthid:20"
    assert len(file.profile.tokenizer_hash or "") == 64
    shown = run("key", "list", path, folder / "key").stdout
    for words in ("letters", file.fingerprint, "2027-01-01", "synthid:20", KEY.fingerprint):
        assert words in flat(shown)
    assert file.key.secret.hex() not in shown
    refused = run("key", "new", "-o", folder / "none.key", "--watermark", "magic")
    assert refused.exit_code == 2
    assert not (folder / "none.key").exists()
    integer = run("key", "new", "-o", folder / "vllm.key", "--prf", "vllm-philox-v1")
    assert integer.exit_code == 0
    assert isinstance(KeyFile.read(folder / "vllm.key").key, int)


@pytest.mark.parametrize("prf", [KeyedPrf, VllmPhilox])
def test_keys_tell_the_context_width_of_their_texts(folder: Path, prf: type) -> None:
    """Also where nobody chose one, so that their texts are found whatever the default will be then."""
    path = folder / "new.key"
    assert run("key", "new", "-o", path, "--prf", prf.name).exit_code == 0
    assert KeyFile.read(path).profile.context_width == prf.context_width


def test_what_one_profile_leaves_unsaid_is_told(folder: Path) -> None:
    """Whatever the profile of another key says."""
    KeyFile(Key(bytes(32)), profile=KeyProfile(context_width=3)).write(folder / "told.key")
    path = lines(folder / "x.jsonl", {"token_ids": other(60)})
    both = flat(detect(folder, path, "--key-file", folder / "told.key").stderr)
    assert "context width 2; the text names none" in both
    alone = flat(detect(folder, path, "--key-file", folder / "told.key", key=False).stderr)
    assert "context width" not in alone.partition("; the text")[0]


def test_a_profile_of_the_default_width_is_not_blamed(folder: Path) -> None:
    assert run("key", "new", "-o", folder / "plain.key").exit_code == 0
    path = lines(folder / "x.jsonl", {"token_ids": other(60)})
    refused = detect(folder, path, "--key-file", folder / "plain.key", "--alpha", "0.3", key=False)
    assert refused.exit_code == 2
    assert "joint-race has no two keys" in flat(refused.stderr)
    assert "with its profile" not in flat(refused.stderr)


def test_texts_of_the_width_of_a_profile_are_found(folder: Path) -> None:
    wide = folder / "wide.key"
    KeyFile(KEY, profile=KeyProfile(context_width=4)).write(wide)
    texts = lines(folder / "x.jsonl", {"token_ids": marked(80, KeyedPrf(KEY, 4))})
    (found,) = findings(detect(folder, texts, "--json", "--key-file", wide, key=False))
    assert (found["verdict"], found["context_width"]) == ("watermarked", 4)
    (default,) = findings(detect(folder, texts, "--json"))
    assert default["verdict"] == "not detected"


# Tokenizers of profiles


def spelled(ids: list[int]) -> str:
    return "".join(VOCABULARY[i] for i in ids).replace("Ġ", " ")


def marked_letters(tokens: int, seed: int = 0) -> list[int]:
    return marked(tokens, seed=seed, alphabet=LETTERS)


@pytest.fixture
def tokenizer(folder: Path, tiny_folder: Path) -> Path:
    path = folder / "tokenizer"
    path.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_folder / name, path / name)
    return path


def test_another_tokenizer_than_the_profile_s_is_an_error(folder: Path, tokenizer: Path) -> None:
    (folder / "x.txt").write_text(spelled(marked_letters(60)))
    made = run("key", "new", "-o", folder / "profiled.key", "--tokenizer", tokenizer)
    assert made.exit_code == 0
    profile = KeyFile.read(folder / "profiled.key").profile
    KeyFile(KEY, "pages", profile=profile).write(folder / "pages.key")
    how = ("--json", "--key-file", folder / "pages.key")
    (found,) = findings(detect(folder, folder / "x.txt", *how, key=False))
    assert found["verdict"] == "watermarked"
    # A copy of it is the same, and another one is not.
    copied = folder / "copied"
    shutil.copytree(tokenizer, copied)
    assert findings(detect(folder, folder / "x.txt", *how, "--tokenizer", copied, key=False)) == [found]
    content = json.loads((copied / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["b"], vocabulary["c"] = vocabulary["c"], vocabulary["b"]
    (copied / "tokenizer.json").write_text(json.dumps(content))
    refused = detect(folder, folder / "x.txt", *how, "--tokenizer", copied, key=False)
    assert refused.exit_code == 2
    assert "has another vocabulary than the profile of key pages says" in flat(refused.stderr)
    # A profile that has no hash knows the name alone.
    KeyFile(KEY, profile=KeyProfile(tokenizer=str(tokenizer))).write(folder / "named.key")
    refused = detect(
        folder, folder / "x.txt", "--key-file", folder / "named.key", "--tokenizer", copied, key=False
    )
    assert refused.exit_code == 2
    assert "is not that of key" in flat(refused.stderr)


def test_keys_with_several_tokenizers(folder: Path, tokenizer: Path) -> None:
    """Each reads words with its own; of known tokens they are one test."""
    (folder / "x.txt").write_text(spelled(marked_letters(60)))
    swapped = folder / "swapped"
    shutil.copytree(tokenizer, swapped)
    content = json.loads((swapped / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["b"], vocabulary["c"] = vocabulary["c"], vocabulary["b"]
    (swapped / "tokenizer.json").write_text(json.dumps(content))
    ring = folder / "ring"
    ring.mkdir()
    for n, (path, key) in enumerate(((tokenizer, KEY), (swapped, SECOND), (tokenizer, SECOND))):
        assert run("key", "new", "-o", folder / f"{n}.key", "--tokenizer", path).exit_code == 0
        KeyFile(key, str(n), profile=KeyFile.read(folder / f"{n}.key").profile).write(ring / f"{n}.key")
    (found,) = findings(run("detect", folder / "x.txt", "--json", "--key-file", ring))
    assert (found["verdict"], found["key_name"], len(found["tests"])) == ("watermarked", "0", 3)
    path = lines(folder / "x.jsonl", {"token_ids": marked_letters(60)})
    (known,) = findings(run("detect", path, "--json", "--key-file", ring))
    assert len(known["tests"]) == 2


@pytest.mark.parametrize(
    "profile",
    [{"method": "magic"}, {"prf": "unknown"}, {"context_width": 0}, {"watermark": "none"}],
    ids=str,
)
def test_a_faulty_profile_is_named(folder: Path, profile: dict) -> None:
    ring = folder / "ring"
    ring.mkdir()
    KEY.write(ring / "a.key")
    KeyFile(SECOND, "the second", profile=KeyProfile(**profile)).write(ring / "b.key")
    refused = run("detect", lines(folder / "x.jsonl", {"token_ids": marked(60)}), "--key-file", ring)
    assert refused.exit_code == 2
    assert "key the second, with its profile: " in flat(refused.stderr)


# Words that were changed on the way


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda words: words.replace(" ", "\u00a0"), "no-break space"),
        (lambda words: "\u200b".join(words), "zero-width"),
        (lambda words: words.replace("b", "b\u00ad"), "soft hyphen"),
    ],
)
def test_words_that_were_changed_are_read_once_more(folder: Path, tokenizer: Path, change, told: str) -> None:
    words = spelled(marked_letters(120))
    how = ("--json", "--tokenizer", tokenizer, "--method", "joint-race")
    (folder / "x.txt").write_text(words, encoding="utf-8")
    (plain,) = findings(detect(folder, folder / "x.txt", *how))
    changed = change(words)
    assert changed != words
    (folder / "y.txt").write_text(changed, encoding="utf-8")
    (found,) = findings(detect(folder, folder / "y.txt", *how))
    assert found["verdict"] == "watermarked"
    as_it_is, again = found["tests"]
    assert as_it_is["without"] == []
    assert told in " ".join(again["without"])
    assert found["log10_p_uncorrected"] == plain["log10_p"]
    assert found["log10_p"] == pytest.approx(plain["log10_p"] + math.log10(2))
    # Places are those of the words as they were given.
    (segment,) = found["segments"]
    start, end = segment["characters"]
    kept = changed[start:end].replace("\u200b", "").replace("\u00ad", "").replace("\u00a0", " ")
    assert kept == words[slice(*plain["segments"][0]["characters"])]
    shown = flat(detect(folder, folder / "y.txt", *how[1:]).stdout)
    assert "read without" in shown


def test_words_that_need_no_change_are_read_once(folder: Path, tokenizer: Path) -> None:
    (folder / "x.txt").write_text(unicodedata.normalize("NFC", "né or not, in 2 ways"), encoding="utf-8")
    (found,) = findings(detect(folder, folder / "x.txt", "--json", "--tokenizer", tokenizer))
    assert len(found["tests"]) == 1


# Many texts


def test_a_corpus(folder: Path) -> None:
    shared = other(80, seed=3)
    texts = [{"token_ids": [*shared, *other(40, seed=10 + n)]} for n in range(6)]
    path = lines(folder / "x.jsonl", *texts, {"token_ids": marked(80)})
    for correction in ("holm", "bh"):
        *found, whole = findings(detect(folder, path, "--json", "--corpus", correction))
        assert [one["verdict"] for one in found] == ["not detected"] * 6 + ["watermarked"]
        assert [one["share_of_contexts_seen"] > 0.6 for one in found] == [False, *[True] * 5, False]
        assert all(one["log10_p"] >= one["log10_p_of_text"] for one in found)
        assert whole["corpus"] is True
        assert whole["contexts_seen_before"] > 300
        assert whole["log10_p"] < -5
    shown = flat(detect(folder, path, "--corpus", "holm").stdout)
    assert "all texts as one: log10 p = " in shown
    assert "a verdict is of the passage that is marked" in shown
    refused = detect(folder, path, "--corpus", "holm", "--sequential")
    assert refused.exit_code == 2
    assert "leave out sequential" in flat(refused.stderr)


def test_a_bad_file_ends_no_run_of_workers(folder: Path, tokenizer: Path) -> None:
    data = folder / "data"
    data.mkdir()
    for name in "ac":
        (data / f"{name}.txt").write_text(spelled(marked_letters(60)))
    (data / "b.txt").write_bytes(b"the man " * 200_000 + b"\xe4")
    result = detect(folder, data, "--json", "--tokenizer", tokenizer, "--workers", 2)
    assert result.exit_code == 2
    assert [json.loads(line)["verdict"] for line in result.stdout.splitlines()] == ["watermarked"] * 2
    assert "b.txt is not UTF-8" in flat(result.stderr)


def test_many_texts_are_told_what_to_expect(folder: Path) -> None:
    """By the rate and the correction that were asked for, and how many were found."""
    texts = [{"token_ids": other(30, seed=n)} for n in range(23)]
    path = lines(folder / "x.jsonl", *texts, *({"token_ids": marked(60, seed=n)} for n in range(2)))
    single = flat(detect(folder, path, "--fpr", "1e-4").stdout)
    assert (
        "of 25 unmarked texts about 0.0025 are expected by chance at this threshold; 2 were found" in single
    )
    assert "--corpus corrects for both" in single
    holm = flat(detect(folder, path, "--corpus", "holm", "--fpr", "1e-4").stdout)
    assert "the chance that any of the texts found is a false alarm is at most 0.0001; 2 were found" in holm
    shared = flat(detect(folder, path, "--corpus", "bh", "--fpr", "1e-4").stdout)
    assert (
        "of the texts found, a share of at most 0.0001 is expected to be there by chance; 2 were found"
        in shared
    )
    assert "--corpus" not in holm + shared
    few = lines(folder / "few.jsonl", *texts[:3])
    assert "by chance" not in flat(detect(folder, few).stdout)


@pytest.mark.parametrize(
    ("total", "found", "fpr", "words"),
    [
        (
            1000,
            12,
            0.01,
            "of 1,000 unmarked texts about 10 are expected by chance at this threshold; 12 were found",
        ),
        (
            100_000,
            1,
            0.01,
            "of 100,000 unmarked texts about 1,000 are expected by chance at this threshold; 1 was found",
        ),
        (
            100,
            0,
            0.01,
            "of 100 unmarked texts about 1 is expected by chance at this threshold; 0 were found",
        ),
        (
            1000,
            3,
            1e-6,
            "of 1,000 unmarked texts about 0.001 are expected by chance at this threshold; 3 were found",
        ),
    ],
)
def test_what_chance_does(total: int, found: int, fpr: float, words: str) -> None:
    assert chance_line(total, found, fpr, None).startswith(words)


@pytest.mark.parametrize(
    ("columns", "texts"), [(80, 1000), (40, 1000), (20, 50), (34, 50), (60, 50), (200, 50)]
)
def test_every_verdict_is_whole(folder: Path, columns: int, texts: int) -> None:
    """Of many documents with long names, however narrow the console; so are p-values and counts."""
    hidden = [*other(700, seed=1), *marked(60), *other(800, seed=2)]
    drawn = {7: marked(60), 30: hidden, 40: other(2)}
    name = "a document with a long name, number {:04d}"
    path = lines(
        folder / "x.jsonl",
        *({"id": name.format(n), "token_ids": drawn.get(n, other(9, seed=n))} for n in range(texts)),
    )
    found = findings(detect(folder, path, "--json", "--fpr", "1e-6"))
    shown = detect(folder, path, "--fpr", "1e-6", env={"COLUMNS": str(columns)}).stdout.splitlines()
    row = re.compile(r"(watermarked in part|watermarked|not detected|too short) .*?(-?\d+\.\d\d) .*?(\d+)")
    told = [match for line in shown if (match := row.search(line))]
    expected = Counter((f["verdict"], f"{f['log10_p']:.2f}", str(f["tokens_scored"])) for f in found)
    assert Counter(match.groups() for match in told) == expected
    assert {match[1] for match in told[:2]} == {"watermarked", "watermarked in part"}
    frames = [line for line in shown if line[:1] in "┏┃┡│└"]
    assert all(len(line) <= columns for line in frames)


def test_shared_settings_stand_above_and_others_in_columns(folder: Path) -> None:
    """In wide tables; in narrow ones below the name."""
    KeyFile(SECOND, "letters").write(folder / "second.key")
    path = lines(
        folder / "x.jsonl",
        {"id": "one", "token_ids": marked(60)},
        {"id": "two", "token_ids": marked(60, KeyedPrf(SECOND))},
    )
    how = ("--key-file", folder / "second.key")
    wide = detect(folder, path, *how).stdout.splitlines()
    assert wide[0] == (
        "method joint-race, watermark gumbel, context width 2, detector Aaronson, false-positive rate 0.01"
    )
    assert [word in wide[2] for word in ("verdict", "text", "key", "method")] == [True, True, True, False]
    for name, key in (("one", KEY.fingerprint), ("two", f"{SECOND.fingerprint} (letters)")):
        assert any(name in line and key in line for line in wide)
    narrow = detect(folder, path, *how, env={"COLUMNS": "60"}).stdout
    assert KEY.fingerprint in narrow
    assert narrow.count("watermarked ") >= 2


def test_what_is_found_comes_first_of_more_than_a_screen(folder: Path) -> None:
    """By p-value; the rest, and fewer texts, and --json, as they were read."""
    texts = [{"id": f"n{k:02d}", "token_ids": other(40, seed=k + 100)} for k in range(40)]
    texts[20], texts[30] = ({"id": f"m{n}", "token_ids": marked(n)} for n in (40, 80))
    how = ("--fpr", "1e-5")
    path = lines(folder / "x.jsonl", *texts)
    names = re.findall(r"│ ([nm]\d\d) ", detect(folder, path, *how).stdout)
    rest = [text["id"] for text in texts if text["id"].startswith("n")]
    assert names == ["m80", "m40", *rest]
    read = [found["id"] for found in findings(detect(folder, path, "--json", *how))]
    assert read == [text["id"] for text in texts]
    few = lines(folder / "few.jsonl", *texts[18:24])
    assert re.findall(r"│ ([nm]\d\d) ", detect(folder, few, *how).stdout) == [t["id"] for t in texts[18:24]]


def test_the_exit_status_tells_what_was_found_if_asked(folder: Path) -> None:
    found = lines(folder / "x.jsonl", {"token_ids": other(60)}, {"token_ids": marked(60)})
    part = lines(folder / "p.jsonl", {"token_ids": [*other(700), *marked(60), *other(800, seed=3)]})
    none = lines(folder / "y.jsonl", {"token_ids": other(60)})
    for path, status in ((found, 1), (part, 1), (none, 0)):
        assert detect(folder, path).exit_code == 0
        assert detect(folder, path, "--exit-code").exit_code == status
        assert detect(folder, path, "--exit-code", "--json").exit_code == status
    assert detect(folder, found, folder / "gone.txt", "--exit-code").exit_code == 2


def test_decoys(folder: Path) -> None:
    path = lines(folder / "x.jsonl", *({"token_ids": marked(60, seed=n)} for n in range(4)))
    result = detect(folder, path, "--json")
    assert [one["verdict"] for one in findings(result)] == ["watermarked"] * 4
    told = json.loads(run("decoys", path, "--keys", 30, "--json", "--key-file", folder / "key").stdout)
    assert (told["texts"], told["decoys"], told["real_share"]) == (4, 30, 1.0)
    assert told["p"] == pytest.approx(1 / 31)
    assert told["mean_share"] < 0.2
    shown = flat(run("decoys", path, "--keys", 30).stdout)
    assert "4 texts, 30 decoy keys: " in shown
    (real,) = Keyring.read([folder / "key"])
    found = td.decoys([marked(60)], td.Scheme.of("joint-race"), real, keys=30)
    assert found.p == pytest.approx(1 / 31)
    for arguments in (["--keys", 1], ["--key-file", folder / "gone"], ["--fpr", 2]):
        assert run("decoys", path, *arguments).exit_code == 2


def test_workers_say_what_one_process_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, with the same warnings and notes once, and with what cannot be read among them."""
    monkeypatch.setattr("tradeoff.cli.workers.TOGETHER", 2)
    claims = {"method": "two-keys", "watermark": "gumbel", "key": "0123456789abcdef"}
    path = lines(
        folder / "x.jsonl",
        *({"token_ids": other(50, seed=n)} for n in range(3)),
        {"token_ids": [-1]},
        {"token_ids": marked(60), "run": claims},
        {"token_ids": marked(60)},
        {"token_ids": [*other(400), *marked(60)]},
    )
    how = ("--json", "--method", "joint-race", "--watermark", "gumbel", "--context-width", "4")
    one, two = (detect(folder, path, *how, "--workers", count) for count in (1, 2))
    assert (two.exit_code, two.stdout) == (one.exit_code, one.stdout)
    assert sorted(two.stderr.splitlines()) == sorted(one.stderr.splitlines())
    for arguments, message in (
        (["--workers", 0], "workers=0 must be at least 1"),
        (["--workers", 2, "--tokens"], "--tokens needs the texts in one process"),
        (["--workers", 2, "--key-file", "/dev/null"], "is no file, and every process reads the key itself"),
        (["--workers", 2, "--corpus", "bh"], "--corpus needs the texts in one process"),
    ):
        refused = detect(folder, path, *arguments)
        assert refused.exit_code == 2
        assert message in flat(refused.stderr)
