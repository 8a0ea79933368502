"""The runs below a folder, of any origin, each as flat facts that can be filtered and sorted."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from yaml import AliasToken, CSafeLoader, YAMLError, load, scan

from src.config import CONF, flatten
from src.errors import InputError
from src.results.folder import load_json

FILES = ("config.yaml", "metrics.jsonl", "result.json")  # one of them makes a folder a run's
UNFINISHED = "unfinished"  # without a result: under way, or killed
GROUPS = ("optimizer", "scheduler", "model", "data", "loss")  # which name a class or function
ORIGINS = {"comparisons": "comparison", "replays": "replay"}  # by the folder that it lies in


def find(root: Path, tell: Callable[[object], object]) -> Iterator[Path]:
    """Folders that hold a run; links aren't followed.

    Args:
        root: where to look.
        tell: is given the error of a folder that can't be read.
    """
    for folder, folders, files in os.walk(root, onerror=tell):
        if not {*FILES}.isdisjoint(files):
            folders.clear()
            yield Path(folder)
        folders[:] = [name for name in folders if not name.startswith(".")]


def facts(folder: Path, root: Path) -> dict[str, Any]:
    """A run's config and result, flat, by dotted key, and what its folder tells.

    Args:
        folder: of the run.
        root: holds `sweeps/`, `comparisons/`, ...

    Returns:
        Also `written` (local time, ISO 8601), `folder`, `origin` (run, job of a multirun,
        trial, comparison, replay), `of` (the multirun, study or comparison), and for each group
        the choice that it was made from: `optimizer`, `scheduler`, `model`, `data`, `loss`.

    Raises:
        InputError: a file is damaged.
    """
    config, result = _config(folder), load_json(folder, "result.json")
    origin, of = _origin(folder, root)
    time = datetime.fromtimestamp(written(folder)).isoformat(" ", "seconds")
    try:
        ended = flatten(result or {"status": UNFINISHED})
    except RecursionError as error:
        raise InputError(f"{folder}: result.json: {error}") from error
    own = {"folder": shown(folder), "written": time, "origin": origin, "of": of}
    return {**config, **ended, **own}


def shown(folder: Path) -> str:
    """A path that can be pasted: relative to the working directory if it lies in it."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def written(folder: Path) -> float:
    """When a run last wrote one of its files: a time stamp, 0 if there is none."""
    times = [0.0]
    for name in FILES:
        with suppress(OSError):
            times.append((folder / name).stat().st_mtime)
    return max(times)


def _config(folder: Path) -> dict[str, Any]:
    """The config, flat, not checked: it may be of another version, or name classes of others."""
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8")
        if "*" in text and any(isinstance(token, AliasToken) for token in scan(text)):
            raise ValueError("it holds an alias")  # a few lines of them are gigabytes
        return _loaded(text)
    except FileNotFoundError as error:
        raise InputError(f"{folder}: it has no config.yaml") from error
    except (OSError, ValueError, YAMLError, RecursionError) as error:
        raise InputError(f"{folder}: config.yaml: {' '.join(str(error).split())}") from error


def _loaded(text: str) -> dict[str, Any]:
    """A config from its YAML, section by section, most of which thousands of runs share."""
    try:
        sections = [_section(part) for part in re.split(r"^(?=[A-Za-z])", text, flags=re.M) if part]
        return {key: value for section in sections for key, value in section.items()}
    except (ValueError, YAMLError):  # written in another style
        return _section(text)


@lru_cache(maxsize=4096)
def _section(text: str) -> dict[str, Any]:
    """Keys of a config, flat, and of a group also the choice that it was made from."""
    loaded = load(text, CSafeLoader)
    if not isinstance(loaded, dict):
        raise ValueError("not a config")
    names = {group: _choice(group, loaded[group]) for group in GROUPS if group in loaded}
    return {**flatten(loaded), **names}


def _origin(folder: Path, root: Path) -> tuple[str, str | None]:
    """Where a run comes from, and the name of what it is a part of."""
    kind, *names = folder.relative_to(root).parts or [""]
    if (folder / "trial.json").is_file():
        return "trial", (load_json(folder, "trial.json") or {}).get("study")
    if kind == "sweeps" and len(names) > 1:
        return "job", names[0]
    origin = ORIGINS.get(kind, "run")
    return origin, names[0] if origin == "comparison" and names else None


def _choice(group: str, node: Any) -> Any:
    """The file of conf/ that a group was made from, by its class and values; else the class."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        return node.get("name") if isinstance(node, Mapping) else None  # data, in older configs
    target = node["_target_"]
    same = [each for each in _choices(group) if each[1].get("_target_") == target]
    equal = [each for each in same if each[1].items() <= node.items()] if len(same) > 1 else same
    return equal[0][0] if equal else str(target).rpartition(".")[2]


@cache
def _choices(group: str) -> list[tuple[str, dict[str, Any]]]:
    """The choices of a group and their values."""
    folder = CONF / group
    files = {path.relative_to(folder).with_suffix(""): path for path in folder.rglob("*.yaml")}
    loaded = (
        (str(name), load(path.read_text("utf-8"), CSafeLoader)) for name, path in files.items()
    )
    return sorted((name, values) for name, values in loaded if isinstance(values, dict))
