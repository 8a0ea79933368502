"""Runs on fresh seeds that train at once: the runs, the order and the notes of one by one."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from src.comparing import conduct
from src.comparing.conduct import Job, train_all
from src.comparing.ledger import Ledger
from src.comparing.protocol import Plan, plan
from src.comparing.record import Run
from src.composing import register
from src.models import MLP
from src.results.status import Status
from src.training.stacking import AT_ONCE
from tests.helpers import Session, result, timeless

SMALL = ("methods=[sgd,adam]", "model.hidden_sizes=[8]", "trainer.epochs=1", "trainer.threads=1",
         "data.batch_size=128", "trainer.evaluate_every=500")  # fmt: skip
RATES = {"sgd": 0.5, "adam": 0.01}


def asked(*overrides: str) -> Plan:
    register()
    return plan([*SMALL, *overrides])


def todo(seeds: int = 3) -> list[Job]:
    """Winners and defaults; one of them diverges."""
    made = [
        Job(method, kind, 0, 1000 + seed, {"optimizer.lr": rate} if kind == "tuned" else {})
        for seed in range(seeds)
        for kind in ("tuned", "default")
        for method, rate in RATES.items()
    ]
    made[2] = Job("sgd", "tuned", 1, 1000, {"optimizer.lr": 1e38})
    return made


def trained(folder: Path, made: Plan, jobs: list[Job]) -> list[Run]:
    folder.mkdir(exist_ok=True)
    return [*train_all(made, jobs, folder, Ledger(folder))]


def kept(run: Run, folder: Path) -> dict[str, Any]:
    """All of a run that does not depend on clocks and folders, its weights among it."""
    left_out = {"folder", "train_seconds", "seconds_to_target", "idle", "together", "alone"}
    facts = {key: value for key, value in run.model_dump().items() if key not in left_out}
    rows = [{key: row[key] for key in row if key != "train_seconds"} for row in facts["rows"]]
    place = folder / "runs" / Path(run.folder).name
    facts |= {"rows": rows, "weights": result(place)["weights_sha256"], "all": timeless(place)}
    return facts


def told(folder: Path) -> list[tuple[str, str]]:
    return [(line.event, line.detail) for line in Ledger(folder).read()]


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("one_by_one")
    trained(folder, asked("trainer.stack=1"), todo())
    return folder


def both(one_by_one: Path, folder: Path, stack: str = "trainer.stack=5") -> list[Run]:
    """What is there is read, the rest trained; all is as one by one."""
    first = trained(one_by_one, asked("trainer.stack=1"), todo())
    second = trained(folder, asked(stack), todo())
    assert [kept(run, folder) for run in second] == [kept(run, one_by_one) for run in first]
    assert told(folder) == told(one_by_one)
    assert {run.together for run in first} == {1}
    return second


def test_at_once_as_one_by_one(
    session: Session, one_by_one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the bit, one that diverges among them; and what was trained is read again."""
    runs = both(one_by_one, tmp_path)
    assert [run.status for run in runs].count("diverged") == 1
    assert {(run.together, run.alone) for run in runs} == {(5, "")}
    assert capsys.readouterr().out == ""
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/result.json")}
    both(one_by_one, tmp_path, "trainer.stack=1")
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_a_run_without_others_has_its_seconds_for_itself(
    session: Session, one_by_one: Path, tmp_path: Path
) -> None:
    [run] = trained(tmp_path, asked("trainer.stack=5"), todo()[:1])
    assert run.together == 1


@pytest.mark.parametrize("rows", [3, 17])
def test_killed_in_the_middle(
    session: Session, one_by_one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """The process ends after so many rows; the next one trains what isn't there."""
    real, seen = conduct.run, []

    def count(row: dict[str, Any]) -> bool:
        seen.append(row)
        if len(seen) == rows:
            os._exit(9)
        return False

    child = os.fork()
    if not child:
        monkeypatch.setattr(conduct, "run", lambda *a, **settings: real(*a, stop=count, **settings))
        try:
            trained(tmp_path, asked("trainer.stack=5"), todo())
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    begun = len([*(tmp_path / "runs").iterdir()])
    assert 5 <= begun < len(todo())
    both(one_by_one, tmp_path)


class Dropping(MLP):
    """Drops out in training."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(super().forward(inputs), 0.2, self.training)


def test_what_draws_random_numbers_trains_alone(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It says so, and has the random numbers that it would have."""
    monkeypatch.setattr("src.models.MLP", Dropping)
    monkeypatch.setattr(Dropping, "__module__", "src.models.mlp")
    runs = both(tmp_path / "alone", tmp_path / "together")
    why = "the model draws random numbers"
    assert {run.alone for run in runs} == {why}


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    """Let one of the runs end with an error after its first row."""
    real, begun = conduct.run, []

    def run(config: Any, snapshot: str, place: Path, **settings: Any) -> Any:
        begun.append(place)
        fails = len(begun) == number

        def stop(row: Any) -> bool:
            if fails:
                raise error
            return False

        return real(config, snapshot, place, stop=stop, **settings)

    monkeypatch.setattr(conduct, "run", run)


def test_an_error_comes_at_its_turn(
    session: Session, one_by_one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was to be trained before is there; the same command goes on."""
    with monkeypatch.context() as patched:
        stop_at(patched, 4, ValueError("it broke"))
        runs = train_all(asked("trainer.stack=5"), todo(), tmp_path, Ledger(tmp_path))
        done = [next(runs) for _ in range(3)]
        with pytest.raises(ValueError, match="it broke"):
            next(runs)
    assert [run.status for run in done] == ["completed", "completed", "diverged"]
    assert len(told(tmp_path)) == 3
    both(one_by_one, tmp_path)


def test_ctrl_c_ends_all_with_their_records(
    session: Session, one_by_one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_at(patched, 4, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, asked("trainer.stack=5"), todo())
    results = tmp_path.glob("runs/*/result.json")
    states = [json.loads(path.read_text())["status"] for path in results]
    assert sorted(states) == [Status.DIVERGED, *[Status.INTERRUPTED] * 4]
    assert told(tmp_path) == []
    both(one_by_one, tmp_path)


Change = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["trainer.stack=auto"], "a run this short"),
        (["trainer.stack=auto", "trainer.epochs=100", "model.hidden_sizes=[600]"], "of this size"),
        (["trainer.stack=5", "trainer.accumulate=2"], "trainer.accumulate"),
        (["trainer.stack=5", "trainer.threads=2"], "more than one thread"),
        (["trainer.stack=1"], ""),
    ],
)
def test_what_gains_nothing_trains_alone(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str],
    why: str,
) -> None:  # fmt: skip
    """Its seconds are its own then."""
    jobs = todo(1)
    if "epochs" in "".join(overrides):
        stop_at(monkeypatch, 1, ValueError("that was enough"))
        with pytest.raises(ValueError, match="enough"):
            trained(tmp_path, asked(*overrides), jobs[:2])
        kept = json.loads((tmp_path / "runs" / jobs[0].folder_name / "provenance.json").read_text())
        assert why in kept["alone"] and "together" not in kept
        return
    runs = trained(tmp_path, asked(*overrides), jobs)
    assert {run.together for run in runs} == {1}
    assert all(why in run.alone for run in runs) and bool(runs[0].alone) == bool(why)


def test_auto_trains_small_models_at_once(session: Session, tmp_path: Path) -> None:
    assert conduct.at_once(asked("trainer.epochs=20")) == AT_ONCE
    runs = trained(tmp_path, asked("trainer.epochs=20"), todo(1))
    assert [run.together for run in runs] == [len(runs)] * len(runs)
