"""The joint race and the joint tournament: what is left of the trade-off, and what texts show of it."""

from __future__ import annotations

import pandas as pd

from paper_repro.pages.parts.formats import between, markdown_table, number, percent, plus_minus
from paper_repro.pages.parts.measured import (
    benchmark_table,
    bound_of_largest,
    figure_table,
    measured_at,
    run_measured_at,
)
from paper_repro.pages.parts.tables import experiment_table, one_row, require
from paper_repro.trials.paired import at_telling_lengths

__all__ = ["values"]

_RUN = "joint"
#: The same with longer texts, at the lowest temperature.
_LONG = "joint_long"
_SYNTHID = "synthid:30"
#: Temperatures at which methods must be told apart.
_COLD = (0.3, 0.5, 0.7)
#: What the key alone reads, of each method of Gumbel-max.
_RACE = "Aaronson"
_TWO_KEYS = "likelihood ratio, two keys"
#: Detectors of SynthID: without speculation and under the joint tournament, and under Algorithm 1.
_BITS = (
    ("mean of bits", "weighted mean of bits"),
    ("weighted mean of bits", "weighted mean of bits"),
    ("Bayes", "Bayes-MLP"),
)
_TRANSPORT = {"simplexwater:8": "sum of scores", "heavywater:lognormal": "likelihood ratio of ranks"}
_SHOWN = ("basic", "joint-race", "one-race", "single-key", "algorithm-1")
#: Methods whose acceptance must be 1 - TV; that of the others is shown.
_JOINT = ("joint-race", "joint-tournament")
_FULL = (*_JOINT, "joint-transport", "one-race", "single-key", "algorithm-1")


def values() -> dict[str, object]:
    """What the template needs.

    Raises:
        ValueError: if a table lacks a row, or a sentence of the page has become false.
    """
    paired, predicted = experiment_table(_RUN, "paired"), experiment_table(_RUN, "predicted")
    telling = at_telling_lengths(paired)
    return {
        "measured": run_measured_at(_RUN),
        "long_measured": run_measured_at(_LONG),
        "figure_measured": run_measured_at("remaining_trade_off"),
        **_remaining(figure_table("remaining_trade_off")),
        **_acceptance(experiment_table(_RUN, "speed")),
        **_races(telling, predicted),
        **_tournaments(_telling_tournaments(paired, experiment_table(_LONG, "paired"))),
        **_transport(telling),
        **_predictions(predicted, telling),
        **_costs(benchmark_table("joint_overhead"), benchmark_table("joint_kernels")),
        **_cost_of_the_limit(benchmark_table("race_limit")),
    }


def _remaining(table: pd.DataFrame) -> dict[str, object]:
    """Expected scores at full efficiency, and the limit there."""
    rows, shares = [], []
    for panel, part in table.groupby("panel", sort=False):
        kernels = part[part["what"] == "kernel"].set_index("name")["score"]
        limit = part[part["what"] == "limit"].sort_values("efficiency").iloc[-1]
        shares.append(kernels["joint-race"] / limit["limit"])
        require(
            kernels["joint-race"] > kernels["one-race"] > kernels["single-key"] > kernels["algorithm-1"],
            f"the joint race is read best of the kernels of full efficiency ({panel})",
        )
        require(kernels["joint-race"] <= limit["limit"], "no kernel is above the limit")
        rows.append([str(panel), *(number(kernels[name], 3) for name in _SHOWN), number(limit["limit"], 3)])
    head = ["laws", "no speculation", *(f"`{name}`" for name in _SHOWN[1:]), "limit"]
    return {"remaining": markdown_table(head, rows), "least_share": percent(min(shares), 1)}


def _acceptance(speed: pd.DataFrame) -> dict[str, object]:
    """Accepted drafts against 1 - TV, sets of prompts together."""
    rows, largest, most = [], 0.0, 0.0
    drafted = speed[speed["method"].isin(_FULL)]
    for (temperature, watermark, method), part in drafted.groupby(
        ["temperature", "watermark", "method"], sort=False
    ):
        weight = part["tokens"] / part["tokens"].sum()
        error = float((weight**2 * part["acceptance_error"] ** 2).sum() ** 0.5)
        found, expected = (float((weight * part[name]).sum()) for name in ("acceptance", "expected"))
        z = (found - expected) / error
        most = max(most, abs(z))
        if method in _JOINT:
            largest = max(largest, abs(z))
        rows.append(
            [
                f"{temperature:.1f}",
                str(watermark),
                f"`{method}`",
                f"{part['texts'].sum()}",
                plus_minus(found, error, 4),
                number(expected, 4),
                f"{z:+.1f}".replace("-", "−"),
            ]
        )
    require(largest <= 3, "joint race and joint tournament accept 1 − TV within three standard errors")
    head = ["T", "watermark", "method", "texts", "accepted", "1 − TV", "z"]
    return {
        "acceptance": markdown_table(head, rows),
        "largest_z": number(largest, 1),
        "largest_of_all": number(most, 1),
        "bound_of_all": number(bound_of_largest(len(rows)), 1),
    }


