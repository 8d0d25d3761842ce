"""Figure 1 on a real pair: saved pairs are used again only when they fit, redrawing needs no model."""

import numpy as np
import pytest

from figures.curves import figure_1_real
from tradeoff.errors import FileError
from tradeoff.llm.models import pair as models
from tradeoff.llm.readback.next_token import NextTokenPairs, load_pairs, save_pairs


@pytest.fixture
def saved(tmp_path):
    rng = np.random.default_rng(0)
    target, draft = (np.log(rng.dirichlet(np.ones(50), 8)).astype(np.float32) for _ in range(2))
    source = np.repeat(["model", "human"], 4)
    settings = {"target": "T", "draft": "T without layers 1"}
    pairs = NextTokenPairs(target, draft, source, np.repeat(np.arange(4), 2), np.arange(8), settings)
    save_pairs(pairs, tmp_path / "next_token_pairs.npz")
    return tmp_path


def test_redraw_needs_no_model(saved, monkeypatch, capsys):
    def fail(*_, **__):
        raise AssertionError("no model is needed")

    monkeypatch.setattr(models, "load_pair", fail)
    written = figure_1_real.draw_real_figure(saved, processes=1, redraw=True)
    assert all(path.exists() for path in written)
    assert "±" in capsys.readouterr().out


def test_pairs_of_other_settings_are_not_used(saved, builtin_pair, monkeypatch):
    monkeypatch.setattr(models, "load_pair", lambda *_: builtin_pair)
    figure_1_real.draw_real_figure(saved, processes=1, positions=4)
    again = load_pairs(saved / "next_token_pairs.npz")
    assert again.settings["positions"] == 4
    assert again.target.shape == (4, builtin_pair.vocabulary_size)


def test_redraw_without_pairs_says_what_to_do(tmp_path):
    with pytest.raises(FileError, match="without --redraw"):
        figure_1_real.draw_real_figure(tmp_path, redraw=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"positions": 6}, "positions=6"), ({"seeds": 3}, "seeds=3"), ({"processes": 0}, "processes=0")],
)
def test_bad_sizes_are_refused_first(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        figure_1_real.draw_real_figure(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
