"""The runs on fresh seeds: which they are, how each is trained, what is kept and used again."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.comparing import conduct
from src.comparing.conduct import Job, OtherProcesses, jobs, train
from src.comparing.ledger import Ledger
from src.comparing.protocol import Plan, plan
from src.comparing.record import Run, Search, Trial
from src.comparing.sequential import Need
from src.composing import register
from tests.comparing.conftest import made_plan
from tests.helpers import Session, result, rows

OVERRIDES = ("methods=[sgd,adam]", "model=logreg", "trainer.epochs=2", "trainer.threads=1")
JOB = Job("sgd", "tuned", 0, 1000, {"optimizer.lr": 0.5})


@pytest.fixture(scope="module")
def asked() -> Plan:
    register()
    return plan(OVERRIDES)


@pytest.fixture
def counted(session: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The folders of the runs that were trained, one after another."""
    trained: list[Path] = []

    def run(config: Any, snapshot: str, place: Path, **settings: Any) -> Any:
        trained.append(place)
        return real(config, snapshot, place, **settings)

    real = conduct.run
    monkeypatch.setattr(conduct, "run", run)
    yield trained


Train = Callable[..., Run]


@pytest.fixture
def trained(counted: list[Path], tmp_path: Path, asked: Plan) -> Train:
    """Carries a job out in a folder of the test's own."""

    def call(job: Job = JOB, made: Plan = asked) -> Run:
        return train(made, job, tmp_path, Ledger(tmp_path))

    return call


def test_jobs_take_turns() -> None:
    """Seed by seed: the winner of each search, then each method's defaults."""
    trials = [
        Trial(number=0, state="complete", cost=cost, params={"lr": cost}) for cost in (3.0, 1.0)
    ]
    pruned = Trial(number=1, state="pruned", cost=None, params={"lr": 0.0})
    searches = [
        Search(method=method, search=search, trials=[pruned, *trials])
        for search in (0, 1) for method in ("a", "b")
    ]  # fmt: skip
    asked = made_plan(methods=("a", "b"), seeds=2, searches=2, first_seed=300)
    made = jobs(asked, searches, Need(("a", "b"), 2, 2))
    best = {"lr": 1.0}
    turn = [("a", "tuned", 0, best), ("b", "tuned", 0, best), ("a", "tuned", 1, best),
            ("b", "tuned", 1, best), ("a", "default", 0, {}), ("b", "default", 0, {})]  # fmt: skip
    assert [(one.method, one.kind, one.search, one.params) for one in made] == turn * 2
    assert [one.seed for one in made] == [300] * 6 + [301] * 6
    assert len({one.folder_name for one in made}) == 12
    later = jobs(asked, searches, Need(("b",), 1, 3), first=False)  # who is open, on more seeds
    assert [(one.method, one.kind, one.search, one.seed) for one in later] == [
        ("b", "tuned", 0, seed) for seed in (300, 301, 302)
    ]


