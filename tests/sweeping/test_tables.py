"""Our storage beside Optuna's own, on the same file: each reads what the other has written."""

import math
import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from src.sweeping import tables
from src.sweeping.storage import open_storage
from src.sweeping.tables import Storage

ATTRIBUTES = {"owner": {"pid": 1}, "words": "ü", "none": None}
RUNNING, WAITING = TrialState.RUNNING, TrialState.WAITING


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without studies: to make its tables takes longer than a test."""
    file: Path = tmp_path_factory.mktemp("tables") / "studies.db"
    open_storage(f"sqlite:///{file}", 60).engine.dispose()
    return file


@pytest.fixture
def ours(tmp_path: Path, empty: Path) -> Iterator[Storage]:
    shutil.copy(empty, tmp_path)
    storage = open_storage(f"sqlite:///{tmp_path / 'studies.db'}", 60)
    yield storage
    open_storage.cache_clear()


@pytest.fixture
def theirs(ours: Storage, tmp_path: Path) -> RDBStorage:
    return RDBStorage(f"sqlite:///{tmp_path / 'studies.db'}")


def studies(storage: Any) -> tuple[optuna.Study, optuna.Study]:
    return tuple(optuna.create_study(study_name=name, storage=storage) for name in "ab")  # type: ignore[return-value]


def begun(storage: Storage, study: optuna.Study, **attributes: Any) -> int:
    """A running trial, made in one statement."""
    template = create_trial(state=RUNNING, user_attrs=attributes)
    template.datetime_start = datetime(2026, 1, 2, 3, 4, 5)
    return storage.create_new_trial(study._study_id, template_trial=template)


def fill(study: optuna.Study) -> None:
    """Trials of all kinds: with all parts, pruned, failed, infinite, waiting, running."""
    study.enqueue_trial({"x": 0.5})
    trial = study.ask()
    for name, value in ATTRIBUTES.items():
        trial.set_user_attr(name, value)
    trial.suggest_float("x", 0.1, 10, log=True)
    trial.suggest_int("n", 1, 9)
    trial.suggest_categorical("c", ["a", None, 2])
    for step, value in ((0, 1.5), (3, float("inf")), (7, float("nan")), (0, 1.5)):
        trial.report(value, step)
    study.tell(trial, 0.25)
    study.tell(study.ask(), state=TrialState.FAIL)
    pruned = study.ask()
    pruned.report(2.0, 1)
    study.tell(pruned, state=TrialState.PRUNED)
    study.tell(study.ask(), float("-inf"))
    study.enqueue_trial({"x": 0.75})
    study.ask()
    study.enqueue_trial({"x": 0.25})


def assert_same(some: list[FrozenTrial], others: list[FrozenTrial]) -> None:
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        facts = [{**vars(each)} for each in (one, other)]
        reports = [fact.pop("intermediate_values") for fact in facts]
        assert facts[0] == facts[1]
        assert repr(reports[0]) == repr(reports[1]), "NaN is NaN"


@pytest.mark.parametrize("writer", ["ours", "theirs"])
def test_each_reads_what_the_other_has_written(
    ours: Storage, theirs: RDBStorage, writer: str
) -> None:
    first, second = studies(ours if writer == "ours" else theirs)
    first.ask()
    fill(second)
    first.ask()
    for study in (first, second):
        found = ours.get_all_trials(study._study_id)
        assert_same(found, theirs.get_all_trials(study._study_id))
        assert [trial.number for trial in found] == [*range(len(found))]
        for trial in found:
            assert_same([ours.get_trial(trial._trial_id)], [trial])
    states = [trial.state for trial in ours.get_all_trials(second._study_id)]
    assert states == [
        TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE, RUNNING,
        WAITING,
    ]  # fmt: skip
    (whole,) = ours.get_all_trials(second._study_id)[:1]
    assert whole.user_attrs == ATTRIBUTES and whole.value == 0.25
    assert [*whole.params] == ["x", "n", "c"] and whole.params["x"] == 0.5
    assert whole.system_attrs["fixed_params"] == {"x": 0.5}
    assert whole.intermediate_values[3] == math.inf and len(whole.intermediate_values) == 3


def test_a_trial_that_is_made_in_one_statement(ours: Storage, theirs: RDBStorage) -> None:
    """It has the next number of its own study, its time and its attributes."""
    first, second = studies(ours)
    ids = [begun(ours, study, **ATTRIBUTES) for study in (first, second, second, first)]
    assert len({*ids}) == 4
    for study in (first, second):
        found = theirs.get_all_trials(study._study_id)
        assert [trial.number for trial in found] == [0, 1]
        assert_same(ours.get_all_trials(study._study_id), found)
        for trial in found:
            assert trial.user_attrs == ATTRIBUTES and trial.state is RUNNING
            assert trial.datetime_start == datetime(2026, 1, 2, 3, 4, 5)
    made = ours.get_trial(ids[1])
    assert (made.number, made._trial_id, made.state) == (0, ids[1], RUNNING)
    with pytest.raises(KeyError, match="no study 99"):
        ours.create_new_trial(99, template_trial=made)
    with pytest.raises(KeyError, match="no trial 99"):
        ours.get_trial(99)


@pytest.mark.parametrize(
    "template",
    [
        create_trial(state=TrialState.COMPLETE, value=2.0, user_attrs=ATTRIBUTES),
        create_trial(state=WAITING, system_attrs={"fixed_params": {"x": 1}}),
        create_trial(
            state=RUNNING,
            params={"x": 0.5},
            distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
        ),
        create_trial(state=RUNNING, system_attrs={"a": 1}),
    ],
)
def test_other_trials_are_made_as_optuna_makes_them(
    ours: Storage, theirs: RDBStorage, template: FrozenTrial
) -> None:
    first, _ = studies(ours)
    made = [storage.create_new_trial(first._study_id, template) for storage in (ours, theirs)]
    found = [theirs.get_trial(each) for each in made]
    for name in ("state", "params", "user_attrs", "system_attrs", "values", "datetime_start"):
        assert getattr(found[0], name) == getattr(found[1], name)
    assert ours.get_trial(made[0]).number == 0


def test_what_was_made_just_now_is_known_once_and_as_it_is(ours: Storage) -> None:
    """What was written since is seen, and nobody's changes of what he got."""
    first, _ = studies(ours)
    made = begun(ours, first)
    ours.get_trial(made).user_attrs["mine"] = 1
    assert ours.get_trial(made).user_attrs == {}
    made = begun(ours, first)
    ours.set_trial_user_attr(made, "a", 1)
    assert ours.get_trial(made).user_attrs == {"a": 1}
    made = begun(ours, first)
    ours.set_trial_state_values(made, TrialState.COMPLETE, [1.0])
    assert ours.get_trial(made).state is TrialState.COMPLETE


