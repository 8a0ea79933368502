"""What is printed on a terminal, and elsewhere."""

import pytest

from src.console import bar, print_line, stdout


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_printed_is_what_was_meant(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    """No markup, no emoji, no colours for numbers, no line broken, whatever is in a name."""
    monkeypatch.setenv("COLUMNS", "40")
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    console, text = stdout(), "[bold]x[/bold] :smile: 3.5 'a' " + "/long" * 50
    assert console.is_terminal is terminal
    console.print(text)
    assert capsys.readouterr().out == text + "\n"
    assert console.width == (40 if terminal else 200)


@pytest.mark.parametrize(("quiet", "terminal"), [(False, False), (False, True), (True, True)])
def test_a_bar_or_a_line_or_neither(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    quiet: bool,
    terminal: bool,
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    console = stdout(quiet=quiet)
    with bar(console, "{task.description}") as drawn:
        drawn.add_task("drawn")
        print_line(console, "printed")
    assert console.is_terminal is (terminal and not quiet)  # or lines would be printed quietly
    assert drawn.live.transient is False
    told = capsys.readouterr().out
    assert ("drawn" in told, "printed" in told) == (terminal and not quiet, not terminal)
