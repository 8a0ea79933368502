"""Optuna's storage on a server: its most frequent calls as one statement each.

Optuna reads a trial before each of its writes. Beside a busy server those readings are most of what
a claim costs, and while it lasts, all other workers wait.
"""

import copy
import json
import threading
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from datetime import timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import literal, orm, select
from sqlalchemy.dialects.postgresql import insert

OPEN = (TrialState.RUNNING, TrialState.WAITING)
PARTS: dict[str, Any] = {
    "params": models.TrialParamModel,
    "values": models.TrialValueModel,
    "user_attributes": models.TrialUserAttributeModel,
    "system_attributes": models.TrialSystemAttributeModel,
    "intermediate_values": models.TrialIntermediateValueModel,
}
distribution_of = lru_cache(json_to_distribution)
MANY = 1000  # trials that aren't named one by one in a question


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

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """The trials with these numbers or later ones; of rows instead of objects.

        Every claim asks for all that run, of which there are as many as workers.
        """
        trials = models.TrialModel.__table__.c
        later = trials.trial_id > trial_id_greater_than
        wanted = (trials.study_id == study_id) & (later | trials.trial_id.in_(included_trial_ids))
        if states is not None:
            assert isinstance(states, Iterable)
            wanted &= trials.state.in_(states)
        with _create_scoped_session(self.scoped_session) as session:
            rows = session.execute(select(*trials).where(wanted).order_by(trials.trial_id)).all()
            few = len(rows) < MANY
            ids = [row.trial_id for row in rows] if few else select(trials.trial_id).where(wanted)
            parts = {name: _by_trial(session, model, ids) for name, model in PARTS.items()}
        return [self._frozen(row, parts) for row in rows]

    def _frozen(self, row: Any, parts: dict[str, defaultdict[int, list[Any]]]) -> FrozenTrial:
        """A trial from its row and the rows of its parts."""
        of = {name: part[row.trial_id] for name, part in parts.items()}
        params = sorted(of["params"], key=attrgetter("param_id"))
        spaces = {param.param_name: distribution_of(param.distribution_json) for param in params}
        value, report = models.TrialValueModel, models.TrialIntermediateValueModel
        return FrozenTrial(
            number=row.number,
            state=row.state,
            value=None,
            values=[
                value.stored_repr_to_value(each.value, each.value_type)
                for each in sorted(of["values"], key=attrgetter("objective"))
            ]
            or None,
            datetime_start=row.datetime_start,
            datetime_complete=row.datetime_complete,
            params={
                param.param_name: spaces[param.param_name].to_external_repr(param.param_value)
                for param in params
            },
            distributions=spaces,
            user_attrs={each.key: json.loads(each.value_json) for each in of["user_attributes"]},
            system_attrs={
                each.key: json.loads(each.value_json) for each in of["system_attributes"]
            },
            intermediate_values={
                each.step: report.stored_repr_to_intermediate_value(
                    each.intermediate_value, each.intermediate_value_type
                )
                for each in of["intermediate_values"]
            },
            trial_id=row.trial_id,
        )

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        trials, beats = models.TrialModel, models.TrialHeartbeatModel
        silence = sqlalchemy.func.now() - timedelta(seconds=self.grace_period or 0)
        stale = select(trials.trial_id).where(
            trials.study_id == study_id, trials.state == TrialState.RUNNING,
            beats.trial_id == trials.trial_id, beats.heartbeat < silence,
        )  # fmt: skip
        with _create_scoped_session(self.scoped_session) as session:
            return [*session.scalars(stale)]

    def _set_trial_attr_without_commit(
        self,
        session: orm.Session,
        model_cls: type[models.TrialUserAttributeModel | models.TrialSystemAttributeModel],
        trial_id: int,
        key: str,
        value: Any,
    ) -> None:
        self.made.trial = None
        session.flush()
        row = {"key": key, "value_json": json.dumps(value)}
        self._insert(session, model_cls, trial_id, row, "key")

    def set_trial_user_attrs(self, trial_id: int, attributes: Mapping[str, Any]) -> None:
        """Set several attributes at once.

        Raises:
            UpdateFinishedTrialError: the trial has ended.
        """
        table, self.made.trial = models.TrialUserAttributeModel.__table__, None
        rows = [
            {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
            for key, value in attributes.items()
        ]
        with _create_scoped_session(self.scoped_session) as session:
            state = select(models.TrialModel.state).where(models.TrialModel.trial_id == trial_id)
            self.check_trial_is_updatable(trial_id, session.execute(state).scalar_one())
            statement = insert(table).values(rows)
            update = {"value_json": statement.excluded.value_json}
            session.execute(
                statement.on_conflict_do_update(index_elements=["trial_id", "key"], set_=update)
            )

    def record_heartbeat(self, trial_id: int) -> None:
        now = sqlalchemy.func.now()
        statement = insert(models.TrialHeartbeatModel.__table__).values(
            trial_id=trial_id, heartbeat=now
        )
        with _create_scoped_session(self.scoped_session) as session:
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=["trial_id"], set_={"heartbeat": now}
                )
            )

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
        session.flush()
        self._insert(session, models.TrialParamModel, trial_id, row, "param_name")

    def _insert(
        self, session: orm.Session, model: Any, trial_id: int, row: Mapping[str, Any], key: str
    ) -> None:
        """Write a row of a trial that hasn't ended, in place of an older one.

        Raises:
            UpdateFinishedTrialError: it has ended.
        """
        trial, table = models.TrialModel, model.__table__
        of = select(trial.trial_id, *map(literal, row.values())).where(
            trial.trial_id == trial_id, trial.state.in_(OPEN)
        )
        statement = insert(table).from_select(["trial_id", *row], of)
        update = {name: statement.excluded[name] for name in row if name != key}
        written = statement.on_conflict_do_update(index_elements=["trial_id", key], set_=update)
        if session.execute(written.returning(table.c.trial_id)).first() is None:
            raise optuna.exceptions.UpdateFinishedTrialError(f"trial {trial_id} has ended")


def _by_trial(session: orm.Session, model: Any, ids: Any) -> defaultdict[int, list[Any]]:
    """The rows of a table that belong to trials, by trial."""
    columns, rows = model.__table__.c, defaultdict(list)
    for row in session.execute(select(*columns).where(columns.trial_id.in_(ids))):
        rows[row.trial_id].append(row)
    return rows
