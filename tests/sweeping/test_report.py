"""How a trial reports to its study, and when it is told to stop."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from src.config import parse
from src.sweeping import study as study_module
from src.sweeping.report import TrialReport
from src.sweeping.storage import absolute
from src.sweeping.study import DIED, Outcome
from src.targets import build
from tests.helpers import composed
from tests.sweeping.conftest import open_study

MEDIAN = {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 0}
HALVING = {"_target_": "optuna.pruners.SuccessiveHalvingPruner", "min_resource": 1,
           "reduction_factor": 2}  # fmt: skip


class Ladder:
    """Trials of a study, each run with given values; to maximize, the values are mirrored."""

    def __init__(
        self, url: str, folder: Path, pruner: dict[str, Any], direction: str = "minimize"
    ) -> None:
        self.folder, self.pruner = folder, pruner
        self.sign = -1 if direction == "maximize" else 1
        built = build("pruner", pruner, optuna.pruners.BasePruner)
        self.study = open_study(url, 99, direction=direction, pruner=built)

    def run(self, *curve: float, dies: bool = False) -> int | None:
        """The row, from 1, at which the trial is told to stop; None if it is never."""
        trial = self.study.next_trial()
        assert trial is not None
        folder = self.folder / f"trial-{trial.number}"
        folder.mkdir()
        config = parse(composed("objective.metric=val_accuracy"))
        config = config.model_copy(update={"trial": trial.number, "pruner": self.pruner})
        report = TrialReport(self.study, trial, config, folder)
        for number, value in enumerate(curve, 1):
            if report.should_prune({"val_loss": 77.0, "val_accuracy": self.sign * value}):
                self.study.finish(trial, Outcome(TrialState.PRUNED, None, {"status": "pruned"}))
                return number
        if dies:
            self.study._give_up(self.study.trials()[trial.number], DIED)
        else:
            self.study.finish(trial, Outcome(TrialState.COMPLETE, self.sign * curve[-1], {}))
        return None


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_trial_worse_than_the_median_is_stopped(url: str, tmp_path: Path, direction: str) -> None:
    """By the study's metric and in its direction, at the first row where it is worse."""
    ladder = Ladder(url, tmp_path, MEDIAN, direction)
    curves = [(0.6, 0.5, 0.4), (0.8, 0.7, 0.6), (0.7, 0.61, 0.49), (0.4, 0.3, 0.2)]
    stopped = [ladder.run(*curve) for curve in curves]
    assert stopped == [None, None, 2, None]  # the medians are 0.7, 0.6 and 0.5
    reported = [one.intermediate_values for one in ladder.study.trials()]
    sign = -1 if direction == "maximize" else 1
    assert reported[0] == {1: sign * 0.6, 2: sign * 0.5, 3: sign * 0.4}
    assert reported[2] == {1: sign * 0.7, 2: sign * 0.61}


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_trial_that_died_competes_once(url: str, tmp_path: Path, direction: str) -> None:
    """Of n trials the n // 2 best go on: 0.45 is the second of four, but would be third of five."""
    ladder = Ladder(url, tmp_path, HALVING, direction)
    assert ladder.run(0.6) is None
    ladder.run(0.4, dies=True)
    assert ladder.run(0.4) is None
    assert ladder.run(0.5) == 1
    assert ladder.run(0.45) is None


def test_a_trial_names_its_study_without_the_password(tmp_path: Path, url: str) -> None:
    study = open_study(url)
    trial = study.next_trial()
    assert trial is not None
    study.url = absolute("postgresql://me:secret@host/db")
    TrialReport(study, trial, parse(composed()), tmp_path)
    assert json.loads((tmp_path / "trial.json").read_text()) == {
        "storage": "postgresql+psycopg://me:***@host/db",
        "study": "test",
        "trial": 0,
    }


def test_a_database_that_is_away_delays_the_report_and_not_the_run(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder = Ladder(url, tmp_path, MEDIAN)
    storage, real = ladder.study.storage, ladder.study.storage.set_trial_intermediate_values

    def away_at_two(trial_id: int, values: Mapping[int, float]) -> None:
        if [*values] == [2]:
            raise optuna.exceptions.StorageInternalError("gone")
        real(trial_id, values)

    monkeypatch.setattr(storage, "set_trial_intermediate_values", away_at_two)
    assert ladder.run(0.6, 0.5, 0.4) is None
    assert ladder.study.trials()[0].intermediate_values == {1: 0.6, 2: 0.5, 3: 0.4}


@pytest.mark.parametrize("at_once", [True, False])
def test_reports_wait_for_each_other_or_the_end(
    url: str, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """Where no pruner reads them, one write in a second is enough."""
    study, clock = open_study(url), [100.0]
    monkeypatch.setattr(study_module.time, "monotonic", lambda: clock[0])
    trial = study.next_trial()
    assert trial is not None
    seen = []
    for step, passed in ((1, 0.0), (2, 0.9), (3, 0.2), (4, 0.5)):
        clock[0] += passed
        study.report(trial, step, step / 10, at_once=at_once)
        seen.append(len(study.trials()[0].intermediate_values))
    study.finish(trial, Outcome(TrialState.PRUNED, None, {"status": "pruned"}))
    ended = study.trials()[0]
    assert seen == ([1, 2, 3, 4] if at_once else [0, 0, 3, 3])
    assert ended.intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4} and ended.value == 0.4
    assert study.reports == {}


def test_reports_wait_only_where_no_pruner_reads_them(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, pruner in enumerate((MEDIAN, {"_target_": "optuna.pruners.NopPruner"})):
        ladder, asked = Ladder(f"{url}{number}", tmp_path / str(number), pruner), list[bool]()
        ladder.folder.mkdir()
        monkeypatch.setattr(
            ladder.study, "report", lambda *_, at_once, asked=asked: asked.append(at_once)
        )
        ladder.run(0.6, 0.5)
        assert asked == [pruner is MEDIAN] * 2
