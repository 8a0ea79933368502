"""What `python -m src.runs --help` says: something about everything."""

import re
import sys

import pytest

from src import runs

OPTIONS = (
    "--columns",
    "--sort",
    "--reverse",
    "--limit",
    "--format",
    "--folder",
    "--prune",
    "--yes",
)


def test_the_help_says_something_about_each_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["runs.py", "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        runs.main()
    text = capsys.readouterr().out
    for option in OPTIONS:
        assert re.search(rf"^  {option}(?: \S+)?(?: {{2,}}|\n {{10,}})\S", text, re.M), option
    assert "KEY=VALUE  " in text and runs.EPILOG.splitlines()[-1] in text
    assert (runs.__doc__ or "").split(": ")[1].split(",")[0] in text


@pytest.mark.parametrize("form", ["table", "csv"])
def test_both_forms_are_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object, form: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["runs.py", "--format", form, "--folder", str(tmp_path)])
    runs.main()
    out = capsys.readouterr().out
    if form == "csv":
        assert out.strip() == ",".join(runs.COLUMNS)
    else:
        assert out.strip() == f"0 runs in {tmp_path}"
