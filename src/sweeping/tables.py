"""Optuna's storage with its most frequent calls as one prepared statement each.

Optuna reads a trial, as objects, before each of its writes. Those readings are most of what a trial
costs beside its training; on a busy server all other workers wait meanwhile.
"""

import copy
import json
import threading
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
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
from sqlalchemy import bindparam, func, or_, orm, select
from sqlalchemy.dialects import postgresql, sqlite

INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
# The tables of what belongs to a trial, and the column that tells a trial's rows apart.
PARTS: dict[str, tuple[Any, str]] = {
    "params": (models.TrialParamModel, "param_name"),
    "values": (models.TrialValueModel, "objective"),
    "user_attributes": (models.TrialUserAttributeModel, "key"),
    "system_attributes": (models.TrialSystemAttributeModel, "key"),
    "intermediate_values": (models.TrialIntermediateValueModel, "step"),
    "heartbeats": (models.TrialHeartbeatModel, "trial_id"),
}
READ = tuple(PARTS)[:-1]  # what a trial consists of
CHUNK = 500  # trials that are read at once; SQLite takes 32,766 values in a question
distribution_of = lru_cache(json_to_distribution)

TRIALS = models.TrialModel.__table__.c
# `IN` can't be used where a statement is executed for many rows.
IS_OPEN = or_(TRIALS.state == TrialState.RUNNING, TRIALS.state == TrialState.WAITING)
OF_STUDY = select(*TRIALS).where(TRIALS.study_id == bindparam("study"))
LATER = OF_STUDY.where(TRIALS.trial_id > bindparam("after")).order_by(TRIALS.trial_id)
THESE = (
    select(*TRIALS)
    .where(TRIALS.trial_id.in_(bindparam("ids", expanding=True)))
    .order_by(TRIALS.trial_id)
)
ROWS = {
    name: select(*model.__table__.c).where(
        model.__table__.c.trial_id.in_(bindparam("ids", expanding=True))
    )
    for name, (model, _) in PARTS.items()
}
NOW = select(func.now())
END = (
    sqlalchemy.update(models.TrialModel.__table__)
    .where(TRIALS.trial_id == bindparam("id"), IS_OPEN)
    .values(state=bindparam("to"), datetime_complete=bindparam("at"))
)
START = (
    sqlalchemy.update(models.TrialModel.__table__)
    .where(TRIALS.trial_id == bindparam("id"), TRIALS.state == TrialState.WAITING)
    .values(state=TrialState.RUNNING, datetime_start=bindparam("at"))
)
# Of two that make a trial at once, another program included, both would get the same number.
HELD = (
    select(models.StudyModel.study_id)
    .where(models.StudyModel.study_id == bindparam("study"))
    .with_for_update()
)
COUNT = select(func.count(TRIALS.trial_id)).where(TRIALS.study_id == bindparam("study"))


