"""Removing runs, multiruns, studies and comparisons that nobody needs any more."""

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from src.comparing.ledger import Ledger
from src.comparing.record import read
from src.console import stdout
from src.errors import InputError
from src.reporting.tables import line, print_lines
from src.results import LOCK, alone, is_held
from src.results.listing import FILES, find
from src.sweeping.removal import is_under_way, remove_study, study_of

KINDS = ("run", "multirun", "study", "comparison", "replay")
FOLDERS = {"sweeps": "study", "comparisons": "comparison", "replays": "replay"}
# What a whole one holds; without it a process may be about to write its next file.
WHOLE = {"run": "result.json", "replay": "result.json", "multirun": "multirun.csv",
         "comparison": "report.html"}  # fmt: skip
SILENCE = 600  # seconds without a new file, after which what isn't whole counts as left
AGES = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
SIZES = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
REMOVED = ".removed-"  # begins the name of a folder that is being removed


@dataclass(frozen=True)
class Item:
    """A folder that is removed as a whole.

    Args:
        kind: one of KINDS.
        name: its path in the folder of its kind.
        size: in bytes.
        written: when its last file was, as a time stamp.
    """

    kind: str
    name: str
    folder: Path
    size: int
    written: float


Condition = Callable[[Item], bool]


def prune(root: Path, conditions: Sequence[str], *, yes: bool) -> None:
    """List what meets the conditions, ask, and remove it.

    Args:
        root: holds `runs/`, `sweeps/`, `comparisons/`, ...
        conditions: `older=30d`, `larger=1GB`, `name=PATTERN`, `kind=KIND`; all must be met.
        yes: don't ask.

    Raises:
        InputError: a condition is wrong, there is no terminal to ask on, or a folder can't be
            removed.
    """
    wanted = [_condition(text) for text in conditions]
    if not wanted:
        raise InputError("--prune: say what: older=30d, larger=1GB, name=PATTERN or kind=KIND")
    kept = choose(root, wanted)
    if not kept:
        print(f"nothing in {root} meets {' '.join(conditions)}")
        return
    _show(kept)
    going = [item for item, reason in kept.items() if reason is None]
    if not going or not (yes or _agreed(len(going))):
        return
    still = choose(root, wanted)  # the question may have waited for hours
    going = [item for item in going if still.get(item, "changed") is None]
    # A comparison first: it must not stay behind without its studies.
    gone = [item for item in sorted(going, key=lambda item: item.kind != "comparison")
            if _removed(item, root)]  # fmt: skip
    print(f"removed {_count(len(gone))}, {_size(sum(item.size for item in gone))}")


def _condition(text: str) -> Condition:
    key, _, value = text.partition("=")
    if key == "older":
        seconds = _amount(text, value, AGES)
        return lambda item: time.time() - item.written > seconds
    if key == "larger":
        size = _amount(text, value, SIZES)
        return lambda item: item.size > size
    if key == "name" and value:
        pattern = value.replace("[", "[[]")
        return lambda item: fnmatchcase(item.name, pattern)
    if key == "kind" and value in KINDS:
        return lambda item: item.kind == value
    if key == "kind":
        raise InputError(f"{text}: must be one of {', '.join(KINDS)}")
    raise InputError(f"{text}: --prune takes older=30d, larger=1GB, name=PATTERN and kind=KIND")


def _amount(text: str, value: str, units: dict[str, float] | dict[str, int]) -> float:
    match = re.fullmatch(rf"(\d+(?:\.\d+)?)({'|'.join(units)})", value)
    if match is None:
        raise InputError(f"{text}: must be a number and one of {', '.join(units)}, as in 30"
                         f"{[*units][-2]}")  # fmt: skip
    return float(match[1]) * units[match[2]]


def choose(root: Path, wanted: Iterable[Condition]) -> dict[Item, str | None]:
    """What meets all conditions, oldest first, with the reason why it must stay, if there is one.

    A comparison keeps its studies and runs, unless it goes with them.
    """
    every = sorted(items(root), key=lambda item: item.written)
    chosen = {item: in_use(item) for item in every if all(is_met(item) for is_met in wanted)}
    staying = [item for item in every if item.kind == "comparison"
               and chosen.get(item, "stays") is not None]  # fmt: skip
    needs = {item.name: needed(item.folder) for item in staying}
    for item, reason in chosen.items():
        if reason is None:
            chosen[item] = next((f"comparison {name} needs it" for name, need in needs.items()
                                 if _is_needed(item, need)), None)  # fmt: skip
    return chosen


