"""The shared study: exact totals, whatever happens to whom."""

import math
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState, create_trial

from src.config import flatten
from src.errors import InputError
from src.sweeping import storage
from src.sweeping import study as study_module
from src.sweeping.progress import best_trial
from src.sweeping.study import (
    DIED,
    GIVEN_UP,
    INTERRUPTED,
    MAX_DEATHS,
    PROPOSAL,
    Batches,
    Lease,
    Outcome,
    SharedStudy,
    inside,
)
from src.sweeping.tables import Storage
from src.sweeping.tally import Tally, is_failed
from tests.sweeping.conftest import forget_connections, open_study, states, tally_of

FORK = multiprocessing.get_context("fork")  # a fresh interpreter would take seconds to begin
ONE = Batches(1)
DONE = Outcome(TrialState.COMPLETE, 0.5, {})


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_process(action: Callable[[], None]) -> int:
    """Run it in another process; return its exit status, negative for a signal."""

    def body() -> None:
        forget_connections()
        action()

    process = FORK.Process(target=body)
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


def finish_all(study: SharedStudy) -> list[Trial]:
    trials = []
    while trial := study.next_trial():
        trials.append(trial)
        study.finish(trial, Outcome(TrialState.COMPLETE, trial.params["x"], {}))
    return trials


@pytest.mark.filterwarnings("error")
def test_the_total_is_a_total(url: str) -> None:
    study = open_study(url, 5)
    assert len(finish_all(study)) == 5
    assert len(finish_all(open_study(url, 5))) == 0
    assert len(finish_all(open_study(url, 7))) == 2
    assert states(study.trials()) == {"COMPLETE": 7}


def test_the_default_configuration_comes_first_even_after_a_death(url: str) -> None:
    def body() -> None:
        open_study(url).next_trial()
        die()

    assert in_a_process(body) == -signal.SIGKILL
    trials = finish_all(open_study(url, 3))
    assert trials[0].params == {"x": 0.1}
    assert next(iter(open_study(url).trials())).state is TrialState.FAIL


def test_a_default_outside_the_space_is_not_tried(url: str) -> None:
    assert all(one.params["x"] != 7.0 for one in finish_all(open_study(url, 3, default={"x": 7.0})))


def test_trials_that_are_made_good_leave_no_trace_in_the_proposals(
    url: str, tmp_path: Path
) -> None:
    undisturbed = [one.params for one in finish_all(open_study(f"sqlite:///{tmp_path}/u.db", 5))]
    study = open_study(url, 5)
    for reason in (DIED, None, INTERRUPTED, DIED, None):  # the default and a proposed point
        trial = study.next_trial()
        assert trial is not None
        if reason:
            study._give_up(study.trials()[trial.number], reason)
        else:
            study.finish(trial, DONE)
    finish_all(study)
    counted = [one.params for one in study.trials() if one.state is TrialState.COMPLETE]
    assert counted == undisturbed and len({*map(str, counted)}) == 5
    assert states(study.trials()) == {"COMPLETE": 5, "FAIL": 3}


@pytest.mark.parametrize(("direction", "worst"), [("minimize", 0.9), ("maximize", 0.2)])
def test_samplers_see_a_bad_trial_with_the_worst_value(
    url: str, direction: str, worst: float
) -> None:
    """But TPE, which ranks pruned trials by itself."""
    seen: dict[int, dict[int, float | None]] = {}

    class Watching(optuna.samplers.RandomSampler):
        def sample_relative(self, study: optuna.Study, trial: Any, space: Any) -> dict[str, Any]:
            trials = study._get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            seen[trial.number] = {one.number: one.value for one in trials}
            return {}

    study = open_study(url, 6, direction=direction, sampler=lambda number: Watching(seed=number))
    outcomes = [
        Outcome(TrialState.PRUNED, None, {"status": "diverged"}),  # no value was met yet
        Outcome(TrialState.COMPLETE, 0.5, {"status": "completed"}),
        Outcome(TrialState.COMPLETE, 0.9, {"status": "completed"}),
        Outcome(TrialState.COMPLETE, 0.2, {"status": "completed"}),
        Outcome(TrialState.PRUNED, None, {"status": "failed"}),
        Outcome(TrialState.PRUNED, None, {"status": "pruned"}),
    ]
    for outcome in outcomes:
        trial = study.next_trial()
        assert trial is not None
        study.finish(trial, outcome)
    study.n_trials = 7
    study.next_trial()
    assert seen[1] == {} and seen[2] == {0: 0.5, 1: 0.5}
    assert seen[6] == {0: worst, 1: 0.5, 2: 0.9, 3: 0.2, 4: worst}
    assert {one.value for one in study.trials()} == {None, 0.5, 0.9, 0.2}, "they are shared"


