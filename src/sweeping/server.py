"""Optuna's storage on a server: its most frequent calls as one statement each.

Optuna reads a trial before each of its writes. Beside a busy server those readings are most of what
a claim costs, and while it lasts, all other workers wait.
"""

import copy
import json
import threading
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import literal, orm, select
from sqlalchemy.dialects.postgresql import insert

OPEN = (TrialState.RUNNING, TrialState.WAITING)


class ServerStorage(optuna.storages.RDBStorage):
    """The same tables and the same contents as Optuna's."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.made = threading.local()  # the trial that a thread made last

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        trial = super()._create_new_trial(study_id, template_trial)
        self.made.trial = copy.deepcopy(trial)
        return trial

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The trial; one that this thread has made just now is known without a question."""
        made: FrozenTrial | None = getattr(self.made, "trial", None)
        self.made.trial = None
        if made is not None and made._trial_id == trial_id:
            return made
        return super().get_trial(trial_id)

    def _set_trial_attr_without_commit(
        self,
        session: orm.Session,
        model_cls: type[models.TrialUserAttributeModel | models.TrialSystemAttributeModel],
        trial_id: int,
        key: str,
        value: Any,
    ) -> None:
        self.made.trial = None
        row = {"key": key, "value_json": json.dumps(value)}
        self._insert(session, model_cls, trial_id, row, ["trial_id", "key"])

    def _set_trial_param_without_commit(
        self,
        session: orm.Session,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        self.made.trial = None
        if previous_distribution is None:
            super()._set_trial_param_without_commit(
                session, trial_id, param_name, param_value_internal, distribution, None
            )
            return
        check_distribution_compatibility(previous_distribution, distribution)
        row = {
            "param_name": param_name,
            "param_value": param_value_internal,
            "distribution_json": distribution_to_json(distribution),
        }
        self._insert(session, models.TrialParamModel, trial_id, row, ["trial_id", "param_name"])

    def _insert(
        self, session: orm.Session, model: Any, trial_id: int, row: dict[str, Any], key: list[str]
    ) -> None:
        """Write a row of a trial that hasn't ended, in place of an older one.

        Raises:
            UpdateFinishedTrialError: it has ended.
        """
        session.flush()
        trial = models.TrialModel
        of = select(trial.trial_id, *map(literal, row.values())).where(
            trial.trial_id == trial_id, trial.state.in_(OPEN)
        )
        table = model.__table__
        statement = insert(table).from_select(["trial_id", *row], of)
        values = {name: statement.excluded[name] for name in row if name not in key}
        done = session.execute(
            statement.on_conflict_do_update(index_elements=key, set_=values).returning(
                table.c.trial_id
            )
        )
        if done.first() is None:
            raise optuna.exceptions.UpdateFinishedTrialError(f"trial {trial_id} has ended")