def items(root: Path) -> Iterator[Item]:
    """Everything that can be removed."""
    for name, kind in FOLDERS.items():
        folders = [Path(entry) for entry in _entries(root / name) if not entry.name.startswith(".")]
        for folder in folders:
            yield _item(_kind(folder, kind), folder, root / name)
    for folder in find(root, lambda error: None):
        first = folder.relative_to(root).parts[:1]
        if first and first[0] not in FOLDERS:
            yield _item("run", folder, root / "runs" if first[0] == "runs" else root)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The folders in a folder, which may not exist; links aren't among them."""
    with suppress(OSError):
        return [entry for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    return []


def _kind(folder: Path, kind: str) -> str:
    if kind != "study":
        return kind
    if (folder / "multirun.yaml").is_file():
        return "multirun"
    return "run" if any((folder / name).is_file() for name in FILES) else "study"


def _item(kind: str, folder: Path, base: Path) -> Item:
    size, written = 0, 0.0
    for path, _, names in os.walk(folder):
        with suppress(OSError):
            written = max(written, os.lstat(path).st_mtime)
        for name in names:
            with suppress(OSError):  # it went away meanwhile
                state = os.lstat(os.path.join(path, name))
                size += state.st_size
                # Asking whether a lock is held writes it.
                written = max(written, state.st_mtime if name != LOCK else 0.0)
    return Item(kind, str(folder.relative_to(base)), folder, size, written)


def in_use(item: Item) -> str | None:
    """Why a process may be writing an item; None if none is."""
    if any(is_held(lock) for lock in item.folder.rglob(LOCK)):
        return "a process is working there"
    whole = item.kind in WHOLE and (item.folder / WHOLE[item.kind]).is_file()
    if not whole and time.time() - item.written < SILENCE:
        return f"written less than {SILENCE // 60} minutes ago"
    try:
        if item.kind == "study" and is_under_way(item.folder):
            return "a trial is running"
    except InputError as error:
        return str(error)
    return None


def needed(comparison: Path) -> set[str]:
    """The names of the studies that a comparison needs, and the folders of its trials and runs.

    One that isn't finished has named its studies in its ledger, or in the logs of their sweeps.

    Returns:
        Names, and paths with all that they lie in.
    """
    searched = [line for line in Ledger(comparison).read() if line.event == "searched"]
    names = {line.detail.partition(":")[0] for line in searched}
    names |= {path.stem for path in comparison.glob("*.log")}
    with suppress(InputError):
        record = read(comparison)
        names |= {search.study for search in record.searches}
        folders = {trial.folder for search in record.searches for trial in search.trials}
        for folder in filter(None, folders | {run.folder for run in record.runs}):
            names |= {folder, *map(str, Path(folder).parents)}
    return names


def _is_needed(item: Item, need: set[str]) -> bool:
    if item.kind == "study":
        named = study_of(item.folder)
        return (named[1] if named else item.name) in need or str(item.folder) in need
    return str(item.folder) in need


def _show(chosen: dict[Item, str | None]) -> None:
    rows = []
    for item, reason in chosen.items():
        written = datetime.fromtimestamp(item.written).isoformat(" ", "minutes")
        what = "remove" if reason is None else f"keep: {reason}"
        rows.append([item.kind, item.name, written, _size(item.size), what])
    names = ["kind", "name", "written", "size", ""]
    print_lines(stdout(), names, rows, left=["kind", "name", "written", ""])
    going = [item.size for item, reason in chosen.items() if reason is None]
    print(f"{_count(len(going))} of {len(chosen)} can go, {_size(sum(going))}")


def _count(number: int) -> str:
    return f"{number} folder{'s' * (number != 1)}"


def _size(size: float) -> str:
    unit, factor = next(
        ((unit, factor) for unit, factor in reversed(SIZES.items()) if size >= factor), ("kB", 1e3)
    )
    return f"{size / factor:.3g} {unit}"


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        raise InputError("nothing was removed: there is no terminal to ask on; add --yes")
    try:
        return input(f"remove {_count(count)} for good? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _removed(item: Item, root: Path) -> bool:
    """Whether an item could be removed; a line says why not."""
    try:
        remove(item)
    except (InputError, OSError) as error:
        print(f"warning: not removed: {line(error)}", file=sys.stderr)
        return False
    with suppress(OSError):  # it isn't empty
        if item.folder.parent.parent == root / "runs":  # of a day, whose last run this was
            item.folder.parent.rmdir()
    return True


def remove(item: Item) -> None:
    """Remove an item and, if it is a study, its study in the database.

    Raises:
        InputError: a process has begun to work there.
        OSError: something can't be removed.
    """
    folder = item.folder
    for left in folder.parent.glob(f"{REMOVED}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with alone(folder):
        if item.kind == "study":
            remove_study(folder)
        gone = folder.rename(folder.with_name(f"{REMOVED}{os.getpid()}"))
    shutil.rmtree(gone)  # only now, so that half of a folder is never found