def test_when_a_trial_begins_and_ends(ours: Storage, theirs: RDBStorage) -> None:
    """By the clock of this machine, in its own zone."""
    first, _ = studies(ours)
    waiting = ours.create_new_trial(first._study_id, create_trial(state=WAITING))
    before = datetime.now() - timedelta(seconds=1)
    assert ours.set_trial_state_values(waiting, RUNNING)
    assert not ours.set_trial_state_values(waiting, RUNNING), "somebody else has started it"
    begins = theirs.get_trial(waiting)
    assert begins.state is RUNNING and begins.datetime_complete is None
    assert ours.set_trial_state_values(waiting, TrialState.COMPLETE, [3.5])
    for storage in (ours, theirs):
        ended = storage.get_trial(waiting)
        assert ended.state is TrialState.COMPLETE and ended.value == 3.5
        assert ended.datetime_start and ended.datetime_complete
        assert before < ended.datetime_start <= ended.datetime_complete <= datetime.now()


def test_nothing_of_a_trial_that_has_ended_changes(ours: Storage) -> None:
    first, _ = studies(ours)
    done, other = begun(ours, first), begun(ours, first)
    ours.set_trial_state_values(done, TrialState.PRUNED)
    kept = ours.get_trial(done)
    space = optuna.distributions.FloatDistribution(0, 1)
    for change in (
        lambda: ours.set_trial_user_attr(done, "a", 1),
        lambda: ours.set_trial_user_attrs(done, {"a": 1, "b": 2}),
        lambda: ours.set_trial_system_attr(done, "a", 1),
        lambda: ours.set_trial_intermediate_value(done, 1, 1.0),
        lambda: ours.set_trial_intermediate_values(done, {1: 1.0}),
        lambda: ours.set_trial_param(done, "x", 0.5, space),
        lambda: ours.set_trial_state_values(done, TrialState.COMPLETE, [1.0]),
    ):
        with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
            change()
    ours.set_trial_user_attrs(done, {})
    assert_same([ours.get_trial(done)], [kept])
    assert ours.get_trial(other).state is RUNNING


