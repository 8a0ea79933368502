"""The folder of a comparison: which it is, and what may change while it goes on there."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from src.comparing.protocol import Plan
from src.errors import InputError
from src.results import digest
from src.results.identity import differing

FILE = "protocol.json"
# What may be given anew: runs that were made stay of use, and the verdict is made again.
GROWING = ("n_trials", "searches", "widen", "seeds", "looks", "seconds", "margin", "max_bad",
           "reference", "target")  # fmt: skip
Settings = Mapping[str, Any]


def placed(plan: Plan, root: Path) -> Plan:
    """The plan under the name of its folder in `root`.

    A second comparison of the same methods, data and model, with other settings of the runs, has
    its own folder: its name ends with their hash.
    """
    if plan.protocol.name is not None:
        return plan
    fixed = {key: value for key, value in _fixed(plan.settings()).items() if key != "methods"}
    other = _named(plan, f"{plan.name}-{digest(fixed)[:6]}")
    first = root / plan.name
    if (root / other.name).exists() or (_is_used(first) and foreign(first, plan.settings())):
        return other
    return plan


def _named(plan: Plan, name: str) -> Plan:
    return replace(plan, protocol=plan.protocol.model_copy(update={"name": name}))


def _is_used(folder: Path) -> bool:
    """Whether something was trained here on fresh seeds; searches alone leave the name free."""
    record = folder / "runs.jsonl"
    return any(folder.glob("runs/*")) or (record.is_file() and record.stat().st_size > 0)


def check(folder: Path, settings: Settings) -> None:
    """Refuse a folder in which another comparison has trained.

    Raises:
        InputError: naming what differs.
    """
    if _is_used(folder) and (differ := foreign(folder, settings)):
        raise InputError(
            f"{folder} holds another comparison: {differ[0]}; choose another protocol.name"
        )


def foreign(folder: Path, settings: Settings) -> list[str]:
    """What the comparison that was begun here was asked for, and may not change; if any was."""
    theirs, ours = recorded(folder), json.loads(json.dumps(settings))
    if theirs is None:
        return []
    was, now = theirs["methods"], ours["methods"]
    if not {*was} <= {*now}:
        return [f"methods was {was}, is {now}"]
    added = {*now} - {*was}
    theirs["methods"] = now
    fixed = [
        {
            key: value
            for key, value in _fixed(settings).items()
            if not any(key.startswith(f"method.{name}.") for name in added)
        }
        for settings in (theirs, ours)
    ]
    return differing(*fixed)


def changed(folder: Path, settings: Settings) -> list[str]:
    """What is asked for otherwise than before, in a comparison that goes on."""
    theirs = recorded(folder)
    return [] if theirs is None else differing(theirs, json.loads(json.dumps(settings)))


def recorded(folder: Path) -> dict[str, Any] | None:
    """The settings of the comparison that was begun in a folder; None if none was."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        way = f"move {folder} away, or choose another protocol.name"
        raise InputError(f"{path} can't be read: {error}; {way}") from error


def _fixed(settings: Settings) -> dict[str, Any]:
    """The settings that may not change; a schedule that all share stands with each method."""
    fixed: dict[str, Any] = {}
    for key, value in settings.items():
        if key.startswith("scheduler."):
            fixed |= {f"method.{name}.{key}": value for name in settings["methods"]}
        elif key.removeprefix("protocol.") not in GROWING:
            fixed[key] = value
    return fixed
