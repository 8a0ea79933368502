"""How a run that is a trial reports to its study, and learns that it should stop."""

import json
from collections.abc import Container, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from omegaconf import DictConfig
from optuna.trial import FrozenTrial, TrialState

from src.config import Config
from src.sweeping.storage import absolute, open_storage, shown
from src.targets import build


class TrialReport:
    """Reports the objective at each evaluation and asks the pruner.

    Args:
        sweeper: the job's `hydra.sweeper` node, which names the database and the study.
        config: of the run; `config.trial` is the trial's number.
        folder: of the run; its `trial.json` names the trial, as the trial names the folder.
    """

    def __init__(self, sweeper: DictConfig, config: Config, folder: Path) -> None:
        url, name, number = absolute(sweeper.storage), str(sweeper.study_name), config.trial
        assert number is not None
        names = {"storage": shown(url), "study": name, "trial": number}
        (folder / "trial.json").write_text(json.dumps(names) + "\n")
        self.metric = config.objective.metric
        self.study = _study(url, name, sweeper.lease_seconds)
        self.study.pruner = build("pruner", config.pruner, optuna.pruners.BasePruner)
        self.trial_id = self.study._storage.get_trial_id_from_study_id_trial_number(
            self.study._study_id, number
        )
        self.rows = 0

    def should_prune(self, row: Mapping[str, Any]) -> bool:
        """Report a row; a database that is away costs the report, never the run."""
        self.rows += 1
        storage = self.study._storage
        try:
            storage.set_trial_intermediate_value(self.trial_id, self.rows, row[self.metric])
            if isinstance(self.study.pruner, optuna.pruners.NopPruner):
                return False  # without reading the trial back
            return self.study.pruner.prune(self.study, storage.get_trial(self.trial_id))
        except (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError):
            return False


class _Ladder(optuna.Study):
    """A study without its failed trials: one that died is run again, and competes once."""

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = super().get_trials(deepcopy, states)
        return [trial for trial in trials if trial.state is not TrialState.FAIL]


@lru_cache(maxsize=1)  # keeps the finished trials, which would be read anew for each trial
def _study(url: str, name: str, lease_seconds: int) -> optuna.Study:
    return _Ladder(study_name=name, storage=open_storage(url, lease_seconds))
