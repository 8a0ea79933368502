"""Reads a comparison's folder: what was found, and the runs that it was found from."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import InputError

# Left as they are, control characters break SVG files, lone surrogates can't be written as UTF-8,
# and marks of direction let a name show another text than it holds.
UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# What a comparison may leave out; the page then says that there is nothing.
FACTS: dict[str, Any] = {
    "created": "",
    "hash": "",
    "metric": "test_loss",
    "direction": "minimize",
    "selection_metric": "val_loss",
    "sentence": "",
    "withheld": [],
    "reference": "",
    "target": {},
    "timing": {"valid": False, "text": ""},
    "protocol": {},
    "environment": {},
    "ledger": [],
    "table": [],
    "pairs": [],
    "searches": [],
    "runs": "runs.jsonl",
}
RUN: dict[str, Any] = {
    "kind": "tuned",
    "search": 0,
    "seed": None,
    "status": "",
    "test_loss": None,
    "test_accuracy": None,
    "steps": None,
    "train_seconds": None,
    "steps_to_target": None,
    "seconds_to_target": None,
    "area": None,
    "rows": (),
}
SEARCH: dict[str, Any] = {"search": 0, "study": "", "space": {}, "importance": {}, "trials": ()}


@dataclass(frozen=True)
class Comparison:
    """What `comparison.json` holds, and its runs by (method, kind)."""

    facts: dict[str, Any]
    runs: dict[tuple[str, str], list[dict[str, Any]]]

    @property
    def methods(self) -> list[str]:
        """Best first."""
        return list(self.facts["methods"])

    def of(self, method: str, kind: str = "tuned") -> list[dict[str, Any]]:
        return self.runs.get((method, kind), [])

    def trials(self, method: str) -> list[dict[str, Any]]:
        """Of all its searches."""
        searches = (one for one in self.facts["searches"] if one["method"] == method)
        return [trial for one in searches for trial in one["trials"]]


def read(folder: Path) -> Comparison:
    """The comparison of a folder.

    Raises:
        InputError: it is not a comparison, or a part of it is missing or broken.
    """
    facts = read_facts(folder)
    facts["searches"] = [{**SEARCH, **one} for one in facts["searches"]]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in _runs(folder / Path(facts["runs"]).name):
        run.setdefault(facts["metric"], run.get("value"))
        runs.setdefault((run["method"], run["kind"]), []).append(run)
    return Comparison(facts, runs)


def read_facts(folder: Path) -> dict[str, Any]:
    """What `comparison.json` holds; `read` says what it raises."""
    place = folder / "comparison.json"
    if not place.is_file():
        raise InputError(f"{folder}: not a comparison: there is no comparison.json in it")
    facts = _loaded(place, place.read_bytes())
    for key, kind in (("name", str), ("methods", list)):
        if not isinstance(facts.get(key), kind):
            raise InputError(f"{place}: not a comparison: {key} is missing or no {kind.__name__}")
    return {**FACTS, **facts}


def _runs(place: Path) -> Iterator[dict[str, Any]]:
    if not place.is_file():
        raise InputError(f"{place}: the comparison's runs are missing")
    with open(place, "rb") as file:
        for number, line in enumerate(file, 1):
            run = _loaded(f"{place}, line {number}", line)
            if not isinstance(run.get("method"), str):
                raise InputError(f"{place}, line {number}: method is missing")
            yield {**RUN, **run}


def _loaded(place: object, content: bytes) -> dict[str, Any]:
    try:
        loaded = json.loads(content)
    except ValueError as error:
        raise InputError(f"{place}: not JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{place}: not a JSON object")
    return {_clean(key): one if key == "rows" else _clean(one) for key, one in loaded.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return UNSHOWABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(one) for key, one in value.items()}
    return value