def test_what_a_run_is_told_and_what_is_kept(
    trained: Train, counted: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It shows nothing and leaves no checkpoint; that the test set was seen is noted."""
    row = trained()
    (place,) = counted
    assert capsys.readouterr().out == "" and not (place / "checkpoints").exists()
    (note,) = Ledger(tmp_path).read()
    assert (note.event, note.detail) == (
        "test set evaluated", "sgd-tuned-0-seed-1000, once, at its end"
    )  # fmt: skip
    config = (place / "config.yaml").read_text()
    assert "lr: 0.5\n" in config
    assert "seed: 1000\n" in config
    recorded, curve = result(place), rows(place)
    assert recorded["seed"] == 1000
    assert recorded["at_end"].keys() == {"test_loss", "test_accuracy"}
    assert recorded["steps"] == row.steps > 0
    assert (row.method, row.kind, row.search, row.seed) == ("sgd", "tuned", 0, 1000)
    assert row.params == {"optimizer.lr": 0.5}
    assert row.value == row.test_loss == recorded["at_end"]["test_loss"]
    assert row.test_accuracy == recorded["at_end"]["test_accuracy"]
    assert row.train_seconds == recorded["train_seconds"]
    assert (row.status, row.folder) == ("completed", str(place))
    names = ("step", "samples", "train_seconds", "val_loss", "val_accuracy")
    assert row.rows == [{name: one[name] for name in names} for one in curve]
    assert len(curve) > 1
    git = json.loads((place / "provenance.json").read_text())["git"]
    commit = git["commit"] + (" and changes" if git["dirty"] else "")
    assert row.commit == commit


def test_defaults_are_the_methods_own(trained: Train, counted: list[Path], asked: Plan) -> None:
    trained(Job("adam", "default", 0, 1001, {}))
    lr = asked.configs["adam"].optimizer.lr
    assert f"lr: {lr}\n" in (counted[0] / "config.yaml").read_text()


def test_all_sets_that_were_asked_for_are_measured(trained: Train, counted: list[Path]) -> None:
    """... at the end: those of the trainer, the test set, and that of the verdict's metric."""
    more = ("trainer.evaluate_at_end=[train]", "protocol.metric=val_accuracy")
    row = trained(JOB, plan([*OVERRIDES, *more]))
    measured = result(counted[0])["at_end"]
    assert {name.split("_")[0] for name in measured} == {"train", "val", "test"}
    assert {name: row.of(name) for name in measured} == measured
    assert row.value == measured["val_accuracy"]


def test_it_is_the_last_row_that_counts(trained: Train, counted: list[Path]) -> None:
    """At this rate the loss rises in the end; the verdict's number is that of the last weights."""
    by_val = plan([*OVERRIDES, "protocol.metric=val_loss", "trainer.evaluate_every=300"])
    row = trained(replace(JOB, seed=1002, params={"optimizer.lr": 3.0}), by_val)
    losses = [one["val_loss"] for one in rows(counted[0])]
    assert losses[-1] > 1.05 * min(losses)
    assert row.value == row.of("val_loss") == pytest.approx(losses[-1])
    assert result(counted[0])["objective"]["value"] == pytest.approx(losses[-1])


def test_a_run_that_diverged_has_no_values(trained: Train) -> None:
    row = trained(replace(JOB, params={"optimizer.lr": 1e38}))
    assert row.status == "diverged"
    assert {row.value, row.test_loss, row.test_accuracy} == {None}
    assert row.rows


def test_a_run_is_used_again(trained: Train, counted: list[Path], tmp_path: Path) -> None:
    """... and its look at the test set is noted once."""
    first = trained()
    assert trained() == first
    elsewhere = plan([*OVERRIDES, "+data.root=/elsewhere", "logger=tensorboard"])
    assert trained(JOB, elsewhere) == first
    assert len(counted) == 1
    notes = [(one.event, one.detail) for one in Ledger(tmp_path).read()]
    assert notes == [("test set evaluated", "sgd-tuned-0-seed-1000, once, at its end")]


@pytest.mark.parametrize("change", ["trainer.epochs=1", "optimizer.weight_decay=0.1",
                                    "data.split_seed=7", "protocol.metric=val_loss"])  # fmt: skip
def test_a_run_of_another_config_is_not_used(
    trained: Train, counted: list[Path], change: str
) -> None:
    trained()
    other = plan([*OVERRIDES, change])
    row = trained(JOB, other)
    assert len(counted) == 2
    assert (row.steps < result(counted[0])["steps"]) is False
    assert trained(JOB, other) == row
    assert len(counted) == 2


def test_a_run_of_another_winner_is_not_used(trained: Train, counted: list[Path]) -> None:
    """Of the same folder: the search went on and found a better one."""
    first = trained()
    second = trained(replace(JOB, params={"optimizer.lr": 0.25}))
    assert len(counted) == 2
    assert second.params == {"optimizer.lr": 0.25}
    assert second.value != first.value
    assert "lr: 0.25\n" in (counted[0] / "config.yaml").read_text()


def test_an_interrupted_run_is_not_used(trained: Train, counted: list[Path]) -> None:
    """Nor anything else that it left in its folder."""
    first = trained()
    place = counted[0] / "result.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "status": "interrupted"}))
    (counted[0] / "left").touch()
    again = trained()
    assert len(counted) == 2
    assert (again.value, again.status) == (first.value, "completed")
    assert not (counted[0] / "left").exists()


@pytest.mark.parametrize(
    ("share", "idle"), [("0.09", True), ("0.11", False), (None, False), ("0.1", False)]
)
def test_a_tenth_of_the_processors(
    trained: Train, counted: list[Path], share: str | None, idle: bool
) -> None:
    """Where nobody knows who else was at work, the seconds don't count."""
    trained()
    place = counted[0] / "others.json"
    assert 0 <= float(place.read_text()) <= 1
    place.write_text(share) if share else place.unlink()
    assert trained().idle is idle
    assert len(counted) == 1


def test_what_others_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 seconds of all processors 20 were idle, 10 waited, 40 were ours: 30 are others'.

    Time of guests is counted a second time by the system.
    """
    base = {"user": 10.0, "system": 10.0, "idle": 50.0, "iowait": 5.0, "guest": 10.0}
    later = {"user": 50.0, "system": 40.0, "idle": 70.0, "iowait": 15.0, "guest": 40.0}
    soon = {**base, "user": 10.125, "idle": 50.375}
    machine = [base, later, base, soon, base, base]
    ours = [(1.0, 1.0), (31.0, 11.0), *[(1.0, 1.0)] * 4]

    class Process:
        def cpu_times(self) -> Any:
            return SimpleNamespace(**dict(zip(("user", "system"), ours.pop(0), strict=True)))

    def cpu_times() -> Any:
        times = machine.pop(0)
        return SimpleNamespace(_asdict=lambda: times)

    monkeypatch.setattr(conduct, "psutil", SimpleNamespace(cpu_times=cpu_times, Process=Process))
    assert OtherProcesses().share() == pytest.approx(0.3)
    assert OtherProcesses().share() == 0.25, "half a second counts as well"
    assert OtherProcesses().share() == 0, "the clock stood still"


def test_a_key_of_ones_own_is_told_to_the_run(asked: Plan) -> None:
    """A dimension may be one that no file names."""
    job = Job("sgd", "tuned", 0, 1000, {"optimizer.mine.x": 3})
    config, _ = asked.filled("sgd", conduct._values(asked, job))
    assert config.optimizer["mine"] == {"x": 3}
    assert "mine" not in asked.configs["sgd"].optimizer


@pytest.mark.parametrize(
    ("status", "measured", "kept"),
    [
        ("completed", {"test_loss": 0.5, "test_accuracy": 0.9}, 0.5),
        ("diverged", {"test_loss": 0.5, "test_accuracy": 0.9}, None),
        ("completed", {"test_loss": None, "test_accuracy": 0.9}, None),
    ],
)
def test_a_run_that_diverged_has_no_value(
    tmp_path: Path, asked: Plan, status: str, measured: dict[str, Any], kept: float | None
) -> None:
    """Nor an accuracy, which would mean nothing; its weights may have gone in the end only."""
    left = {"status": status, "at_end": measured, "steps": 3, "train_seconds": 1.0}
    (tmp_path / "result.json").write_text(json.dumps(left))
    (tmp_path / "provenance.json").write_text("{}")
    row = conduct._read(asked, JOB, tmp_path)
    assert row.value == row.test_loss == kept
    assert row.test_accuracy == (0.9 if kept else None)
    assert row.status == ("completed" if kept else "diverged")


def test_a_run_of_another_comparison_is_copied(
    counted: list[Path], tmp_path: Path, asked: Plan
) -> None:
    """It is the same run, so it isn't trained again; a run of other settings is."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second, tmp_path / "third"):
        folder.mkdir()
        (folder / "protocol.json").write_text("{}")
    row = train(asked, JOB, first, Ledger(first))
    again = train(asked, JOB, second, Ledger(second))
    assert len(counted) == 1
    assert again.value == row.value
    assert Path(again.folder).parent.parent == second
    longer = plan([*OVERRIDES, "trainer.epochs=1"])
    train(longer, JOB, tmp_path / "third", Ledger(tmp_path))
    assert len(counted) == 2
