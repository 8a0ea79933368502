"""Errors on the command line."""

import os

import pytest

from src.cli import one_line_errors
from src.errors import InputError


def test_input_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving, one_line_errors():
        raise InputError("x=1: must be 2")
    assert leaving.value.code == 1
    assert capsys.readouterr().err == "error: x=1: must be 2\n"


def test_interrupt_before_the_run() -> None:
    with pytest.raises(SystemExit) as leaving, one_line_errors():
        raise KeyboardInterrupt
    assert leaving.value.code == 130


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="bug"), one_line_errors():
        raise ValueError("bug")
    with pytest.raises(ZeroDivisionError), one_line_errors():
        raise ZeroDivisionError


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with one_line_errors():
        pass
    assert os.environ["HYDRA_FULL_ERROR"] == "0"