def _row(table: pd.DataFrame, method: str, detector: str, against: str, other: str) -> pd.Series:
    return one_row(table, method=method, detector=detector, against=against, against_detector=other)


def _races(telling: pd.DataFrame, predicted: pd.DataFrame) -> dict[str, object]:
    rows, below = [], []
    for temperature, part in telling[telling["watermark"] == "gumbel"].groupby("temperature"):
        basic = _row(part, "joint-race", _RACE, "basic", _RACE)
        one = _row(part, "joint-race", _RACE, "one-race", _RACE)
        single = _row(part, "joint-race", _RACE, "single-key", _RACE)
        two = _row(part, "joint-race", _RACE, "algorithm-1", _TWO_KEYS)
        rows.append(
            [
                f"{temperature:.1f}",
                f"{basic['tokens']}",
                f"{basic['texts']}",
                *(number(value, 3) for value in (basic["against_tpr"], basic["tpr"])),
                *(number(row["against_tpr"], 3) for row in (one, single, two)),
                _gap(basic),
                _signed(_predicted_gap(predicted, float(temperature), int(basic["tokens"]))),
                _gap(one),
                _gap(two),
            ]
        )
        if basic["high"] < 0:
            below.append(f"{temperature:.1f}")
    require(
        not {float(t) for t in below} & set(_COLD),
        "up to 0.7 the joint race is read as no speculation is",
    )
    head = [
        "T",
        "tokens",
        "texts",
        "no speculation",
        "`joint-race`",
        "`one-race`",
        "`single-key`",
        "`algorithm-1`",
        "joint less no speculation",
        "the same, predicted",
        "joint less one race",
        "joint less Algorithm 1",
    ]
    return {"races": markdown_table(head, rows), "races_below": " and ".join(below)}


def _predicted_gap(predicted: pd.DataFrame, temperature: float, tokens: int) -> float:
    """Mean over both sets of prompts."""
    at = predicted[(predicted["temperature"] == temperature) & (predicted["tokens"] == tokens)]
    rates = at.groupby("method")["predicted"].mean()
    return float(rates["joint-race"] - rates["basic"])


def _telling_tournaments(paired: pd.DataFrame, longer: pd.DataFrame) -> pd.DataFrame:
    """SynthID of both runs; of the lower temperature the longer texts."""
    mine = paired[(paired["watermark"] == _SYNTHID) & ~paired["temperature"].isin(longer["temperature"])]
    return at_telling_lengths(pd.concat([longer, mine]))


def _tournaments(telling: pd.DataFrame) -> dict[str, object]:
    rows = []
    for temperature, part in telling.groupby("temperature"):
        for detector, theirs in _BITS:
            basic = _row(part, "joint-tournament", detector, "basic", detector)
            two = _row(part, "joint-tournament", detector, "algorithm-1", theirs)
            if temperature in _COLD:
                require(0.3 <= basic["against_tpr"] <= 0.9, "the length tells methods apart")
                require(basic["high"] >= 0, f"the joint tournament is read as no speculation is ({detector})")
                require(two["low"] > 0, f"the joint tournament is read better than Algorithm 1 ({detector})")
            rows.append(
                [
                    f"{temperature:.1f}",
                    f"{basic['tokens']}",
                    f"{basic['texts']}",
                    detector,
                    *(number(value, 3) for value in (basic["against_tpr"], basic["tpr"], two["against_tpr"])),
                    _gap(basic),
                    _gap(two),
                ]
            )
    head = [
        "T",
        "tokens",
        "texts",
        "test",
        "no speculation",
        "`joint-tournament`",
        "`algorithm-1`",
        "joint less no speculation",
        "joint less Algorithm 1",
    ]
    return {"tournaments": markdown_table(head, rows)}


