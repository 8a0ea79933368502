"""How a run that is a trial reports to its study, and learns that it should stop."""

from collections.abc import Mapping
from typing import Any

import optuna
import sqlalchemy
from omegaconf import DictConfig

from src.config import Config, build
from src.sweeping.storage import absolute, open_storage


class TrialReport:
    """Reports the objective at each evaluation and asks the pruner.

    Args:
        sweeper: the job's `hydra.sweeper` node, which names the database and the study.
        config: of the run; `config.trial` is the trial's number.
    """

    def __init__(self, sweeper: DictConfig, config: Config) -> None:
        assert config.trial is not None
        self.metric = config.objective.metric
        self.storage = open_storage(absolute(sweeper.storage), sweeper.lease_seconds)
        pruner = build("pruner", config.pruner, optuna.pruners.BasePruner)
        self.study = optuna.load_study(
            study_name=sweeper.study_name, storage=self.storage, pruner=pruner
        )
        study_id = self.study._study_id
        self.trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, config.trial)
        self.rows = 0

    def should_prune(self, row: Mapping[str, Any]) -> bool:
        """Report a row; a database that is away costs the report, never the run."""
        self.rows += 1
        try:
            self.storage.set_trial_intermediate_value(self.trial_id, self.rows, row[self.metric])
            trial = self.storage.get_trial(self.trial_id)
            return self.study.pruner.prune(self.study, trial)
        except (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError):
            return False
