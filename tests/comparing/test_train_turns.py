"""The order of runs, their notes and their folders, where nothing is trained."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.comparing import conduct
from src.comparing.conduct import Job, train, train_all
from src.comparing.ledger import Ledger

JOBS = [Job("a", "tuned", 0, seed, {}) for seed in range(1000, 1004)]


class Hub:
    """Does all tasks at once, the last first."""

    sizes: list[int] = []  # noqa: RUF012

    def __init__(self, size: int) -> None:
        self.sizes.append(size)

    def run(self, tasks: Iterator[Callable[[], Any]]) -> Iterator[Any]:
        yield from [task() for task in [*tasks][::-1]]


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Carries jobs out, so many at once at most; one of them may fail."""

    def call(folder: Path, jobs: list[Job], at_once: int, fails: int = -1) -> tuple[list[Any], str]:
        def trained(plan: Any, job: Job, place: Path, hub: Any = None) -> Any:
            if job.seed == fails:
                raise ValueError("broke")
            return job.seed, hub is not None

        Hub.sizes.clear()
        monkeypatch.setattr(conduct, "Together", Hub)
        monkeypatch.setattr(conduct, "_trained", trained)
        monkeypatch.setattr(conduct, "at_once", lambda plan: at_once)
        found, error = list[Any](), ""
        try:
            for run in train_all(None, jobs, folder, Ledger(folder)):  # type: ignore[arg-type]
                found.append(run)
        except ValueError as wrong:
            error = str(wrong)
        return found, error

    return call


@pytest.mark.parametrize(
    ("count", "at_once", "sizes"),
    [(1, 8, []), (2, 8, [2]), (4, 2, [2]), (4, 8, [4]), (4, 1, [])],
)
def test_each_comes_at_its_turn(
    several: Any, tmp_path: Path, count: int, at_once: int, sizes: list[int]
) -> None:
    """In whatever order they end; each look at the test set is noted."""
    found, error = several(tmp_path, JOBS[:count], at_once)
    assert (found, error) == ([(job.seed, bool(sizes)) for job in JOBS[:count]], "")
    assert Hub.sizes == sizes
    assert [line.detail for line in Ledger(tmp_path).read()] == [
        f"{job.folder_name}, once, at its end" for job in JOBS[:count]
    ]


@pytest.mark.parametrize("at_once", [1, 4])
def test_an_error_comes_at_its_turn_too(several: Any, tmp_path: Path, at_once: int) -> None:
    found, error = several(tmp_path, JOBS, at_once, fails=1002)
    assert [seed for seed, _ in found] == [1000, 1001] and error == "broke"
    assert len(Ledger(tmp_path).read()) == 2


def test_a_run_begins_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run that was killed left is gone; the run shows nothing and keeps no checkpoint."""
    trainer = SimpleNamespace(evaluate_at_end=["train"])
    values = list[Any]()
    plan: Any = SimpleNamespace(
        job=lambda method: SimpleNamespace(trainer=trainer),
        protocol=SimpleNamespace(metric="val_loss"),
        filled=lambda method, given: values.append(given) or ("config", "text"),
    )
    place = tmp_path / "runs" / "a-tuned-0-seed-1000"
    place.mkdir(parents=True)
    (place / "left").touch()

    def run(config: Any, text: str, folder: Path, **options: Any) -> None:
        assert (config, text, folder) == ("config", "text", place)
        assert [*folder.iterdir()] == []
        assert options == {"quiet": True, "keep_last": False, "together": None}
        measured = {"val_loss": 0.5, "test_loss": 0.75, "test_accuracy": 0.5}
        result = {"status": "completed", "steps": 3, "train_seconds": 2.0, "at_end": measured}
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "provenance.json").write_text(json.dumps(
            {"node": "n", "cpu": "c", "shared": True, "together": 4, "alone": "why",
             "git": {"commit": "abc", "dirty": True}}
        ))  # fmt: skip
        row = {"step": 1, "samples": 2, "train_seconds": 0.5, "val_loss": 1.0, "train_loss": 9.0,
               "lr": 0.1}  # fmt: skip
        (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")

    monkeypatch.setattr(conduct, "run", run)
    made = train(plan, JOBS[0], tmp_path, Ledger(tmp_path))
    assert values == [{"seed": 1000, "trainer.evaluate_at_end": ["test", "train", "val"]}]
    assert (made.value, made.test_loss, made.steps, made.train_seconds) == (0.5, 0.75, 3, 2.0)
    assert made.place == {"node": "n", "cpu": "c", "shared": True}
    assert (made.together, made.alone, made.commit) == (4, "why", "abc and changes")
    assert made.rows == [{"step": 1, "samples": 2, "train_seconds": 0.5, "val_loss": 1.0}]
    assert 0 <= float((place / "others.json").read_text()) <= 1


def test_what_is_missing_in_a_record_is_the_usual(tmp_path: Path) -> None:
    """A run of an earlier version trained alone; where no commit is known, none is told."""
    plan: Any = SimpleNamespace(protocol=SimpleNamespace(metric="test_loss"))
    result = {"status": "completed", "steps": 3, "train_seconds": 2.0, "at_end": {"test_loss": 1.0}}
    for name, text in (("result.json", json.dumps(result)), ("provenance.json", "{}"),
                       ("metrics.jsonl", "")):  # fmt: skip
        (tmp_path / name).write_text(text)
    made = conduct._read(plan, Job("b", "default", 2, 1003, {"x": 1}), tmp_path)
    assert (made.method, made.kind, made.search, made.seed) == ("b", "default", 2, 1003)
    assert made.params == {"x": 1} and made.folder == str(tmp_path)
    assert (made.together, made.alone, made.commit) == (1, "", "None")
    assert made.place == {"node": None, "cpu": None, "shared": None} and made.idle is False
    assert conduct._commit({"commit": "a", "dirty": False}) == "a"
