"""What a sweep shows: states, times, tables, reasons."""

import re
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from src.composing import register
from src.config import CONF, job_config
from src.console import stdout
from src.metrics import Direction
from src.sweeping import DEFAULT_STORAGE, progress
from src.sweeping.progress import (
    SweepProgress,
    best_trial,
    ranked,
    summary,
    top_table,
)
from src.sweeping.storage import absolute
from src.sweeping.study import DIED, INTERRUPTED
from tests.sweeping.conftest import tally_of

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


def numbered(*trials: FrozenTrial) -> list[FrozenTrial]:
    for number, trial in enumerate(trials):
        trial.number = number
    return [*trials]


def some(*values: float) -> list[FrozenTrial]:
    return numbered(*(create_trial(value=value) for value in values))


@given(st.lists(st.integers(-3, 3), max_size=8))
def test_ranks_are_of_the_value_and_then_of_the_number(values: list[int]) -> None:
    trials = some(*values)
    for direction, sign in ((Direction.MINIMIZE, 1), (Direction.MAXIMIZE, -1)):
        order = sorted(range(len(values)), key=lambda at: (sign * values[at], at))
        assert [one.number for one in ranked(trials, direction)] == order
        best = best_trial(trials, direction)
        assert (best.number if best else None) == (order[0] if order else None)


def test_only_complete_trials_are_ranked() -> None:
    pruned = create_trial(state=PRUNED, intermediate_values={1: -9.0})
    pruned.value = -9.0  # as the database tells it, the last that it reported
    trials = numbered(pruned, create_trial(value=1.0), create_trial(state=FAIL))
    assert [one.number for one in ranked(trials, Direction.MINIMIZE)] == [1]
    assert best_trial(trials[:1], Direction.MINIMIZE) is None


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (["x" * 100], "1 trial: 1 " + "x" * 100),
        (["x" * 101], "1 trial: 1 " + "x" * 100 + " …"),
        (["size 3 of 4", "size 3 of 5"], "2 trials: 2 size 3 of …"),
        (["3 is odd", "5 is odd"], "2 trials: 2 3 is odd"),
        (["a", "b", "c", "d", "e", "e"], "6 trials: 2 e, 1 a, 1 b, 2 of other reasons"),
        (["a", "b", "c"], "3 trials: 1 a, 1 b, 1 c"),
    ],
)
def test_reasons_are_short(reasons: list[str], said: str) -> None:
    failed = [create_trial(state=FAIL, user_attrs={"reason": one}) for one in reasons]
    assert summary(failed) == said