MIRRORED = {
    "tpe": lambda number: optuna.samplers.TPESampler(seed=number, n_startup_trials=4),
    "cmaes": lambda number: optuna.samplers.CmaEsSampler(seed=number, n_startup_trials=4),
}


@pytest.mark.parametrize("name", MIRRORED)
def test_maximizing_is_minimizing_the_mirrored_values(tmp_path: Path, name: str) -> None:
    """The same proposals, trial by trial, beside some that diverge; and the same best."""
    space = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    points, best = [], []
    for direction, sign in (("minimize", 1), ("maximize", -1)):
        study = open_study(
            f"sqlite:///{tmp_path}/{direction}.db", 14, direction=direction, space=space,
            default={"x": 0.1, "y": 0.1}, sampler=MIRRORED[name],
        )  # fmt: skip
        while trial := study.next_trial():
            x, y = trial.params["x"], trial.params["y"]
            outcome = Outcome(TrialState.COMPLETE, sign * ((x - 0.4) ** 2 - y), {})
            if y > 0.6:
                outcome = Outcome(TrialState.PRUNED, None, {"status": "diverged"})
            study.finish(trial, outcome)
        assert study.direction.sign == sign
        trials = study.trials()
        points.append([one.params for one in trials])
        best.append(best_trial(trials, study.direction))
    assert points[0] == points[1]
    assert best[0] and best[1] and best[0].number == best[1].number
    values = [(p["x"] - 0.4) ** 2 - p["y"] for p in points[0] if p["y"] <= 0.6]
    assert 1 < len(values) < 14 and best[0].value == min(values) and best[1].value == -min(values)


def test_failures_do_not_count(url: str) -> None:
    study = open_study(url, 2)
    trial = study.next_trial()
    assert trial is not None
    study.finish(trial, Outcome(TrialState.FAIL, None, {"error": "boom"}))
    finish_all(study)
    assert states(study.trials()) == {"COMPLETE": 2, "FAIL": 1}


def die_at_the_end(self: Storage, trial_id: int, state: TrialState, values: object = None) -> bool:
    return die() if state.is_finished() else START(self, trial_id, state)


START = Storage.set_trial_state_values
# Where a process can be killed, and what is then left for the next one to find.
KILLS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before it says whose the trial is": lambda patch: patch.setattr(storage, "me", die),
    "before the first heartbeat": lambda patch: patch.setattr(
        Storage, "record_heartbeat", lambda *_: die()
    ),
    "before the parameters are known": lambda patch: patch.setattr(
        optuna.Trial, "_suggest", lambda *_: die()
    ),
    "before it is told": lambda patch: patch.setattr(
        Storage, "set_trial_state_values", die_at_the_end
    ),
}


