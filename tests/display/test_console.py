"""Errors in one line with exit status 2, missing extras named, SIGTERM unwinding like an exit."""

import os
import signal
import subprocess
import sys
import time

import pytest
import typer

from tradeoff.display import Bar, exit_on_bad_input, is_quiet, print_note, print_warning, stderr, stdout


@pytest.mark.parametrize("error", [ValueError("bad p"), RuntimeError("no model"), OSError("no space")])
def test_foreseeable_errors_exit_with_status_2(error, capsys):
    with pytest.raises(typer.Exit) as caught, exit_on_bad_input():
        raise error
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err.strip() == f"error: {error}"


def test_programming_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError), exit_on_bad_input():
        raise ZeroDivisionError
    with pytest.raises(ModuleNotFoundError), exit_on_bad_input():
        raise ModuleNotFoundError("No module named 'elsewhere'", name="elsewhere")


def test_exit_statuses_pass_through():
    with pytest.raises(typer.Exit) as caught, exit_on_bad_input():
        raise typer.Exit(1)
    assert caught.value.exit_code == 1


def test_a_missing_extra_says_what_to_install(capsys):
    with pytest.raises(typer.Exit), exit_on_bad_input():
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    assert (
        "needs torch; install it with pip install 'tradeoff[llm]' (in a checkout: pip"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("module", ["paper_repro", "paper_repro.generate", "paper_repro.experiment"])
def test_experiments_without_the_extra_say_what_to_install(module):
    """Also where nothing but --help is asked for."""
    code = (
        "import runpy, sys; sys.modules['torch'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'torch' else find(name, *a)\n"
        f"sys.argv = ['x', '--help']; runpy.run_module('{module}', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "running models needs torch; install it with pip" in done.stderr
    assert "Traceback" not in done.stderr


def test_announcements_of_other_packages_are_not_shown():
    """Unless one asks for them; other warnings are."""
    code = """
import warnings
from tradeoff.display.console import exit_on_bad_input
with exit_on_bad_input():
    warnings.warn("a new name", FutureWarning)
    warnings.warn("a real one", UserWarning)
"""
    plain, asked = (
        subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=True)
        for options in ((), ("-W", "default"))
    )
    assert "a real one" in plain.stderr
    assert "a new name" not in plain.stderr
    assert "a new name" in asked.stderr


def test_sigterm_runs_the_clean_up():
    before = signal.getsignal(signal.SIGTERM)
    cleaned = []

    def terminated():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            cleaned.append(True)

    with pytest.raises(SystemExit) as caught, exit_on_bad_input():
        terminated()
    assert caught.value.code == 128 + signal.SIGTERM
    assert cleaned == [True]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("console", [stdout, stderr])
def test_in_a_notebook_consoles_write_to_their_streams(console, monkeypatch, capsys):
    """Rich would show a cell of HTML for every line, and warn that progress needs ipywidgets."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    one = console()
    one.print("loading")
    assert not one.is_jupyter
    assert "loading" in "".join(capsys.readouterr())


def test_quiet_leaves_out_notes_and_not_warnings(capsys):
    with exit_on_bad_input(quiet=True):
        assert is_quiet()
        print_note("good to know")
        print_warning("look here")
    assert not is_quiet()
    print_note("afterwards")
    assert capsys.readouterr().err == "warning: look here\nnote: afterwards\n"


@pytest.mark.parametrize(("told", "width"), [("57", 57), ("0", 120), ("wide", 120), (None, 120)])
def test_columns_tell_how_wide_a_file_is(monkeypatch, told, width):
    monkeypatch.delenv("COLUMNS", raising=False)
    if told is not None:
        monkeypatch.setenv("COLUMNS", told)
    assert stdout().width == width


def test_a_bar_is_for_terminals(capsys, monkeypatch):
    """There notes stand above it; elsewhere, and under --quiet, there is none."""
    with Bar("texts judged", 3) as bar:
        bar.show(2)
        print_note("meanwhile")
    assert capsys.readouterr().err == "note: meanwhile\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with exit_on_bad_input(quiet=True), Bar("texts judged", 3) as bar:
        bar.show(2)
    assert capsys.readouterr().err == ""
    with Bar("texts judged", 3) as bar:
        bar.show(2)
        print_note("meanwhile")
    shown = capsys.readouterr().err
    assert "texts judged" in shown
    assert "note: meanwhile\n" in shown
    with Bar("texts judged", 3, shown=False) as bar:
        bar.show(2)
    assert capsys.readouterr().err == ""
