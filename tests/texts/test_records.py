"""Records: JSON in and out without a loss; refusals name place, field, value and remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import MISSING, FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.recorded import RECORD, RUN
from tests.versions.lock import ROOT
from tradeoff.errors import FileError
from tradeoff.texts._record_model import RecordModel, RunModel, fault_of_claims
from tradeoff.texts.records import Record, Run

MEASURED = replace(
    RECORD,
    log_p=(-0.5, -1.0, 0.0),
    entropy=(1.0, 2.0, 0.0),
    overlap=(0.5, None, None),
    efficiency=(0.25, None, None),
    run=replace(RUN, measured=True),
)
#: A line as `tradeoff generate --measure` has always written it.
LINE = (
    '{"id": "q-1", "prompt": "the man", "prompt_hash": "0123456789abcdef", "prompt_tokens": 4, '
    '"token_ids": [7, 8, 9], "text": "and — ü\u2028", "finish": "length", "accepted": [1, 0], '
    '"sources": "drb", "unmarked": 1, "logppl": 0.5, "logppl_model": 1.0, "seconds": 0.25, "batch": 4, '
    '"log_p": [-0.5, -1.0, 0.0], "entropy": [1.0, 2.0, 0.0], "overlap": [0.5, null, null], '
    '"efficiency": [0.25, null, null], "run": {"method": "one-race", "watermark": "gumbel", "width": 1, '
    '"lookahead": 3, "prf": "blake2b-splitmix-v1", "context_width": 4, "key": "0123456789abcdef", '
    '"temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_tokens": 40, "ignore_eos": false, "seed": 0, '
    '"target": "target", "draft": "draft", "vocabulary": 50, "dtype": "float32", "weights": '
    '["fedcba9876543210", "fedcba9876543211"], "measured": true}}'
)


def written(record: Record) -> str:
    return json.dumps(record.to_json(), ensure_ascii=False)


def test_a_line_is_what_it_was() -> None:
    """Keys, their order and numbers."""
    assert written(MEASURED) == LINE
    assert Record.of_json(json.loads(LINE)) == MEASURED
    assert Run.of_json(json.loads(LINE)["run"]) == MEASURED.run


def test_what_was_not_measured_is_not_there() -> None:
    value = RECORD.to_json()
    assert {"log_p", "entropy", "overlap", "efficiency"}.isdisjoint(value)
    assert Record.of_json(value) == RECORD


def test_without_a_watermark_and_speculation_settings_are_null() -> None:
    run = replace(RUN, watermark="none", lookahead=0, prf=None, context_width=None, key=None, draft=None)
    value = run.to_json()
    assert [value[name] for name in ("prf", "context_width", "key", "draft")] == [None] * 4
    assert Run.of_json(value) == run


def test_files_of_other_versions_survive() -> None:
    """Settings that were not told yet, and fields that nobody here knows, in their order."""
    value = json.loads(LINE)
    del value["run"]["vocabulary"], value["run"]["weights"]
    value["run"] |= {"zeta": [1, None], "eta": {"b": 1}}
    value |= {"more": {"x": [1.5]}, "further": 1, "anything": None}
    record = Record.of_json(value)
    assert (record.run.vocabulary, record.run.weights) == (None, None)
    assert record.to_json() == value
    assert list(record.to_json())[-3:] == ["more", "further", "anything"]
    assert list(record.run.to_json())[-2:] == ["zeta", "eta"]


def test_whole_numbers_stay_whole() -> None:
    """1 and 1.0 are one number in JSON, and two ways to write it."""
    value = RECORD.to_json() | {"seconds": 1, "log_p": [-1, -2.0, 0]}
    again = Record.of_json(value).to_json()
    assert json.dumps(again, sort_keys=True) == json.dumps(value, sort_keys=True)


def test_records_are_values() -> None:
    other = replace(RECORD, run=replace(RUN, seed=1))
    again = Record.of_json(json.loads(json.dumps(RECORD.to_json())))
    assert {RECORD, again, other} == {RECORD, other}
    assert other != RECORD
    with pytest.raises(FrozenInstanceError):
        RECORD.batch = 1  # type: ignore[misc]
    # Not what others wrote beside the fields, which need not be hashable, but is compared.
    assert replace(RECORD, further={"more": []}) != RECORD


def test_people_read_who_wrote_how_much_and_its_first_words() -> None:
    shown = repr(replace(RECORD, text="Once upon a time " * 100))
    assert shown == 'Record("q-1", 3 tokens, one-race, "Once upon a time Once upon a time On...)'
    assert "\x1b" not in repr(replace(RECORD, id="\x1b[2J", text="\x1b[2J"))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"id": 3}, "id=3, which is no str"),
        ({"prompt": None}, "prompt=null, which is no str"),
        ({"prompt_tokens": -1}, "prompt_tokens=-1, which is less than 0"),
        ({"token_ids": "1 2"}, 'token_ids="1 2", which is no list'),
        ({"token_ids": []}, "token_ids=[], which is empty"),
        ({"token_ids": [1, True, 2]}, "token_ids[1]=true, which is no int"),
        ({"token_ids": [1, 2, 1 << 63]}, "token_ids[2]=9223372036854775808, which is more than"),
        ({"accepted": []}, "accepted=[], which is empty"),
        ({"accepted": [1, 0.0]}, "accepted[1]=0.0, which is no int"),
        ({"sources": "dr"}, 'sources="dr", which has length 2, but there are 3 tokens'),
        ({"batch": 0}, "batch=0, which is less than 1"),
        ({"batch": True}, "batch=true, which is no int"),
        ({"logppl": False}, "logppl=false, which is no number"),
        ({"logppl": float("nan")}, "logppl=NaN, which is no finite number"),
        ({"seconds": float("inf")}, "seconds=Infinity, which is no finite number"),
        ({"seconds": 10**400}, "seconds=1000000000000000000000000000000000000..., which is no number"),
        ({"log_p": None}, "log_p=null, which is no list"),
        ({"log_p": [-0.5]}, "log_p=[-0.5], which has length 1, but there are 3 tokens"),
        ({"log_p": [-0.5, None, -0.5]}, "log_p[1]=null, which is no number"),
        ({"log_p": [-0.5, 0.5, -0.5]}, "log_p[1]=0.5, which is more than"),
        ({"overlap": []}, "overlap=[], which has length 0, but there are 3 tokens"),
        ({"overlap": [None, None, "x"]}, 'overlap[2]="x", which is no number'),
        ({"text": ["x" * 99]}, 'text=["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..., which is no str'),
        ({"run": []}, "run=[], which is no object"),
        ({"run": RUN.to_json() | {"width": 0}}, "run.width=0, which is less than 1"),
        ({"run": RUN.to_json() | {"ignore_eos": 0}}, "run.ignore_eos=0, which is no bool"),
        ({"run": RUN.to_json() | {"temperature": "1"}}, 'run.temperature="1", which is no number'),
        ({"run": RUN.to_json() | {"weights": ["a", 3]}}, "run.weights[1]=3, which is no str"),
        ({"run": RUN.to_json() | {"prf": "x" * 257}}, "xxx..., which is too long to be true"),
    ],
    ids=str,
)
def test_refusals_name_place_field_value_and_remedy(damage: dict[str, Any], told: str) -> None:
    with pytest.raises(FileError) as refusal:
        Record.of_json(RECORD.to_json() | damage, "a.jsonl line 7")
    message = str(refusal.value)
    assert message.startswith("a.jsonl line 7 is not a record of a generated text (")
    assert told in message
    assert "; repair or remove it, or choose another file" in message
    assert len(message) < 250


@pytest.mark.parametrize("value", [None, 3, "x", [], [RECORD.to_json()]], ids=str)
def test_what_is_no_object_is_no_record_and_no_run(value: Any) -> None:
    with pytest.raises(FileError, match=r"line 1 is not a record .*it is no object"):
        Record.of_json(value, "a.jsonl line 1")
    with pytest.raises(FileError, match=r"line 1 does not hold the settings of a run \(it is no object"):
        Run.of_json(value, "a.jsonl line 1")


@pytest.mark.parametrize("kind", [Record, Run], ids=lambda kind: kind.__name__)
def test_what_is_missing_is_named(kind: type[Record] | type[Run]) -> None:
    value = {Record: RECORD, Run: RUN}[kind].to_json()
    for each in fields(kind):
        if each.default is MISSING and each.default_factory is MISSING:
            part = {name: inner for name, inner in value.items() if name != each.name}
            with pytest.raises(FileError, match=rf"\({each.name} is missing\)"):
                kind.of_json(part)


def test_what_is_missing_of_the_run_is_named() -> None:
    run = {name: value for name, value in RUN.to_json().items() if name != "seed"}
    with pytest.raises(FileError, match=r"\(run.seed is missing\)"):
        Record.of_json(RECORD.to_json() | {"run": run})


@pytest.mark.parametrize(("kind", "model"), [(Record, RecordModel), (Run, RunModel)])
def test_the_model_knows_every_field_and_no_other(kind: type[Record] | type[Run], model: Any) -> None:
    ours = {each.name: each.default is MISSING for each in fields(kind) if each.name != "further"}
    assert {name: each.is_required() for name, each in model.model_fields.items()} == ours


def test_claims_may_be_few_but_not_wrong() -> None:
    """Of the settings of a run any may be missing where only the watermark is asked for."""
    assert fault_of_claims({}) is None
    assert fault_of_claims({"method": "basic", "context_width": 0}) is None
    assert str(fault_of_claims({"key": "a", "vocabulary": True})) == "vocabulary=true, which is no int"
    assert fault_of_claims({"alpha": 0.1}) is None
    assert str(fault_of_claims({"alpha": 0.0})) == "alpha=0.0, which is not more than 0.0"
    assert str(fault_of_claims({"alpha": 1})) == "alpha=1, which is not less than 1.0"
    assert str(fault_of_claims({"alpha": "0.1"})) == 'alpha="0.1", which is no number'
    assert str(fault_of_claims({"watermark": "x" * 257})).endswith("which is too long to be true")


@given(
    st.dictionaries(
        st.sampled_from([*RECORD.to_json(), "log_p", "further", "more"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
            ),
            max_leaves=4,
        ),
        max_size=3,
    )
)
def test_whatever_is_not_refused_comes_out_again(damage: dict[str, Any]) -> None:
    value = RECORD.to_json() | damage
    try:
        record = Record.of_json(value, "line 1")
    except FileError:
        return
    # As words: NaN, which may stand beside the fields, is not itself.
    assert json.dumps(record.to_json(), sort_keys=True) == json.dumps(value, sort_keys=True)


HEAVY = (
    "import sys; import tradeoff.texts.records; assert not {'torch', 'pandas', 'pydantic'} & set(sys.modules)"
)


def test_records_cost_no_library_until_one_is_read() -> None:
    assert subprocess.run([sys.executable, "-c", HEAVY], cwd=ROOT).returncode == 0


def test_a_run_that_weighs_keys_says_so_and_another_says_nothing() -> None:
    value = json.loads(LINE)
    assert Record.of_json(value).run.alpha is None
    assert "alpha" not in Record.of_json(value).to_json()["run"]
    value["run"]["alpha"] = 0.1
    assert Record.of_json(value).to_json()["run"]["alpha"] == 0.1


def test_a_run_of_blocks_says_so_and_another_says_nothing() -> None:
    """So that files of token by token are what they were."""
    value = json.loads(LINE)
    assert Record.of_json(value).run.verify is None
    value["run"]["verify"] = "block"
    assert Record.of_json(value).run.verify == "block"
    assert Record.of_json(value).to_json()["run"]["verify"] == "block"
    value["run"]["verify"] = "blocks"
    with pytest.raises(FileError, match=r"run\.verify=\"blocks\", which is not 'block'"):
        Record.of_json(value)
    steps = json.loads(LINE) | {"by_token": [0.5], "by_block": [0.5]}
    with pytest.raises(FileError, match=r"by_token=\[0.5\], which has length 1, but there are . steps"):
        Record.of_json(steps)
