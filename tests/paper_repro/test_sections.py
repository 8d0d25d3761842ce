"""Tables as the report shows them."""

from __future__ import annotations

import pandas as pd

from paper_repro.report.sections import _detection_table


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
            "mean_score": 1.5,
        }
        | {f"{rate}{end}": tokens / 1000 for rate in ("tpr", "fpr") for end in ("", "_low", "_high")}
        for temperature, lengths in ((0.3, (20, 50, 200)), (1.0, (20, 50)))
        for tokens in lengths
    ]
    cold, warm = _detection_table(pd.DataFrame(rows)).to_dict("records")
    assert cold["TPR at 200"] == "0.200 (0.200 to 0.200)"
    assert warm["TPR at 200"] == ""
    assert warm["TPR at 50"] == "0.050 (0.050 to 0.050)"
    assert cold["measured FPR, at tokens"] == "0.2000 (0.2000 to 0.2000), 200"
    assert warm["measured FPR, at tokens"] == "0.0500 (0.0500 to 0.0500), 50"