class Storage(optuna.storages.RDBStorage):
    """The same tables and the same contents as Optuna's."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.made = threading.local()  # the trial that a thread made last
        insert = INSERT[self.engine.dialect.name]
        self.upserts = {name: _upsert(insert, *part) for name, part in PARTS.items()}
        self.told = {
            name: statement.returning(PARTS[name][0].__table__.c.trial_id)
            for name, statement in self.upserts.items()
        }
        self.create = _create(insert)

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        template = template_trial
        if template is None or template.datetime_start is None or not _is_new(template):
            return super()._create_new_trial(study_id, template)
        row = {"study": study_id, "at": _utc(template.datetime_start)}
        with _create_scoped_session(self.scoped_session) as session:
            if session.execute(HELD, {"study": study_id}).first() is None:
                raise KeyError(f"there is no study {study_id}")
            made = session.execute(self.create, row).one()
            self._write(session, "user_attributes", made.trial_id, *_rows(template.user_attrs))
        trial = copy.copy(template)
        trial.number, trial._trial_id = made.number, made.trial_id
        self.made.trial = copy.deepcopy(trial)
        return trial

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The trial; one that this thread has made just now is known without a question."""
        made: FrozenTrial | None = getattr(self.made, "trial", None)
        self.made.trial = None
        if made is not None and made._trial_id == trial_id:
            return made
        with _create_scoped_session(self.scoped_session) as session:
            found = [*self._read(session, session.execute(THESE, {"ids": [trial_id]}).all())]
        if not found:
            raise KeyError(f"there is no trial {trial_id}")
        return found[0]

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        trials = self.changed(study_id, included_trial_ids, trial_id_greater_than)
        return [trial for trial in trials if states is None or trial.state in states]

    def changed(
        self,
        study_id: int,
        ids: Iterable[int],
        after: int,
        parts: Container[str] = READ,
        known: Mapping[int, FrozenTrial] | None = None,
    ) -> Iterator[FrozenTrial]:
        """The trials of a study with these ids, and those with ids above `after`, in order.

        Args:
            parts: those that are read; others are empty.
            known: trials as they were, by id; one that ran and still runs is given as it was.
        """
        earlier = sorted(id for id in ids if id <= after)
        with _create_scoped_session(self.scoped_session) as session:
            rows = [*session.execute(THESE, {"ids": earlier})] if earlier else []
            rows += session.execute(LATER, {"study": study_id, "after": after})
            yield from self._read(session, rows, parts, _still_running(known or {}, rows))

    def _read(
        self,
        session: orm.Session,
        rows: Sequence[Any],
        parts: Container[str] = READ,
        known: Mapping[int, FrozenTrial] | None = None,
    ) -> Iterator[FrozenTrial]:
        """Trials from their rows, so many at once that memory holds them; known ones as given."""
        known = known or {}
        for first in range(0, len(rows), CHUNK):
            chunk = rows[first : first + CHUNK]
            ids = [row.trial_id for row in chunk if row.trial_id not in known]
            found = {
                name: _by_trial(
                    session.execute(ROWS[name], {"ids": ids}) if ids and name in parts else ()
                )
                for name in READ
            }
            for row in chunk:
                yield known.get(row.trial_id) or _frozen(
                    row, {name: part[row.trial_id] for name, part in found.items()}
                )

    def silent(self, trial_ids: Iterable[int]) -> set[int]:
        """Those of the trials whose lease has run out, by the database's clock."""
        ids = {"ids": [*trial_ids]}
        if not ids["ids"]:
            return set()
        with _create_scoped_session(self.scoped_session) as session:
            now = session.execute(NOW).scalar_one().replace(tzinfo=None)
            beats = session.execute(ROWS["heartbeats"], ids).all()
        longest = timedelta(seconds=self.grace_period or 0)
        return {beat.trial_id for beat in beats if now - beat.heartbeat > longest}

    def record_heartbeat(self, trial_id: int) -> None:
        with _create_scoped_session(self.scoped_session) as session:
            session.execute(self.upserts["heartbeats"], {"of": trial_id})

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        self.made.trial = None
        if state is TrialState.WAITING:
            return super().set_trial_state_values(trial_id, state, values)
        kind = models.TrialValueModel
        statement = END if state.is_finished() else START
        with _create_scoped_session(self.scoped_session) as session:
            for objective, value in enumerate(values or ()):
                stored, type_ = kind.value_to_stored_repr(value)
                row = {"objective": objective, "value": stored, "value_type": type_}
                self._write(session, "values", trial_id, row)
            update: dict[str, Any] = {"id": trial_id, "at": _utc(datetime.now())}
            update |= {"to": state} if state.is_finished() else {}
            if session.execute(statement, update).rowcount == 1:  # type: ignore[attr-defined]
                return True
            self.check_trial_is_updatable(trial_id, self.get_trial(trial_id).state)
            return False  # somebody else has started it

    def _set_trial_attr_without_commit(
        self,
        session: orm.Session,
        model_cls: type[models.TrialUserAttributeModel | models.TrialSystemAttributeModel],
        trial_id: int,
        key: str,
        value: Any,
    ) -> None:
        name = next(name for name, (model, _) in PARTS.items() if model is model_cls)
        self._write(session, name, trial_id, *_rows({key: value}))

    def set_trial_user_attrs(self, trial_id: int, attributes: Mapping[str, Any]) -> None:
        """Set several attributes at once.

        Raises:
            UpdateFinishedTrialError: the trial has ended.
        """
        with _create_scoped_session(self.scoped_session) as session:
            self._write(session, "user_attributes", trial_id, *_rows(attributes))

    def set_trial_intermediate_values(self, trial_id: int, values: Mapping[int, float]) -> None:
        """Set several intermediate values, by step, at once.

        Raises:
            UpdateFinishedTrialError: the trial has ended.
        """
        rows = [_report(step, value) for step, value in values.items()]
        with _create_scoped_session(self.scoped_session) as session:
            self._write(session, "intermediate_values", trial_id, *rows)

    def _set_trial_intermediate_value_without_commit(
        self, session: orm.Session, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._write(session, "intermediate_values", trial_id, _report(step, intermediate_value))

    def _set_trial_param_without_commit(
        self,
        session: orm.Session,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        """Without Optuna's look at other trials: a study's signature holds its space."""
        if previous_distribution is not None:
            check_distribution_compatibility(previous_distribution, distribution)
        row = {
            "param_name": param_name,
            "param_value": param_value_internal,
            "distribution_json": distribution_to_json(distribution),
        }
        self._write(session, "params", trial_id, row)

    def _write(
        self, session: orm.Session, part: str, trial_id: int, *rows: Mapping[str, Any]
    ) -> None:
        """Write rows of a trial that hasn't ended, in place of older ones.

        Raises:
            UpdateFinishedTrialError: it has ended.
        """
        if not rows:
            return
        self.made.trial = None
        first, *rest = [{"of": trial_id, **row} for row in rows]
        if session.execute(self.told[part], first).first() is None:
            raise optuna.exceptions.UpdateFinishedTrialError(f"trial {trial_id} has ended")
        if rest:  # in the same transaction, in which the trial can't end meanwhile
            session.execute(self.upserts[part], rest)


def _upsert(insert: Any, model: Any, key: str) -> Any:
    """The statement that writes a row of an open trial, from parameters named as the columns."""
    table = model.__table__
    names = [name for name, column in table.c.items() if not column.primary_key]
    names.remove("trial_id")
    if model is models.TrialHeartbeatModel:
        given: list[Any] = [func.now()]
    else:
        given = [bindparam(name, type_=table.c[name].type) for name in names]
    row = select(TRIALS.trial_id, *given).where(TRIALS.trial_id == bindparam("of"), IS_OPEN)
    statement = insert(table).from_select(["trial_id", *names], row)
    update = {name: statement.excluded[name] for name in names if name != key}
    keys = [*{"trial_id", key}]
    return statement.on_conflict_do_update(index_elements=keys, set_=update)


def _create(insert: Any) -> Any:
    """The statement that makes a running trial of a study."""
    row = {
        "study_id": bindparam("study"),
        "number": COUNT.scalar_subquery(),
        "state": TrialState.RUNNING,
        "datetime_start": bindparam("at"),
    }
    return insert(models.TrialModel.__table__).values(row).returning(TRIALS.trial_id, TRIALS.number)


def _is_new(trial: FrozenTrial) -> bool:
    """Whether a trial runs and has no more than a user's attributes."""
    more = (trial.params, trial.system_attrs, trial.intermediate_values)
    return trial.state is TrialState.RUNNING and not any(more)


def _rows(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def _report(step: int, value: float) -> dict[str, Any]:
    kind = models.TrialIntermediateValueModel
    stored, type_ = kind.intermediate_value_to_stored_repr(value)
    return {"step": step, "intermediate_value": stored, "intermediate_value_type": type_}


def _still_running(known: Mapping[int, FrozenTrial], rows: Iterable[Any]) -> dict[int, FrozenTrial]:
    """Those of the known trials that ran and, by their rows, still run."""
    running = {row.trial_id for row in rows if row.state is TrialState.RUNNING}
    return {
        id: trial
        for id, trial in known.items()
        if id in running and trial.state is TrialState.RUNNING
    }


def _by_trial(rows: Iterable[Any]) -> defaultdict[int, list[Any]]:
    """The rows of a table that belong to trials, by trial."""
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.trial_id].append(row)
    return found


def _frozen(row: Any, of: Mapping[str, Any]) -> FrozenTrial:
    """A trial from its row and the rows of its parts."""
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
        datetime_start=_local(row.datetime_start),
        datetime_complete=_local(row.datetime_complete),
        params={
            param.param_name: spaces[param.param_name].to_external_repr(param.param_value)
            for param in params
        },
        distributions=spaces,
        user_attrs={each.key: json.loads(each.value_json) for each in of["user_attributes"]},
        system_attrs={each.key: json.loads(each.value_json) for each in of["system_attributes"]},
        intermediate_values={
            each.step: report.stored_repr_to_intermediate_value(
                each.intermediate_value, each.intermediate_value_type
            )
            for each in of["intermediate_values"]
        },
        trial_id=row.trial_id,
    )


def _utc(time: datetime) -> datetime:
    """A local time as the tables hold it."""
    return time.astimezone(UTC).replace(tzinfo=None)


def _local(time: datetime | None) -> datetime | None:
    """A time of the tables as trials have it."""
    return None if time is None else time.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