def lines(table: Any, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    capsys.readouterr()
    stdout().print(table)
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_the_table_of_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    space: Any = {
        "optimizer.lr": FloatDistribution(0, 1),
        "n": IntDistribution(1, 10**6),
        "act": CategoricalDistribution(["relu", "tanh"]),
    }
    trials = numbered(
        *(
            create_trial(
                value=value,
                params={"optimizer.lr": 0.123456, "n": 123456, "act": "tanh"},
                distributions=space,
                user_attrs={"seconds": 61.25} if value > 0.3 else {},
            )
            for value in (0.5, 0.123456789, 0.25, 0.75, 0.625, 0.875)
        )
    )
    table = lines(top_table(trials, Direction.MINIMIZE, 3), capsys)
    assert table[0] == ["trial", "value", "optimizer.lr", "n", "act", "seconds"]
    assert table[1] == ["1", "0.12346", "0.1235", "123456", "tanh", "nan"]
    assert table[2][:2] == ["2", "0.25"] and table[3] == [
        "0", "0.5", "0.1235", "123456", "tanh", "61.2",
    ]  # fmt: skip
    assert len(table) == 4
    backwards = lines(top_table(trials, Direction.MAXIMIZE), capsys)[1:]
    assert [line[0] for line in backwards] == list("53402")
    assert lines(top_table([], Direction.MINIMIZE), capsys) == [["trial", "value", "seconds"]]


def shown(n_trials: int, *trials: FrozenTrial, direction: str = "minimize") -> Any:
    """A study of these trials, which the reader of progress may lengthen."""
    kept, way = [*trials], Direction(direction)
    return SimpleNamespace(
        trials=lambda: numbered(*kept),
        tally=lambda: tally_of(kept, way, looks=False),
        n_trials=n_trials,
        direction=way,
        kept=kept,
    )


def test_a_line_for_each_trial_that_ended_since(capsys: pytest.CaptureFixture[str]) -> None:
    space: Any = {"optimizer.lr": FloatDistribution(0, 1), "k": IntDistribution(0, 9)}
    point: Any = {"params": {"optimizer.lr": 0.123456, "k": 3}, "distributions": space}
    before = create_trial(value=0.5, user_attrs={"status": "completed"})
    running = create_trial(state=TrialState.RUNNING)
    study = shown(9, before, running, direction="maximize")
    with SweepProgress(study) as bar:
        bar.update()
        assert capsys.readouterr().out == "" and bar.counted == 1
        study.kept[1] = create_trial(value=0.7654321, user_attrs={"status": "completed"}, **point)
        study.kept += [
            create_trial(state=PRUNED, user_attrs={"status": "pruned"}),
            create_trial(state=PRUNED, user_attrs={"status": "diverged"}),
            create_trial(
                state=PRUNED, user_attrs={"status": "failed", "reason": "x" * 70 + "y" * 20}
            ),
            create_trial(state=FAIL, user_attrs={"reason": DIED}),
            create_trial(state=FAIL, user_attrs={"reason": INTERRUPTED}),
            create_trial(state=FAIL, user_attrs={"status": "failed", "reason": "a bug"}),
            create_trial(state=TrialState.WAITING),
        ]
        for trial in study.kept:
            trial.datetime_start = None
        bar.update()
        told = capsys.readouterr().out.splitlines()
        bar.update()
        assert capsys.readouterr().out == "", "each is told once"
    state = "  | 5/9 (2 pruned, 2 failed), best 0.7654"
    assert told == [
        f"trial 1 completed 0.76543  lr=0.1235 k=3{state}",
        f"trial 2 pruned  {state}",
        f"trial 3 diverged  {state}",
        f"trial 4 failed ({'x' * 70 + 'y' * 10})  {state}",
        f"trial 5 {DIED}  {state}",
        f"trial 6 {INTERRUPTED}  {state}",
        f"trial 7 failed (a bug)  {state}",
    ]
    assert bar.counted == 5


def test_a_terminal_shows_a_bar_and_no_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    study = shown(7, create_trial(value=0.5))
    with SweepProgress(study) as bar:
        study.kept += [create_trial(value=0.25), create_trial(state=PRUNED)]
        for trial in study.kept:
            trial.datetime_start = None
        bar.update()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)
    assert re.search(r"trials \S+ 3/7 \(1 pruned, 0 failed\), best 0\.25", text)
    assert "trial 1" not in text


def test_quiet_progress_asks_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    study = shown(2, create_trial(value=1.0))
    with SweepProgress(study, quiet=True) as bar:
        bar.tally.read = lambda ids, after: pytest.fail("it asked")
        bar.update()
    assert capsys.readouterr().out == ""


def test_a_database_that_is_away_ends_no_progress() -> None:
    study = shown(2, create_trial(value=1.0))
    with SweepProgress(study) as bar:

        def away(ids: Iterable[int], after: int) -> list[FrozenTrial]:
            raise optuna.exceptions.StorageInternalError("gone")

        bar.tally.read = away
        bar.update()


@pytest.mark.parametrize(
    ("total", "left"),
    [(8, ", 60 s left"), (9, ", 80 s left"), (10, ", 2 min left"), (5, ""), (4, "")],
)
def test_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch, total: int, left: str) -> None:
    """Three trials ended in the minute since the first of them began: 20 s for each to come."""
    now = datetime(2026, 1, 1, 12)
    monkeypatch.setattr(progress, "datetime", SimpleNamespace(now=lambda: now))
    study = shown(total, create_trial(value=1.0), create_trial(state=PRUNED))
    with SweepProgress(study) as bar:
        bar.update()
        assert bar._time_left() == "", "nothing was seen to end"
        for state in (COMPLETE, PRUNED, COMPLETE, FAIL, TrialState.RUNNING):
            value = 1.0 if state is COMPLETE else None
            study.kept.append(create_trial(state=state, value=value))
        for trial, ago in zip(study.kept, (999, 999, 60, 40, 20, 10, 5), strict=True):
            trial.datetime_start = now - timedelta(seconds=ago)
        for _ in range(2):  # a second one changes nothing
            bar.update()
            assert bar._time_left() == left


def test_times_are_short_and_plain() -> None:
    texts = {0.4: "0 s", 12.6: "13 s", 90.0: "90 s", 91.0: "2 min", 3600.0: "60 min"}
    assert {seconds: progress.duration(seconds) for seconds in texts} == texts


