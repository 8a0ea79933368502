"""What is read of a comparison's folder, and what it may leave out."""

import json
from pathlib import Path
from typing import Any

import pytest

from src.errors import InputError
from src.reporting.report_data import read, read_facts


def written(folder: Path, facts: dict[str, Any], *runs: dict[str, Any]) -> Path:
    (folder / "comparison.json").write_text(json.dumps(facts))
    (folder / "runs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in runs))
    return folder


def test_what_may_be_left_out(tmp_path: Path) -> None:
    """The rest is as if it had been said to be nothing."""
    facts = {"name": "n", "methods": ["a"], "searches": [{"method": "a"}]}
    found = read(written(tmp_path, facts, {"method": "a"}))
    expected = {
        "created": "", "hash": "", "metric": "test_loss", "direction": "minimize",
        "selection_metric": "val_loss", "sentence": "", "withheld": [], "reference": "",
        "target": {}, "timing": {"valid": False, "text": ""}, "protocol": {}, "environment": {},
        "ledger": [], "table": [], "pairs": [], "runs": "runs.jsonl", "name": "n",
        "methods": ["a"],
    }  # fmt: skip
    search = {"method": "a", "search": 0, "study": "", "space": {}, "importance": {}, "trials": ()}
    assert found.facts == {**expected, "searches": [search]}
    (run,) = found.of("a")
    nothing = ("seed", "test_loss", "test_accuracy", "steps", "train_seconds", "steps_to_target",
               "seconds_to_target", "area")  # fmt: skip
    assert run == {
        "method": "a", "kind": "tuned", "search": 0, "status": "", "rows": (),
        **dict.fromkeys(nothing),
    }  # fmt: skip
    assert found.of("a", "default") == []


def test_runs_by_method_and_kind_and_trials_of_all_searches(tmp_path: Path) -> None:
    """A run's value is its verdict's metric, where that is none of those kept by name."""
    searches = [{"method": name, "search": n, "trials": [{"number": n}]}
                for name, n in (("a", 0), ("b", 5), ("a", 1))]  # fmt: skip
    facts = {"name": "n", "methods": ["b", "a"], "metric": "val_loss", "searches": searches}
    runs = [{"method": name, "kind": kind, "seed": seed, "value": seed / 8}
            for name, kind, seed in (("a", "tuned", 1), ("a", "default", 2), ("b", "tuned", 3),
                                     ("a", "tuned", 4))]  # fmt: skip
    found = read(written(tmp_path, facts, *runs))
    assert found.methods == ["b", "a"]
    assert [one["seed"] for one in found.of("a")] == [1, 4]
    assert [one["seed"] for one in found.of("a", "default")] == [2]
    assert [(one["val_loss"], one["test_loss"]) for one in found.of("a")] == [
        (0.125, None), (0.5, None)
    ]  # fmt: skip
    assert found.trials("a") == [{"number": 0}, {"number": 1}]
    assert read_facts(tmp_path)["metric"] == "val_loss"


def test_a_metric_that_stands_there_is_not_replaced(tmp_path: Path) -> None:
    facts = {"name": "n", "methods": ["a"], "metric": "val_loss"}
    runs = [{"method": "a", "val_loss": 2.0, "value": 3.0}]
    assert read(written(tmp_path, facts, *runs)).of("a")[0]["val_loss"] == 2.0


def test_the_file_of_runs_lies_in_the_folder(tmp_path: Path) -> None:
    """Whatever comparison.json says: it may come from elsewhere."""
    facts = {"name": "n", "methods": ["a"], "runs": "/elsewhere/../runs.jsonl"}
    assert len(read(written(tmp_path, facts, {"method": "a"})).of("a")) == 1


def test_signs_that_cannot_be_shown(tmp_path: Path) -> None:
    """In keys and values, however deep, of facts and of runs; rows are numbers and stay."""
    bad = "a\x00b\u202ec\ud800d\x7fe\tf\ng"
    clean = "a\ufffdb\ufffdc\ufffdd\ufffde\tf\ng"
    facts = {"name": bad, "methods": [bad], "protocol": {bad: [{bad: bad}]}, "hash": 3}
    found = read(written(tmp_path, facts, {"method": bad, "rows": [{bad: 1}]}))
    assert found.facts["name"] == clean
    assert found.facts["protocol"] == {clean: [{clean: clean}]}
    assert found.facts["hash"] == 3
    assert found.of(clean)[0]["rows"] == [{bad: 1}]


@pytest.mark.parametrize(
    ("line", "said"),
    [("{}", "line 2: method is missing"), ('{"method": 3}', "line 2: method is missing"),
     ("3", "line 2: not a JSON object"), ("{", "line 2: not JSON")],
)  # fmt: skip
def test_broken_lines_are_named(tmp_path: Path, line: str, said: str) -> None:
    folder = written(tmp_path, {"name": "n", "methods": ["a"]}, {"method": "a"})
    with (folder / "runs.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=said):
        read(folder)
