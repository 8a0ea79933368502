"""A comparison's record: what is written, what is read, and what a file may leave out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from src.comparing.record import (
    Comparison,
    Interval,
    Run,
    Search,
    Target,
    Timing,
    Trial,
    read,
    write,
)
from src.config import PROJECT
from src.errors import InputError


def written(folder: Path, facts: dict[str, Any], *runs: dict[str, Any]) -> Path:
    (folder / "comparison.json").write_text(json.dumps(facts))
    (folder / "runs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in runs))
    return folder


def test_what_may_be_left_out(tmp_path: Path) -> None:
    """The rest is as if it had been said to be nothing."""
    facts = {"name": "n", "methods": ["a"], "searches": [{"method": "a"}]}
    found = read(written(tmp_path, facts, {"method": "a"}))
    assert found == Comparison(
        created="", hash="", metric="test_loss", direction="minimize",
        selection_metric="val_loss", sentence="", withheld=[], reference="",
        target=Target(metric="val_loss", value=None, given=False),
        timing=Timing(valid=False, text=""), protocol={}, environment={}, ledger=[], table=[],
        pairs=[], name="n", methods=["a"], runs=found.of("a"), searches=[
            Search(method="a", search=0, study="", space={}, importance={}, trials=[])],
    )  # fmt: skip
    (run,) = found.of("a")
    nothing = ("seed", "test_loss", "test_accuracy", "steps", "train_seconds", "steps_to_target",
               "seconds_to_target", "area", "value")  # fmt: skip
    assert run == Run(
        method="a", kind="tuned", search=0, status="", rows=[], params={}, idle=False, commit="",
        folder="", **dict.fromkeys(nothing),
    )  # fmt: skip
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
    assert [one.seed for one in found.of("a")] == [1, 4]
    assert [one.seed for one in found.of("a", "default")] == [2]
    assert [one.of("val_loss") for one in found.of("a")] == [0.125, 0.5]
    assert found.trials("a") == [Trial(number=0), Trial(number=1)]
    assert found.metric == "val_loss"


def test_a_metric_that_stands_there_is_not_replaced(tmp_path: Path) -> None:
    facts = {"name": "n", "methods": ["a"], "metric": "val_loss"}
    runs = [{"method": "a", "val_loss": 2.0, "value": 3.0}]
    assert read(written(tmp_path, facts, *runs)).of("a")[0].of("val_loss") == 2.0


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
    assert found.name == clean
    assert found.protocol == {clean: [{clean: clean}]}
    assert found.hash == "3"
    assert found.of(clean)[0].rows == [{bad: 1}]


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


DAMAGED = (
    ({"searches": [{}]}, "searches.0.method is missing"),
    ({"methods": 3}, "methods=3: input should be a valid list"),
    ({"pairs": [{"a": "a", "b": "b", "low": "x"}]}, "pairs.0.low=x: input should be a valid num"),
    ({"searches": [{"method": "a", "space": {"lr": 3}}]}, "searches.0.space.lr"),
    ({"table": [{"method": "a", "kind": "tuned", "val_loss": 3}]}, "table.0.val_loss=3: "),
)


@pytest.mark.parametrize(("part", "said"), DAMAGED)
def test_a_damaged_part_is_named(tmp_path: Path, part: dict[str, Any], said: str) -> None:
    """In one line."""
    folder = written(tmp_path, {"name": "n", "methods": ["a"], **part})
    with pytest.raises(InputError, match=r"\A[^\n]*\Z") as caught:
        read(folder)
    assert f"{folder / 'comparison.json'}: not a comparison: {said}" in str(caught.value)


FACTS: dict[str, Any] = {
    "name": "n", "created": "2026-01-02T03:04:05", "hash": "h", "metric": "test_loss",
    "direction": "minimize", "directions": {"loss": "minimize"}, "selection_metric": "val_loss",
    "sentence": "s", "basis": "b", "margin": {"text": "5%", "value": 0.5},
    "looks": [{"seeds": 10, "searches": 1, "share": 0.25, "runs": 20, "pairs": []}],
    "ended": "e", "most_runs": 40, "missing": [], "awaited": ["r"],
    "withheld": [{"check": "edge", "method": None, "text": "t"}], "reference": "a",
    "target": {"metric": "val_loss", "value": 0.5, "given": False},
    "timing": {"valid": True, "text": "t"}, "protocol": {"seeds": 2, "methods": ["a"]},
    "environment": {"git": {"dirty": False}},
    "ledger": [{"time": "t", "event": "e", "detail": "d"}], "methods": ["a", "b"],
    "table": [{"method": "a", "kind": "tuned", "n": 2, "diverged": 0,
               "test_loss": {"mean": 0.5, "std": None}, "test_accuracy": {"mean": 1.0, "std": 0.0},
               "area": {"mean": None, "std": None},
               "steps_to_target": {"mean": 7.0, "std": None, "reached": 1},
               "seconds_to_target": {"mean": 7.5, "std": None, "reached": 1}}],
    "pairs": [{"a": "a", "b": "b", "n": 2, "searches": 1, "difference": -0.5,
               "low": -1.0, "high": 0.0, "p": 0.25,
               "test": "paired t", "p_holm": 0.25, "effect": None, "detectable": 1e-17,
               "seeds_to_settle": 30, "searches_to_settle": None, "verdict": "undecided",
               "within_margin": False,
               "speeds": [{"by": "steps", "target": 0.5, "ratio": 0.75, "low": None, "high": 2.0,
                           "p_holm": 0.5, "missed": [0, 1], "verdict": "undecided"}]}],
    "searches": [{"method": "a", "search": 0, "study": "s", "hash": "g", "shared_hash": "f",
                  "space": {"lr": {"low": 1e-05, "high": 0.1, "log": True},
                            "n": {"low": 1, "high": 64, "log": False},
                            "model.activation": {"choices": ["relu", 3]}},
                  "importance": {"lr": 0.75, "n": 0.25}, "margin": 0.05,
                  "trials": [{"number": 0, "state": "complete", "counted": True, "value": 0.5,
                              "cost": 0.5, "params": {"lr": 1e-05, "n": 3}, "seconds": 1.5,
                              "steps": 9, "folder": "/f"}]}],
    "runs": "runs.jsonl",
}  # fmt: skip
RUN: dict[str, Any] = {
    "method": "a", "kind": "tuned", "search": 0, "seed": 1000, "status": "completed",
    "params": {"lr": 1e-05, "n": 3}, "test_loss": 0.5, "test_accuracy": None, "value": 0.5,
    "steps": 9, "train_seconds": 1.5, "idle": True, "place": {"node": "n", "shared": False},
    "together": 4, "alone": "it draws", "commit": "c and changes", "folder": "/f",
    "rows": [{"step": 9, "samples": 90, "train_seconds": 1.5, "val_loss": 0.5,
              "val_accuracy": None}],
    "steps_to_target": 9, "seconds_to_target": 1.5, "area": None, "train_loss": 0.25,
}  # fmt: skip


def test_what_is_read_is_written_again(tmp_path: Path) -> None:
    """To the byte: whole numbers stay whole, nothing is left out, and the order is the same."""
    text, line = json.dumps(FACTS, indent=1), json.dumps(RUN) + "\n"
    (tmp_path / "comparison.json").write_text(text)
    (tmp_path / "runs.jsonl").write_text(line)
    (tmp_path / "again").mkdir()
    write(read(tmp_path), tmp_path / "again")
    assert (tmp_path / "again" / "comparison.json").read_text() == text
    assert (tmp_path / "again" / "runs.jsonl").read_text() == line


def test_nothing_of_a_record_is_changed() -> None:
    """What is judged stays as it was measured."""
    with pytest.raises(ValidationError, match="frozen"):
        Run(method="a").value = 3.0  # type: ignore[misc]


def test_what_earlier_versions_did_not_say() -> None:
    assert Trial(number=0).counted
    assert not Interval(low=0.0, high=1.0).log


def test_what_the_record_does_not_know_is_passed_over(tmp_path: Path) -> None:
    trial = {"number": 0, "mood": 3}
    facts = {"name": "n", "methods": ["a"], "more": 3,
             "searches": [{"method": "a", "trials": [trial]}]}  # fmt: skip
    assert read(written(tmp_path, facts)).trials("a") == [Trial(number=0)]


def test_reading_needs_no_torch() -> None:
    """Nor does all that shows a comparison."""
    code = (
        "import sys, src.report, src.reporting.report, src.comparing.statistics; "
        "heavy = {'torch', 'optuna', 'statsmodels'} & {*sys.modules}; assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT, timeout=120)


def test_what_a_later_version_has_besides(tmp_path: Path) -> None:
    """It is passed over; a metric of another name is kept."""
    run = {"method": "a", "seed": 1, "value": 0.5, "val_error": 0.25, "host": {"name": "x"}}
    row = {"method": "a", "kind": "tuned", "rank": 1, "val_error": {"mean": 0.25}}
    facts = {"name": "n", "methods": ["a"], "metric": "val_error", "table": [row], "more": [1]}
    (tmp_path / "comparison.json").write_text(json.dumps(facts))
    (tmp_path / "runs.jsonl").write_text(json.dumps(run) + "\n")
    comparison = read(tmp_path)
    assert comparison.runs[0].of("val_error") == 0.25
    assert comparison.table[0].of("val_error").mean == 0.25


def test_a_number_that_is_none(tmp_path: Path) -> None:
    """NaN, which JSON doesn't have, is nothing; a number beyond a float's is refused."""
    facts = '{"name": "n", "methods": ["a"], "target": {"value": %s}}'
    (tmp_path / "runs.jsonl").write_text('{"method": "a", "area": NaN}\n')
    (tmp_path / "comparison.json").write_text(facts % "NaN")
    comparison = read(tmp_path)
    assert (comparison.target.value, comparison.runs[0].area) == (None, None)
    (tmp_path / "comparison.json").write_text(facts % "1e999")
    with pytest.raises(InputError, match=r"target\.value"):
        read(tmp_path)


def test_a_row_that_is_none(tmp_path: Path) -> None:
    facts = {"name": "n", "methods": ["a"], "table": [3]}
    written(tmp_path, facts, {"method": "a"})
    with pytest.raises(InputError, match=r"table\.0"):
        read(tmp_path)