def _transport(telling: pd.DataFrame) -> dict[str, object]:
    rows = []
    for watermark, detector in _TRANSPORT.items():
        part = telling[telling["watermark"] == watermark]
        basic = _row(part, "joint-transport", detector, "basic", detector)
        two = _row(part, "joint-transport", detector, "algorithm-1", detector)
        rows.append(
            [
                watermark,
                f"{basic['tokens']}",
                f"{basic['texts']}",
                *(number(value, 3) for value in (basic["against_tpr"], basic["tpr"], two["against_tpr"])),
                _gap(basic),
                _gap(two),
            ]
        )
    head = [
        "watermark",
        "tokens",
        "texts",
        "no speculation",
        "`joint-transport`",
        "`algorithm-1`",
        "joint less no speculation",
        "joint less Algorithm 1",
    ]
    temperature = one_row(telling[telling["watermark"].isin(_TRANSPORT)][["temperature"]].drop_duplicates())
    return {
        "transport": markdown_table(head, rows),
        "transport_temperature": f"{temperature['temperature']:g}",
    }


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _gap(row: pd.Series) -> str:
    return f"{_signed(row['difference'])} ({number(row['low'], 3)} to {number(row['high'], 3)})"


def _predictions(predicted: pd.DataFrame, telling: pd.DataFrame) -> dict[str, object]:
    rows = []
    lengths = telling[telling["watermark"] == "gumbel"].groupby("temperature")["tokens"].first()
    kept = predicted[predicted["method"].isin(_SHOWN)]
    for temperature, tokens in lengths.items():
        at = kept[(kept["temperature"] == temperature) & (kept["tokens"] == tokens)]
        for source, part in at.groupby("prompts", sort=False):
            cells = []
            for method in _SHOWN:
                row = one_row(part, method=method)
                shown = between(row["measured"], row["low"], row["high"], 2)
                cells.append(f"{number(row['predicted'], 2)}; {shown}")
            rows.append([f"{temperature:.1f}", f"{tokens}", str(source), *cells])
    head = ["T", "tokens", "prompts", "no speculation", *(f"`{name}`" for name in _SHOWN[1:])]
    within = kept[(kept["low"] <= kept["predicted"]) & (kept["predicted"] <= kept["high"])]
    return {
        "predictions": markdown_table(head, rows),
        "predicted_within": percent(len(within) / len(kept)),
        "predicted_count": f"{len(kept)}",
    }


def _costs(overhead: pd.DataFrame, kernels: pd.DataFrame) -> dict[str, object]:
    """A round of the engine, and every kernel alone."""
    rows = []
    for row in overhead.to_dict("records"):
        extra = (percent(row[name], 1) for name in ("extra", "extra_lower", "extra_upper"))
        rows.append(
            [
                row["comparison"],
                f"{row['temperature']:.1f}",
                f"{row['batch']}",
                number(row["ours_ms"], 0),
                number(row["other_ms"], 0),
                between(row["ratio"], row["ratio_lower"], row["ratio_upper"], 3),
                "{} ({} to {})".format(*extra),
            ]
        )
        most = 0.03 if row["comparison"].startswith("joint-race") else 0.10
        require(row["extra"] < most, f"a round costs less than {most:.0%} more: {row['comparison']}")
    head = ["comparison", "T", "batch", "ms a round", "other", "ratio (quartiles)", "the methods' extra"]
    alone = [
        [what, *(number(one_row(part, temperature=t)["ms"], 1) for t in (1.0, 0.7))]
        for what, part in kernels.groupby("what", sort=False)
    ]
    return {
        "overhead": markdown_table(head, rows),
        "kernels": markdown_table(["kernel", "ms a position, T = 1.0", "T = 0.7"], alone),
        "positions_alone": int(kernels["positions"].iloc[0]),
        "threads": int(overhead["threads"].iloc[0]),
        "lookahead": int(overhead["lookahead"].iloc[0]),
        "costs_measured": measured_at(pd.concat([overhead, kernels])),
    }


def _cost_of_the_limit(table: pd.DataFrame) -> dict[str, object]:
    rows = []
    for tokens, part in table.groupby("tokens", sort=False):
        times = (number(one_row(part, what=what)["median"], 2) for what in ("known", "limit", "curve"))
        rows.append([f"{tokens:,}", *times, percent(part["joint race / limit"].iloc[0], 1)])
    head = ["vocabulary", "exact scores, s", "limit, s", "curve, s", "joint race / limit"]
    return {"limit_cost": markdown_table(head, rows), "limit_measured": measured_at(table)}