def test_several_at_once_are_as_one_by_one(ours: Storage, theirs: RDBStorage) -> None:
    """Later ones replace earlier ones of the same name, of the same trial alone."""
    first, _ = studies(ours)
    made, other = begun(ours, first, a=0), begun(ours, first, a=0)
    ours.set_trial_user_attrs(made, {"a": 1, "b": [2]})
    ours.set_trial_user_attrs(made, {"b": 3, "c": None})
    ours.set_trial_intermediate_values(made, {0: 1.0, 1: float("nan")})
    ours.set_trial_intermediate_values(made, {1: 2.0, 2: float("-inf")})
    found = theirs.get_trial(made)
    assert found.user_attrs == {"a": 1, "b": 3, "c": None}
    assert found.intermediate_values == {0: 1.0, 1: 2.0, 2: -math.inf}
    assert theirs.get_trial(other).user_attrs == {"a": 0}


def test_a_parameter_that_has_another_space_is_refused(ours: Storage) -> None:
    first, _ = studies(ours)
    made = begun(ours, first)
    one = optuna.distributions.FloatDistribution(0, 1)
    other = optuna.distributions.CategoricalDistribution(["a"])
    with ours.scoped_session() as session:
        with pytest.raises(ValueError, match="Cannot set different distribution kind"):
            ours._set_trial_param_without_commit(session, made, "x", 0.0, other, one)
        session.rollback()
    assert ours.get_trial(made).params == {}


def test_which_trials_are_read(ours: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were asked for, and the later ones of the study; in order, in whatever chunks."""
    first, second = studies(ours)
    ids = [
        begun(ours, study, a=at) for at, study in enumerate((first, second, first, first, first))
    ]
    mine = [ids[0], *ids[2:]]
    ours.set_trial_state_values(mine[1], TrialState.COMPLETE, [1.0])
    for chunk in (500, 1, 2, 3):
        monkeypatch.setattr(tables, "CHUNK", chunk)

        def read(some: list[int], after: int, **more: Any) -> list[int]:
            return [t._trial_id for t in ours.changed(first._study_id, some, after, **more)]

        assert read([], -1) == mine
        assert read([mine[1], mine[0]], mine[2]) == [mine[0], mine[1], mine[3]]
        assert read([mine[3]], mine[2]) == [mine[3]], "nobody twice"
        assert read([mine[2]], mine[2]) == [mine[2], mine[3]]
        assert read([], mine[3]) == []
        found = [*ours.changed(first._study_id, [], -1)]
        assert [each.user_attrs["a"] for each in found] == [0, 2, 3, 4]
        bare = [*ours.changed(first._study_id, [], -1, ("values",))]
        assert [each.user_attrs for each in bare] == [{}] * 4 and bare[1].value == 1.0
    states = ours._get_trials(first._study_id, (TrialState.COMPLETE,), set(), -1)
    assert [each._trial_id for each in states] == [mine[1]]
    assert len(ours._get_trials(first._study_id, None, set(), -1)) == 4


def test_whose_lease_has_run_out(ours: Storage) -> None:
    """By the database's clock; who has never given a sign isn't silent."""
    first, _ = studies(ours)
    made = [begun(ours, first) for _ in range(3)]
    assert ours.silent([]) == ours.silent(made) == set()
    for each in made[:2]:
        ours.record_heartbeat(each)

    def age(trial: int, seconds: int) -> None:
        with ours.engine.begin() as connection:
            connection.execute(sqlalchemy.text(
                f"UPDATE trial_heartbeats SET heartbeat = datetime('now', '-{seconds} seconds') "
                f"WHERE trial_id = {trial}"
            ))  # fmt: skip

    age(made[0], 50)
    age(made[1], 70)
    assert ours.silent(made) == {made[1]}
    assert ours.silent(made[:1]) == set()
    ours.record_heartbeat(made[1])
    assert ours.silent(made) == set()
    ours.grace_period = None
    age(made[0], 2)
    assert made[0] in ours.silent(made)


def test_times_are_kept_in_another_zone_than_they_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Optuna keeps them, whatever the machine's zone is."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        there = datetime(2026, 1, 2, 9, 0)
        assert tables._utc(there) == datetime(2026, 1, 2, 0, 0)
        assert tables._local(datetime(2026, 1, 2, 0, 0)) == there
        assert tables._local(None) is None
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
