"""Standard output: bars and tables that fit on a terminal, plain lines elsewhere."""

from rich.console import Console
from rich.progress import Progress, ProgressColumn

WIDE = 200  # columns where there is no terminal: tables are as wide as they need to be


def stdout(*, quiet: bool = False) -> Console:
    """Takes text for text, never for markup."""
    console = Console(
        quiet=quiet,
        force_terminal=False if quiet else None,  # None: as it is
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
    )
    if not console.is_terminal:
        console.width = WIDE
    return console


def bar(console: Console, *columns: str | ProgressColumn, transient: bool = False) -> Progress:
    """A bar on a terminal, nothing elsewhere."""
    hidden = not console.is_terminal
    return Progress(*columns, console=console, disable=hidden, transient=transient)


def print_line(console: Console, text: str) -> None:
    """Print what says elsewhere what a bar says on a terminal."""
    if not console.is_terminal:
        console.print(text)