def test_how_to_go_on_after_a_sweep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The study's name goes for its best only where experiments are looked for."""
    monkeypatch.setattr(progress, "OUTPUTS", tmp_path)
    monkeypatch.setattr(progress, "write_best", lambda best, composed, folder: folder / "best.yaml")
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.delenv("FAIRSTEP_OUTPUTS", raising=False)
    best = create_trial(
        value=0.123456789, user_attrs={"overrides": ["a=1"], "folder": "/f/trial-1"}
    )
    study = shown(2, create_trial(value=0.5), best)
    study.name, asked = "s", list[int]()
    ends = {
        "default": (absolute(DEFAULT_STORAGE), tmp_path / "sweeps" / "s"),
        "elsewhere": ("postgresql+psycopg://me:secret@host/db", tmp_path / "s"),
    }
    said = {}
    for name, (study.url, folder) in ends.items():
        progress.report_result(
            study, folder, lambda trial: asked.append(trial.number) or DictConfig({})
        )
        said[name] = capsys.readouterr().out.splitlines()[3:]
    assert asked == [1, 1]
    assert said["default"] == [
        "best: trial 1, 0.123457, in /f/trial-1",
        "train it:   python -m src.train a=1",
        "or:         python -m src.train experiment=s/best",
        f"as YAML:    {tmp_path}/sweeps/s/best.yaml",
        "look at it: python -m src.studies s",
        f"dashboard:  optuna-dashboard {absolute(DEFAULT_STORAGE)}",
    ]
    url = "postgresql+psycopg://me:***@host/db"
    assert said["elsewhere"] == [
        said["default"][0],
        said["default"][1],
        f"as YAML:    {tmp_path}/s/best.yaml",
        f"look at it: python -m src.studies s --storage '{url}'",
        f"dashboard:  optuna-dashboard '{url}'",
    ]


def test_the_best_configuration_is_whole(tmp_path: Path) -> None:
    """An experiment that says every value and chooses every group, whatever is chosen today."""
    register()
    overrides = ["sweeps=adam", "optimizer=torch/adam", "search.one_minus_beta1=0.25", "trial=4"]
    with initialize_config_dir(str(CONF)):
        config = compose("config", [*overrides, "model=logreg"], return_hydra_config=True)
    best = numbered(*some(*range(7)), create_trial(value=0.123456789))[7]
    place = progress.write_best(best, config, tmp_path / "new")
    text = place.read_text()
    assert place == tmp_path / "new" / "best.yaml" and "${" not in text
    assert text.splitlines()[:2] == ["# @package _global_", "# Trial 7: 0.123457."]
    written = yaml.safe_load(text)
    chosen = {key: value for one in written.pop("defaults") for key, value in one.items()}
    assert {key: value for key, value in chosen.items() if value} == {
        "override /data": "digits",
        "override /logger": "none",
        "override /loss": "cross_entropy",
        "override /model": "logreg",
        "override /scheduler": "constant",
        "override /trainer": "default",
    }
    assert chosen["override /optimizer"] is None, "torch/adam: its values are there"
    values = OmegaConf.to_container(job_config(config), resolve=True)
    assert isinstance(values, dict) and written == {
        key: value
        for key, value in values.items()
        if key not in ("trial", "search", "sampler", "pruner")
    }


def test_a_reason_with_signs_of_markup_is_shown_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = [create_trial(state=TrialState.FAIL, user_attrs={"reason": "got [bold]x[/bold]"})]
    study = SimpleNamespace(trials=lambda: trials, direction=Direction.MINIMIZE, name="s")
    progress.report_result(study, tmp_path, lambda trial: None)  # type: ignore[arg-type]
    out = capsys.readouterr().out
    assert "failed: 1 trial: 1 got [bold]x[/bold]" in out
    assert "study s: no trial was completed" in out


def test_the_best_configuration_makes_its_folder(tmp_path: Path) -> None:
    register()
    with initialize_config_dir(str(CONF)):
        config = compose("config", [], return_hydra_config=True)
    place = progress.write_best(create_trial(value=0.5), config, tmp_path / "a" / "b")
    assert place.is_file()


def test_nothing_counts_before_the_database_was_read() -> None:
    """It is away at first; workers are started again as long as trials begin to count."""
    study = shown(9, create_trial(value=0.5))
    bar = SweepProgress(study)
    real, outages = bar.tally.read, iter([True, True, False])

    def trials(ids: Iterable[int], after: int) -> Iterable[FrozenTrial]:
        if next(outages):
            raise OSError("away")
        return real(ids, after)

    bar.tally.read = trials
    for expected in (0, 0, 1):
        bar.update()
        assert bar.counted == expected
