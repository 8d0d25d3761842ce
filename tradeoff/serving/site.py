"""The page for people: a form, and what is said of the text that was sent. It runs no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from tradeoff.display import environment, parts
from tradeoff.serving.judging import Judged
from tradeoff.serving.refusals import Refusal

__all__ = ["ENDINGS", "answer_page", "form_page", "refusal_page", "style"]

#: What can be chosen as a file; others can be, too.
ENDINGS = (".txt", ".md", ".html", ".jsonl", ".json", ".csv", ".tsv", ".parquet", ".docx", ".pdf")
#: Levels that the form offers, and their words.
_LEVELS = (("0.01", "1 in 100"), ("0.001", "1 in 1,000"), ("0.000001", "1 in a million"))


def form_page(keys: Sequence[dict[str, Any]], fpr: float) -> str:
    """The page before anything was sent.

    Args:
        keys: what is told of the keys.
        fpr: the level where the form names none.
    """
    return _page("Is a text watermarked?", keys, fpr, [])


def answer_page(judged: Judged, keys: Sequence[dict[str, Any]], fpr: float) -> str:
    """The page that answers; arguments as of `form_page`."""
    verdicts = [one["verdict"] for one in judged.results]
    title = verdicts[0] if len(verdicts) == 1 else f"{len(verdicts):,} texts"
    told = [*judged.unread, *judged.warnings]
    more = len(verdicts) - len(judged.shown)
    if more > 0:
        told.append(f"{more:,} texts more of the file were judged and are not shown; /v1/detect tells all.")
    return _page(f"{title}: is a text watermarked?", keys, fpr, judged.shown, told=told)


def refusal_page(refusal: Refusal, keys: Sequence[dict[str, Any]], fpr: float) -> str:
    """The page where there is no answer; arguments as of `form_page`."""
    told = refusal.to_json()["error"]
    return _page("No answer: is a text watermarked?", keys, fpr, [], error=told)


@cache
def style() -> str:
    """The style sheet: that of evidence pages, and of what these have more."""
    found = environment("tradeoff")
    return "".join(found.get_template(name).render() for name in ("evidence.css", "serve.css"))


def _page(
    title: str,
    keys: Sequence[dict[str, Any]],
    fpr: float,
    answers: Iterable[str],
    *,
    told: Sequence[str] = (),
    error: dict[str, str] | None = None,
) -> str:
    template = environment("tradeoff").get_template("serve.html")
    shown = list(answers)
    values: dict[str, Any] = {
        "title": title,
        "keys": keys,
        "fpr": f"{fpr:g}",
        "levels": _LEVELS,
        "endings": ",".join(ENDINGS),
        "answered": bool(shown),
        "told": told,
        "error": error,
    }
    # Parts of a page are markup already, and values of a template never are.
    return "".join([*parts(template, "top", **values), *shown, *parts(template, "form", **values)])
