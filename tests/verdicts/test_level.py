"""The level of a verdict: a p-value that equals it is called, as P(p <= level) is what is bounded."""

from __future__ import annotations

import math

import pytest

from tests.helpers.detecting import KEY, other
from tradeoff.detection import Aaronson
from tradeoff.keyed import Keyring
from tradeoff.texts import Text
from tradeoff.verdicts import Examiner, Options


class OneInSixteen(Aaronson):
    """Every text has the p-value 1/16."""

    def log_p(self, statistic: float, count: int) -> float:
        return math.log(1 / 16)


@pytest.mark.parametrize(("fpr", "verdict"), [(1 / 16, "watermarked"), (0.0624, "not detected")])
def test_a_p_value_that_is_the_level_is_called(fpr: float, verdict: str) -> None:
    options = Options(method="joint-race", detector=OneInSixteen(), fpr=fpr, segments=False)
    examiner = Examiner(options, Keyring.of(KEY), pytest.fail, str)
    assert examiner.examine(Text("0", "x", "x line 0", other(60), None)).verdict == verdict
