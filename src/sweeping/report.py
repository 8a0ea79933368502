"""Reports of a trial's run to its study, which may stop the run."""

import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, Trial, TrialState

from src.config import Config
from src.sweeping.storage import shown
from src.sweeping.study import SharedStudy, View
from src.targets import build


class TrialReport:
    """Reports the objective at each evaluation and asks the pruner.

    Args:
        shared: the study.
        trial: one of its trials.
        config: of the run.
        folder: of the run; its `trial.json` names the trial, as the trial names the folder.
    """

    def __init__(self, shared: SharedStudy, trial: Trial, config: Config, folder: Path) -> None:
        names = {"storage": shown(shared.url), "study": shared.name, "trial": trial.number}
        (folder / "trial.json").write_text(json.dumps(names) + "\n")
        self.shared, self.trial = shared, trial
        self.metric, self.trial_id = config.objective.metric, trial._trial_id
        # Each trial has a new pruner: a kill would lose what a pruner remembers of a trial.
        pruner = build("pruner", config.pruner, optuna.pruners.BasePruner)
        self.study = _Ladder(shared.study, pruner=pruner)
        self.rows = 0

    def should_prune(self, row: Mapping[str, Any]) -> bool:
        """Report a row; a database that is away costs the report, never the run."""
        self.rows += 1
        none = isinstance(self.study.pruner, optuna.pruners.NopPruner)
        try:
            self.shared.report(self.trial, self.rows, row[self.metric], at_once=not none)
            if none:
                return False  # without reading the trial back
            trial = self.shared.storage.get_trial(self.trial_id)
            return self.study.pruner.prune(self.study, trial)
        except (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError):
            return False


class _Ladder(View):
    """A study without failed trials: a trial that died is run again, and must compete once."""

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = super().get_trials(deepcopy, states)
        return [trial for trial in trials if trial.state is not TrialState.FAIL]
