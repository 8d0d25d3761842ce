"""Tables as the report shows them."""

from __future__ import annotations

import pandas as pd

from paper_repro.report.sections import _detection_table, _speed_rows

_FPR = "FPR on human text"


def test_arms_of_different_lengths_stand_in_one_table() -> None:
    """Texts of 50 tokens have no TPR at 200; the measured FPR is that of each arm's own end."""
    rows = [
        {
            "prompts": "both",
            "watermark": "gumbel",
            "temperature": temperature,
            "method": "basic",
            "lookahead": 0,
            "detector": "Aaronson",
            "null": "exact",
            "tokens": tokens,
            "texts": 8,
            "mean_score": 1.5,
        }
        | {f"{rate}{end}": tokens / 1000 for rate in ("tpr", "fpr") for end in ("", "_low", "_high")}
        for temperature, lengths in ((0.3, (20, 50, 200)), (1.0, (20, 50)))
        for tokens in lengths
    ]
    cold, warm = _detection_table(pd.DataFrame(rows)).to_dict("records")
    long, short, false = (
        f"{words} (95% interval)" for words in ("TPR at 200 tokens", "TPR at 50 tokens", _FPR)
    )
    assert cold[long] == "0.200 (0.200 to 0.200)"
    assert warm[long] == ""
    assert warm[short] == "0.050 (0.050 to 0.050)"
    assert (cold[false], cold["of so many tokens"]) == ("0.2000 (0.2000 to 0.2000)", 200)
    assert (warm[false], warm["of so many tokens"]) == ("0.0500 (0.0500 to 0.0500)", 50)


def test_headings_are_words() -> None:
    """No name of a column of a table of code, and what was not measured is left out."""
    row = {"prompts": "a", "temperature": 0.5, "watermark": "gumbel", "method": "basic", "lookahead": 0}
    row |= {"texts": 8, "tokens": 80, "aatps": 2.0, "aatps_error": 0.1, "ptt_ms": None, "ptt_ms_error": None}
    (shown,) = _speed_rows(pd.DataFrame([row])).to_dict("records")
    assert shown["watermark"] == "Gumbel-max"
    assert shown["method"] == "basic"
    assert shown["tokens a step, AATPS (± standard error)"] == "2.000 ± 0.100"
    assert not [heading for heading in shown if "_" in heading or "PTT" in heading]
