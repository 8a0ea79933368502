"""The table of a multirun, from folders that nothing was trained in; each cell by hand."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from src import multirun
from src.multirun import Job


def a_job(root: Path, number: int, *overrides: str, result: Any = None) -> None:
    folder = root / f"trial-{number}"
    (folder / ".hydra").mkdir(parents=True)
    kept = folder / ".hydra" / "overrides.yaml"
    kept.write_text(yaml.safe_dump([*overrides]))
    os.utime(kept, (1000 + number, 1000 + number))
    if result is not None:
        text = result if isinstance(result, str) else json.dumps(result)
        (folder / "result.json").write_text(text)


def ended(value: float | None, status: str = "completed", metric: str = "val_loss") -> Any:
    direction = "maximize" if metric.endswith("accuracy") else "minimize"
    return {
        "status": status, "steps": 30, "train_seconds": 1.25, "at_end": {"test_loss": 0.123456789},
        "objective": {"metric": metric, "direction": direction, "value": value},
    }  # fmt: skip


def reported(
    root: Path, capsys: pytest.CaptureFixture[str], plan: Any = ()
) -> tuple[list[str], list[dict[str, str]]]:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(root)}, "output_subdir": ".hydra"}})
    multirun.report(config, plan)
    out = capsys.readouterr().out.splitlines()
    with (root / "multirun.csv").open(newline="") as file:
        return out, [*csv.DictReader(file)]


def test_the_table_of_all_kinds_of_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_job(tmp_path, 0, "lr=0.5", "+seed=1", result=ended(2.0))
    a_job(tmp_path, 1, "lr=0.1", "+seed=1", result=ended(0.123456789))
    a_job(tmp_path, 2, "lr=9", "+seed=1", result=ended(None, "diverged"))
    a_job(tmp_path, 3, "lr=x", "+seed=1")
    a_job(tmp_path, 4, "lr=0.2", "+seed=1", result=ended(1.0, "early_stopped"))
    a_job(tmp_path, 5, "lr=0.3", "+seed=1", result="{")
    a_job(tmp_path, 6, "lr=0.4", "+seed=1", result=ended(0.5, "interrupted"))
    plan = [[f"lr={n}", "+seed=1"] for n in range(8)]
    out, rows = reported(tmp_path, capsys, plan)
    assert [(row["job"], row["status"]) for row in rows] == [
        ("trial-1", "completed"), ("trial-4", "early_stopped"), ("trial-0", "completed"),
        ("trial-6", "interrupted"), ("trial-2", "diverged"), ("trial-3", "failed"),
        ("trial-5", "failed"), ("", "not begun"),
    ]  # fmt: skip
    assert rows[0] == {
        "job": "trial-1", "lr": "0.1", "seed": "1", "status": "completed", "metric": "val_loss",
        "direction": "minimize", "value": "0.123456789", "steps": "30", "train_seconds": "1.25",
        "at_end.test_loss": "0.123456789",
    }  # fmt: skip
    assert (rows[-1]["lr"], rows[-1]["value"], rows[5]["lr"]) == ("7", "", "x")
    assert out[:2] == ["", "all jobs: seed=1"]
    heading, *lines = (line.split() for line in out[2:-1])
    assert heading == ["job", "lr", "status", "val_loss", "(minimize)", "at_end.test_loss",
                       "seconds"]  # fmt: skip
    assert lines[0] == ["trial-1", "0.1", "completed", "0.12346", "0.12346", "1.2"]
    assert lines[4] == ["trial-2", "9", "diverged", "0.12346", "1.2"], "no value"
    assert lines[5] == ["trial-3", "x", "failed"] and lines[7] == ["7", "not", "begun"]
    assert out[-1] == f"table: {tmp_path}/multirun.csv"
    assert out[3].startswith("trial-1  0.1  completed"), "words stand at the left"
    assert out[7].startswith("trial-2  9    diverged")


def test_several_metrics_each_best_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An accuracy's best is its largest; a number alone says nothing then."""
    for number, (metric, value) in enumerate(
        [("val_loss", 3.0), ("val_accuracy", 0.5), ("val_loss", 2.0), ("val_accuracy", 0.75)]
    ):
        a_job(tmp_path, number, f"n={number}", result=ended(value, metric=metric))
    out, rows = reported(tmp_path, capsys)
    assert [row["job"] for row in rows] == ["trial-3", "trial-1", "trial-2", "trial-0"]
    assert "all jobs" not in out[1] and out[1].split()[:4] == ["job", "n", "status", "objective"]
    assert "val_accuracy (maximize) 0.75" in out[2] and "val_loss (minimize) 3" in out[5]


def test_of_one_job_nothing_is_shared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of its overrides are in its row; one of the jobs before may lack one."""
    a_job(tmp_path, 0, "lr=0.5", result=ended(1.0))
    out, _ = reported(tmp_path, capsys)
    assert out[1].split()[:2] == ["job", "lr"]
    a_job(tmp_path, 1, "lr=0.5", "seed=2", result=ended(2.0))
    out, rows = reported(tmp_path, capsys)
    assert out[1] == "all jobs: lr=0.5" and out[2].split()[:2] == ["job", "seed"]
    assert [row["seed"] for row in rows] == ["", "2"]


def test_what_most_jobs_have_is_not_shared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, lr in enumerate(("1", "1", "2")):
        a_job(tmp_path, number, f"lr={lr}", "n=5", result=ended(float(number)))
    out, _ = reported(tmp_path, capsys)
    assert out[1] == "all jobs: n=5" and out[2].split()[:2] == ["job", "lr"]


def test_jobs_are_those_that_hydra_has_begun(tmp_path: Path) -> None:
    """In the order in which they began; what lies elsewhere is none of them."""
    for number in (2, 0, 1):
        a_job(tmp_path / "deep", number, f"n={number}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "overrides.yaml").write_text("[]")
    jobs = multirun.begun(tmp_path, ".hydra")
    assert [job.folder for job in jobs] == ["deep/trial-0", "deep/trial-1", "deep/trial-2"]
    assert [job.overrides for job in jobs] == [{"n": str(n)} for n in range(3)]
    assert {job.result["status"] for job in jobs} == {"failed"}
    assert multirun.begun(tmp_path, "elsewhere") == []


def test_without_jobs_there_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}, "output_subdir": "x"}})
    multirun.report(config, [["a=1"]])
    assert capsys.readouterr().out == "" and [*tmp_path.iterdir()] == []


def test_numbers_are_written_as_numbers() -> None:
    """A spreadsheet takes a text that begins with = for a formula; -1e-05 is a number."""
    texts = {"a": "3", "b": "1e-05", "c": "=1+1", "d": "[1,2]", "e": "-2.5", "f": "nan"}
    (heading, row) = multirun.flat([Job("j", texts, {"status": "completed"})])
    assert heading == ["job", *"abcdef", *multirun.RESULT]
    assert row[:6] == ["j", 3, 1e-05, "=1+1", "[1,2]", -2.5] and type(row[1]) is int
    assert row[7] == "completed" and row[8:] == [None] * 5