@pytest.mark.parametrize(
    ("place", "is_claimed"), [*zip(KILLS, (False, False, True, True), strict=True)]
)
def test_a_kill_while_claiming_or_telling(
    url: str, place: str, is_claimed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> None:
        study = open_study(url, 4)
        KILLS[place](monkeypatch)
        finish_all(study)

    open_study(url, 4)
    assert in_a_process(body) == -signal.SIGKILL
    study = open_study(url, 4)
    first = finish_all(study)[0]
    assert first.params == {"x": 0.1}, "the default configuration was lost"
    # A claim is one transaction: one that was cut off has never been.
    assert states(study.trials()) == {"COMPLETE": 4, **({"FAIL": 1} if is_claimed else {})}


def test_a_kill_after_telling(url: str) -> None:
    def body() -> None:
        study = open_study(url, 4)
        trial = study.next_trial()
        assert trial is not None
        study.finish(trial, DONE)
        die()

    assert in_a_process(body) == -signal.SIGKILL
    assert len(finish_all(open_study(url, 4))) == 3


def test_a_kill_between_queueing_again_and_failing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def claim_and_die() -> None:
        open_study(url, 3).next_trial()
        die()

    def recover_and_die() -> None:
        study = open_study(url, 3)
        monkeypatch.setattr(Storage, "set_trial_user_attr", lambda *_: die())
        study.next_trial()

    assert in_a_process(claim_and_die) == -signal.SIGKILL
    for _ in range(3):
        assert in_a_process(recover_and_die) == -signal.SIGKILL
    assert states(open_study(url, 3).trials()) == {"RUNNING": 1}, "both or none"
    study = open_study(url, 3)
    trials = finish_all(study)
    assert [one.params["x"] for one in trials].count(0.1) == 1
    assert states(study.trials()) == {"COMPLETE": 3, "FAIL": 1}


def test_a_lock_ends_with_its_holder(url: str) -> None:
    def body() -> None:
        study = open_study(url)
        with storage.lock(study.url):
            die()

    open_study(url)
    assert in_a_process(body) == -signal.SIGKILL
    started = time.monotonic()
    open_study(url)
    assert time.monotonic() - started < 5


def test_a_trial_that_kills_its_process_is_given_up(url: str) -> None:
    def body() -> None:
        open_study(url, 2).next_trial()
        die()

    for _ in range(4):
        assert in_a_process(body) == -signal.SIGKILL
    study = open_study(url, 2)
    assert all(one.params["x"] != 0.1 for one in finish_all(study))
    assert states(study.trials()) == {"COMPLETE": 1, "PRUNED": 1, "FAIL": 3}
    assert study.trials()[3].user_attrs["reason"] == "its process died 4 times"


def test_the_sampler_does_not_propose_what_was_given_up(url: str) -> None:
    """Every death of a proposed point leads to the same proposal: it must end some day."""
    finish_all(open_study(url, 1))

    def body() -> None:
        open_study(url, 3).next_trial()
        die()

    for _ in range(MAX_DEATHS + 1):
        assert in_a_process(body) == -signal.SIGKILL
    deadly = open_study(url, 1).trials()[-1]
    ended = finish_all(open_study(url, 3))
    assert deadly.params and all(one.params != deadly.params for one in ended)
    last = [one for one in open_study(url, 3).trials() if one.params == deadly.params][-1]
    assert last.user_attrs["reason"] == GIVEN_UP


def test_interruptions_never_give_a_trial_up(url: str) -> None:
    for _ in range(2 * MAX_DEATHS):
        study = open_study(url, 2)
        trial = study.next_trial()
        assert trial is not None and trial.params == {"x": 0.1}
        study.release()
    assert states(study.trials()) == {"FAIL": 2 * MAX_DEATHS, "WAITING": 1}


def test_a_process_gives_back_its_own_trial_and_no_other(url: str) -> None:
    study = open_study(url, 3)
    elsewhere(study)
    study.study.add_trial(optuna.trial.create_trial(value=1.0))
    own = study.next_trial()
    assert own is not None
    study.release()
    kinds = [(one.state.name, one.user_attrs.get("reason")) for one in study.trials()]
    assert kinds == [
        ("RUNNING", None),
        ("COMPLETE", None),
        ("FAIL", INTERRUPTED),
        ("WAITING", None),
    ]
    again = study.trials()[-1]
    assert again.system_attrs["fixed_params"] == own.params
    assert again.user_attrs == {"retries": own.number, "deaths": 0, PROPOSAL: 2}


def test_a_tally_reads_a_trial_once_until_its_state_changes(any_url: str) -> None:
    """It waits, runs and ends; while it runs, nothing that a tally tells of it changes."""
    study, other = open_study(any_url), open_study(any_url)
    tally = study.tally()
    assert not [*tally.look()]
    waiting = tally.waiting()
    assert waiting is not None

    trial = other.next_trial()
    assert trial is not None and trial._trial_id == waiting._trial_id
    assert not [*tally.look()]
    [running] = tally.running()
    assert running.user_attrs["owner"] == storage.me()
    assert not [*tally.look()]
    assert tally.running()[0] is running

    other.finish(trial, DONE)
    [ended] = tally.look()
    assert (ended.number, ended.value, tally.running()) == (trial.number, DONE.value, [])


def test_a_claim_reads_what_has_ended_before_it_lets_others_wait(
    any_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, other = open_study(any_url), open_study(any_url)
    real, known = storage.alone, list[int]()

    def alone(*arguments: Any) -> Any:
        known.append(study.decided.counted)
        return real(*arguments)

    trial = other.next_trial()
    assert trial is not None
    other.finish(trial, DONE)
    monkeypatch.setattr(study_module.db, "alone", alone)
    assert study.next_trial() is not None
    assert known == [1]


def test_deaths_add_up_and_interruptions_do_not(url: str) -> None:
    study = open_study(url)
    for expected, reason in ((1, DIED), (1, INTERRUPTED), (2, DIED)):
        trial = study.next_trial()
        assert trial is not None
        study._give_up(study.trials()[trial.number], reason)
        assert study.trials()[-1].user_attrs == {"retries": trial.number, "deaths": expected}
        assert study.trials()[trial.number].user_attrs["reason"] == reason


@pytest.mark.parametrize(
    ("pruner", "kept"),
    [(optuna.pruners.SuccessiveHalvingPruner(), 2), (optuna.pruners.HyperbandPruner(), 0)],
)
def test_where_a_repeated_trial_begins_on_the_pruners_ladder(
    url: str, pruner: optuna.pruners.BasePruner, kept: int
) -> None:
    study = open_study(url, pruner=pruner)
    trial = study.next_trial()
    assert trial is not None
    for rung in range(3):
        study.storage.set_trial_system_attr(trial._trial_id, f"completed_rung_{rung}", 0.1)
    study.storage.set_trial_system_attr(trial._trial_id, "grid_id", 3)
    study.release()
    again = study.trials()[-1]
    assert again.system_attrs["grid_id"] == 3
    rungs = sorted(key for key in again.system_attrs if key.startswith("completed_rung_"))
    assert rungs == [f"completed_rung_{rung}" for rung in range(kept)]


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
@pytest.mark.parametrize("reports", [[], [0.5, 0.25], [0.5, math.nan], [math.inf]])
def test_a_trial_is_told_as_optuna_tells_it(
    url: str, state: TrialState, reports: list[float]
) -> None:
    """The same value and state, without reading the trial twice more."""
    ours, theirs = (open_study(url, name=name) for name in ("ours", "theirs"))
    value = 1.5 if state is TrialState.COMPLETE else None
    for study in (ours, theirs):
        trial = study.next_trial()
        assert trial is not None
        for step, report in enumerate(reports):
            trial.report(report, step)
        if study is ours:
            study.finish(trial, Outcome(state, value, {}))
        else:
            study.study.tell(trial, value, state=state)
    told = [(trial.state, trial.values, trial.datetime_complete is None) for study in (ours, theirs)
            for trial in study.trials()]  # fmt: skip
    assert told[0] == told[1] and told[0][0] is state


def test_a_claim_ends_when_all_trials_count_and_waits_while_the_last_ones_run(url: str) -> None:
    study = open_study(url, 2)
    first = elsewhere(study)
    second = elsewhere(study)
    assert study._claim(ONE) == ([], False)
    study.finish(first, DONE)
    assert study._claim(ONE) == ([], False)
    study.finish(second, Outcome(TrialState.FAIL, None, {"reason": "a bug"}))
    (third,), done = study._claim(ONE)
    assert not done
    study.finish(third, Outcome(TrialState.PRUNED, None, {"status": "pruned"}))
    assert study._claim(ONE) == ([], True) and study.counted() == 2


def test_a_trial_that_is_lost_before_it_has_its_parameters_is_not_run(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, claims = open_study(url, 2), []
    real = study._claim

    def claim(batches: Batches) -> tuple[list[Trial], bool]:
        claims.append(real(batches))
        if len(claims) == 1:  # another process takes this one for dead
            study._give_up(study.trials()[0], DIED)
        return claims[-1]

    monkeypatch.setattr(study, "_claim", claim)
    trial = study.next_trial()
    assert trial is not None and (trial.number, trial.params) == (1, {"x": 0.1})


def test_a_process_that_lost_its_trial_changes_nothing(url: str) -> None:
    study = open_study(url, 2)
    trial = study.next_trial()
    assert trial is not None
    study._give_up(study.trials()[0], DIED)
    study.finish(trial, DONE)
    study.note(trial, {"folder": "elsewhere"})
    assert states(study.trials()) == {"FAIL": 1, "WAITING": 1}


def test_the_trial_of_a_claim_that_was_cut_off_is_claimed_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database goes away in mid-claim: this very process must not take its own for alive."""
    study = open_study(url, 2)
    real, calls = storage.open_storage(study.url, 60).record_heartbeat, []

    def away_once(trial_id: int) -> None:
        calls.append(trial_id)
        if len(calls) == 1:
            raise optuna.exceptions.StorageInternalError("gone")
        real(trial_id)

    monkeypatch.setattr(study.storage, "record_heartbeat", away_once)
    assert finish_all(study)[0].params == {"x": 0.1}
    assert states(study.trials()) == {"COMPLETE": 2}


def test_who_is_dead() -> None:
    me = storage.me()
    assert not storage.is_dead(me)
    assert storage.is_dead({**me, "started": "1"}), "another process with the same number"
    assert not storage.is_dead({**me, "host": "elsewhere", "pid": 2**22})
    child = FORK.Process(target=time.sleep, args=(60,))
    child.start()
    assert child.pid is not None
    other = {**me, "pid": child.pid, "started": storage._started(child.pid)}
    assert not storage.is_dead(other)
    os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not storage.is_dead(other):  # a zombie by now, for nobody has waited for it
        assert time.monotonic() < deadline
    child.join()


def elsewhere(study: SharedStudy) -> Trial:
    """A trial that a process on another machine runs."""
    trial = study.next_trial()
    assert trial is not None
    study.note(trial, {"owner": {"host": "elsewhere", "pid": 1, "started": "1"}})
    return trial


def test_a_worker_elsewhere_is_waited_for(url: str) -> None:
    study = open_study(url, 1)
    trial = elsewhere(study)
    checks = iter([False, False, True])
    assert study.next_trial(stop=lambda: next(checks)) is None
    study.finish(trial, DONE)
    assert states(study.trials()) == {"COMPLETE": 1}


def test_a_worker_elsewhere_that_falls_silent_is_found(url: str) -> None:
    study = open_study(url, 1, lease_seconds=3)
    elsewhere(study)
    started = time.monotonic()
    trial = study.next_trial()
    assert trial is not None and trial.params == {"x": 0.1}
    assert 2 < time.monotonic() - started < 12
    study.finish(trial, DONE)
    assert states(study.trials()) == {"COMPLETE": 1, "FAIL": 1}


@pytest.mark.parametrize("seconds", [6, 60, 601])
def test_a_lease_is_renewed_several_times_within_its_lifetime(url: str, seconds: int) -> None:
    opened = open_study(url, lease_seconds=seconds).storage
    assert opened.grace_period == seconds
    assert opened.heartbeat_interval is not None and opened.heartbeat_interval >= 1
    assert seconds / 10 <= opened.heartbeat_interval <= seconds / 5


def test_a_lease_is_renewed_until_the_trial_ends(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal that fails doesn't end it."""
    study, beats = open_study(url), []
    trial = study.next_trial()
    assert trial is not None

    def beat(trial_id: int) -> None:
        beats.append(trial_id)
        if len(beats) == 2:
            raise optuna.exceptions.StorageInternalError("away")

    monkeypatch.setattr(study.storage, "record_heartbeat", beat)
    monkeypatch.setattr(study.storage, "heartbeat_interval", 0.05)
    with Lease(study, trial):
        deadline = time.monotonic() + 3
        while len(beats) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
    count = len(beats)
    time.sleep(0.2)
    assert count >= 4 and {*beats} == {trial._trial_id} and len(beats) == count


def test_a_lease_that_ran_out_counts_after_a_while(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder has two renewals' time to show itself, from when its silence was first seen."""
    study = open_study(url, lease_seconds=60)
    trial = elsewhere(study)
    frozen, clock, silent = study.trials()[0], [100.0], {trial._trial_id}
    monkeypatch.setattr(study_module.time, "monotonic", lambda: clock[0])

    def lost(at: float, *, is_silent: bool = True) -> bool:
        clock[0] = at
        return study._is_lost(frozen, silent if is_silent else set())

    assert not lost(0, is_silent=False)  # however long it runs
    assert not lost(1000) and not lost(1019.9) and lost(1020.1)  # it is renewed every 10 s
    assert not lost(2000, is_silent=False)
    assert not lost(2001) and not lost(2020.9) and lost(2021.1), "it counts from anew"


def test_a_renewed_lease_holds(url: str) -> None:
    study = open_study(url, 1, lease_seconds=3)
    trial, end = elsewhere(study), time.monotonic() + 9  # unrenewed it is lost after 5.5
    with Lease(study, trial):
        assert study.next_trial(stop=lambda: time.monotonic() > end) is None
    study.finish(trial, DONE)
    assert states(study.trials()) == {"COMPLETE": 1}


def test_a_healthy_trial_outlives_an_outage_longer_than_its_lease(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All leases have run out when the database is back: holders get a moment to renew."""
    study = open_study(url, 1, lease_seconds=6)
    trial, other = elsewhere(study), open_study(url, 1, lease_seconds=6)
    silent = {trial._trial_id}
    monkeypatch.setattr(other.storage, "silent", lambda _: silent)
    checks = iter([False, False, True])
    assert other.next_trial(stop=lambda: next(checks)) is None
    silent.clear()  # it has renewed
    checks = iter([False] * 8 + [True])
    assert other.next_trial(stop=lambda: next(checks)) is None
    assert states(study.trials()) == {"RUNNING": 1}


def test_what_a_diverged_trial_reported_before_does_not_count(url: str) -> None:
    study = open_study(url, 1)
    trial = study.next_trial()
    assert trial is not None
    trial.report(0.01, 1)
    study.finish(trial, Outcome(TrialState.PRUNED, None, {"status": "diverged"}))
    (frozen,) = study.trials()
    assert frozen.state is TrialState.PRUNED and frozen.value is None
    assert math.isnan(frozen.intermediate_values[2])


def test_another_signature_is_refused_with_what_differs(url: str) -> None:
    open_study(url, signature={"hash": "1", "data.batch_size": 32, "model.name": "a"})
    with pytest.raises(InputError, match=r"data\.batch_size was 32, is 64; choose another"):
        open_study(url, signature={"hash": "2", "data.batch_size": 64, "model.name": "a"})


def test_of_many_differences_three_are_named(url: str) -> None:
    open_study(url, signature={"hash": "1", "same": 0, **dict.fromkeys("cba", 1)})
    with pytest.raises(InputError) as refused:
        open_study(url, signature={"hash": "2", "same": 0, **dict.fromkeys("dcb", 2)})
    told = "a was 1, is absent; b was 1, is 2; c was 1, is 2 and 1 more; choose another"
    assert f"study test holds trials that can't be compared with these: {told}" in str(
        refused.value
    )
    with pytest.raises(InputError, match="b was 1, is 2; c was 1, is 2; choose another"):
        open_study(url, signature={"hash": "2", "same": 0, "a": 1, "b": 2, "c": 2})
    with pytest.raises(InputError, match="a was 1, is 2; b was 1, is 2; c was 1, is 2; choose"):
        open_study(url, signature={"hash": "2", "same": 0, **dict.fromkeys("cba", 2)})


def test_a_study_that_was_only_begun_is_completed(url: str) -> None:
    """A kill between making it and signing it leaves one without a signature."""
    optuna.create_study(storage=url, study_name="test").enqueue_trial({"x": 0.1})
    assert [one.params["x"] for one in finish_all(open_study(url, 3))].count(0.1) == 1


@pytest.mark.parametrize(
    ("default", "is_inside"),
    [
        ({"x": 0.1, "k": 2, "c": "u"}, True),
        ({"x": 1e-3, "k": 1, "c": None}, True),
        ({"x": 1.0, "k": 8, "c": "u"}, True),
        ({"x": 1.1, "k": 2, "c": "u"}, False),
        ({"x": 0.1, "k": 9, "c": "u"}, False),
        ({"x": 0.1, "k": 2, "c": "w"}, False),
        ({"x": None, "k": 2, "c": "u"}, False),
        ({"x": "big", "k": 2, "c": "u"}, False),
    ],
)
def test_whether_the_default_lies_inside(default: dict[str, Any], is_inside: bool) -> None:
    space = {
        "x": FloatDistribution(1e-3, 1, log=True),
        "k": IntDistribution(1, 8),
        "c": CategoricalDistribution(["u", None]),
    }
    assert inside(default, space) is is_inside


def test_a_grid_ends_with_its_points_and_the_default(url: str) -> None:
    for points, default, total in ((4, 0.1, 5), (4, 7.0, 4), (20, 0.1, 10), (None, 0.1, 10)):
        study = open_study(url, 10, default={"x": default}, name=f"{points} {default}")
        study.limit(points)
        assert study.n_trials == total


def test_nested_mappings_become_dotted_keys() -> None:
    nested = {"a": 1, "b": {"c": {"d": [1, {"e": 2}]}, "f": None}, "g": {}}
    assert flatten(nested) == {"a": 1, "b.c.d": [1, {"e": 2}], "b.f": None}


@pytest.mark.parametrize(
    ("state", "attributes", "failed"),
    [
        ("FAIL", {"reason": "RuntimeError: bug"}, True),
        ("FAIL", {}, True),
        ("FAIL", {"reason": DIED}, False),
        ("FAIL", {"reason": INTERRUPTED}, False),
        ("FAIL", {"reason": GIVEN_UP}, True),
        ("PRUNED", {"status": "failed", "reason": GIVEN_UP}, True),
        ("PRUNED", {"status": "diverged"}, False),
        ("PRUNED", {"status": "pruned"}, False),
        ("RUNNING", {"status": "failed"}, False),
    ],
)
def test_what_failed(state: str, attributes: dict[str, Any], failed: bool) -> None:
    trial = optuna.trial.create_trial(state=TrialState[state], user_attrs=attributes)
    assert is_failed(trial) is failed


def test_a_study_of_someone_elses_is_refused(url: str) -> None:
    optuna.create_study(storage=url, study_name="test").optimize(lambda _: 1.0, n_trials=1)
    with pytest.raises(InputError, match="was not made by fairstep"):
        open_study(url)


def worker(url: str, n_trials: int, seed: int) -> None:
    """Pull trials and take a random while for each."""
    forget_connections()
    chance, study = random.Random(seed), open_study(url, n_trials)
    while trial := study.next_trial():
        with Lease(study, trial):
            time.sleep(chance.uniform(0, 0.05))
            kind = chance.random()
            if kind < 0.1:
                outcome = Outcome(TrialState.FAIL, None, {})
            elif kind < 0.4:
                trial.report(1.0, 1)
                outcome = Outcome(TrialState.PRUNED, None, {})
            else:
                outcome = Outcome(TrialState.COMPLETE, trial.params["x"], {})
        study.finish(trial, outcome)


def storm(url: str, processes: int, n_trials: int, kills: int, seed: int) -> None:
    """Kill random workers at random moments and start others, until the study is complete."""
    chance, numbers = random.Random(seed), iter(range(10_000))

    def start() -> multiprocessing.context.ForkProcess:
        process = FORK.Process(target=worker, args=(url, n_trials, seed + next(numbers)))
        process.start()
        return process

    running = [start() for _ in range(processes)]
    deadline = time.monotonic() + 240
    while any(process.is_alive() for process in running):
        assert time.monotonic() < deadline
        time.sleep(chance.uniform(0, 0.4))
        if kills:
            victim = chance.randrange(processes)
            if running[victim].is_alive():
                running[victim].kill()
                kills -= 1
            running[victim].join()
            running[victim] = start()
    assert kills == 0, f"{kills} kills too few: the study was complete before"
    assert all(process.exitcode == 0 for process in running)


def check_exact(url: str, n_trials: int) -> None:
    """As many trials as asked, none running, and each one that died run again as it was."""
    study = open_study(url, n_trials)
    trials = study.trials()
    left = states(trials)
    assert left.get("COMPLETE", 0) + left.get("PRUNED", 0) == n_trials
    assert "RUNNING" not in left and "WAITING" not in left
    retries = {one.user_attrs["retries"]: one for one in trials if "retries" in one.user_attrs}
    for trial in trials:
        if trial.user_attrs.get("reason") != DIED or not trial.params:
            continue
        if trial.user_attrs.get("deaths", 0) < MAX_DEATHS:
            again = retries[trial.number]
            assert again.system_attrs["fixed_params"]["x"] == trial.params["x"]
            assert again.params in ({}, trial.params)  # nothing, if it was killed at once
    assert len(retries) == sum("retries" in one.user_attrs for one in trials)


@pytest.mark.slow
def test_a_storm_of_kills_on_sqlite(url: str) -> None:
    storm(url, processes=3, n_trials=60, kills=20, seed=1)
    check_exact(url, 60)


@pytest.mark.slow
def test_a_storm_of_kills_on_postgres(postgres_url: str) -> None:
    storm(postgres_url, processes=4, n_trials=40, kills=10, seed=2)
    check_exact(postgres_url, 40)


@pytest.mark.slow
def test_longer_storms(tmp_path: Path, postgres_url: str) -> None:
    for url in (f"sqlite:///{tmp_path}/studies.db", postgres_url):
        storm(url, processes=4, n_trials=100, kills=40, seed=3)
        check_exact(url, 100)


def test_a_lock_that_was_lost_on_the_way_is_taken_once_more(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker has meanwhile given up the trial that this one is giving up."""
    study = open_study(url, 2)
    recover, calls = study._recover, []

    def late() -> Tally:
        calls.append(1)
        if len(calls) == 1:
            raise optuna.exceptions.UpdateFinishedTrialError("trial 0 has ended")
        return recover()

    monkeypatch.setattr(study, "_recover", late)
    trial = study.next_trial()
    assert trial is not None and trial.number == 0
    assert len(calls) == 2


def test_a_point_at_which_processes_die_counts_as_a_bad_one(url: str) -> None:
    """Whatever good it reported before; samplers take NaN for the worst."""
    study = open_study(url, 9)
    for death in range(MAX_DEATHS + 1):
        trial = study.next_trial()
        assert trial is not None and trial.number == death
        study.storage.set_trial_intermediate_value(trial._trial_id, 1, 0.5)
        study._give_up(study.trials()[death], DIED)
        ended = study.trials()[death]
        if death < MAX_DEATHS:
            assert (ended.state, ended.intermediate_values) == (TrialState.FAIL, {1: 0.5})
            assert "status" not in ended.user_attrs
    assert (ended.state, ended.user_attrs["status"]) == (TrialState.PRUNED, "failed")
    assert ended.user_attrs["reason"] == GIVEN_UP
    assert ended.intermediate_values[1] == 0.5 and math.isnan(ended.intermediate_values[2])
    assert states(study.trials()) == {"FAIL": MAX_DEATHS, "PRUNED": 1}


def test_one_that_died_before_it_had_parameters_is_not_queued(url: str) -> None:
    study = open_study(url, 9)
    default = study.next_trial()
    assert default is not None
    study.finish(default, Outcome(TrialState.COMPLETE, 1.0, {}))
    trial = study.study.ask()
    study._give_up(study.trials()[trial.number], DIED)
    assert states(study.trials()) == {"COMPLETE": 1, "FAIL": 1}


def test_one_that_died_before_it_had_parameters_leaves_its_number_to_the_next(
    url: str, tmp_path: Path
) -> None:
    """Another worker's trial was claimed meanwhile: the next one proposes another point than it."""
    undisturbed = [one.params for one in finish_all(open_study(f"sqlite:///{tmp_path}/u.db", 4))]
    study = open_study(url, 4)
    default = study.next_trial()
    assert default is not None
    study.finish(default, Outcome(TrialState.COMPLETE, 0.1, {}))
    (cut_off,), _ = study._claim(ONE)  # it has no parameters yet
    study.storage.set_trial_user_attr(
        cut_off._trial_id, "owner", {**storage.me(), "host": "another"}
    )
    second = study.next_trial()
    assert second is not None and second.params == undisturbed[2]
    study._give_up(study.trials()[cut_off.number], DIED)
    study.finish(second, Outcome(TrialState.COMPLETE, 0.5, {}))
    rest = [one.params for one in finish_all(study)]
    assert rest == [undisturbed[1], undisturbed[3]]


@pytest.mark.parametrize(
    ("kept", "number"),
    [
        ([], 0),
        ([{}], 1),  # the default, say
        ([{}, {PROPOSAL: 1}], 2),
        ([{}, {PROPOSAL: 2}], 1),
        ([{}, {PROPOSAL: 1, "reason": DIED}], 1),
        ([{}, {PROPOSAL: 1, "reason": DIED}, {PROPOSAL: 1, "retries": 1}, {PROPOSAL: 2}], 3),
        ([{}, {PROPOSAL: 1, "reason": INTERRUPTED}, {PROPOSAL: 2}], 1),
        ([{}, {PROPOSAL: 1, "reason": GIVEN_UP}], 2),
        ([{}, {}, {}, {PROPOSAL: 3}], 4),  # of a study that an earlier version began
        ([{"reason": DIED}, {"retries": 0}, {PROPOSAL: 1}], 2),
    ],
)
def test_the_number_of_the_next_sampler(kept: list[dict[str, Any]], number: int) -> None:
    trials = [create_trial(value=1.0, user_attrs=attributes) for attributes in kept]
    assert tally_of(trials).free_number() == number
