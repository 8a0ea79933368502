"""A tally knows what the whole list of trials tells, without reading it again."""

import random
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from src.metrics import Direction
from src.sweeping.progress import best_trial
from src.sweeping.tally import COUNTED, DIED, INTERRUPTED, LOST, PROPOSAL, Tally, is_failed
from tests.sweeping.conftest import tally_of

OPEN = (TrialState.WAITING, TrialState.RUNNING)


def free_number(trials: list[FrozenTrial]) -> int:
    """The number of the next sampler, from all trials."""
    kept = [trial for trial in trials if trial.user_attrs.get("reason") not in LOST]
    numbers = {trial.user_attrs.get(PROPOSAL) for trial in kept}
    unnumbered = sum(PROPOSAL not in trial.user_attrs for trial in kept)
    return next(number for number in count(unnumbered) if number not in numbers)


def check(tally: Tally, trials: list[FrozenTrial]) -> None:
    failed = [trial for trial in trials if is_failed(trial)]
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
    assert tally.free_number() == free_number(trials)
    assert tally.counted == sum(trial.state in COUNTED for trial in trials)
    assert tally.failed == len(failed)
    assert tally.pruned == len([trial for trial in pruned if trial not in failed])
    best = best_trial(trials, tally.direction)
    assert (tally.best and tally.best.value) == (best and best.value)
    states = [trial.state for trial in tally.open.values()]
    assert sorted(states) == sorted(trial.state for trial in trials if trial.state in OPEN)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(list(Direction)))
def test_a_history_of_claims_ends_and_deaths(seed: int, direction: Direction) -> None:
    """Whatever ended in whatever order since the last look, in whatever process."""
    chance, trials = random.Random(seed), list[FrozenTrial]()
    tally = tally_of(trials, direction)

    def end(trial: FrozenTrial) -> None:
        trial.state = chance.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
        if trial.state is TrialState.COMPLETE:
            trial.value = float(chance.randrange(9))
        elif chance.random() < 0.5:
            trial.user_attrs["status"] = "failed"
        if trial.state is TrialState.FAIL and chance.random() < 0.7:
            trial.user_attrs["reason"] = chance.choice([DIED, INTERRUPTED])
            if chance.random() < 0.7:
                kept = {PROPOSAL: trial.user_attrs.get(PROPOSAL)}
                attributes = kept if PROPOSAL in trial.user_attrs else {}
                add(TrialState.WAITING, {"retries": trial.number, **attributes})

    def add(state: TrialState, attributes: dict[str, Any]) -> None:
        trials.append(create_trial(state=state, user_attrs=attributes))
        trials[-1].number = trials[-1]._trial_id = len(trials) - 1

    for _ in range(40):
        going = [trial for trial in trials if trial.state in OPEN]
        if going and chance.random() < 0.45:
            trial = chance.choice(going)
            waits = trial.state is TrialState.WAITING
            if waits:
                trial.state = TrialState.RUNNING
            else:
                end(trial)
        elif chance.random() < 0.8:
            add(TrialState.RUNNING, {PROPOSAL: free_number(trials)})
        else:
            add(TrialState.WAITING, {})
        if chance.random() < 0.5:
            for _ in tally.look():
                pass
            check(tally, trials)


def test_each_end_is_told_once_and_only_what_may_have_changed_is_read() -> None:
    trials = [create_trial(value=1.0), create_trial(state=TrialState.RUNNING),
              create_trial(value=2.0)]  # fmt: skip
    tally, read = tally_of(trials), list[int]()
    real = tally.read

    def watched(known: Mapping[int, FrozenTrial], after: int) -> list[FrozenTrial]:
        found = [*real(known, after)]
        read.extend(trial.number for trial in found)
        return found

    tally.read = watched
    assert [*tally.look()] == [] and read == [1]
    trials[1] = create_trial(value=0.5)
    trials.append(create_trial(state=TrialState.WAITING))
    assert [trial.number for trial in tally.look()] == [1]
    assert [*tally.look()] == [] and read == [1, 1, 3, 3]
    waiting = tally.waiting()
    assert waiting is not None and waiting.number == 3
    assert tally.best is not None and tally.best.number == 1 and tally.counted == 3


def test_a_look_that_was_cut_short_counts_nothing_twice() -> None:
    trials = [create_trial(value=float(number)) for number in range(4)]
    tally = tally_of(trials, looks=False)
    real = tally.read

    def broken(known: Mapping[int, FrozenTrial], after: int) -> Iterable[FrozenTrial]:
        for number, trial in enumerate(real(known, after)):
            if number == 2:
                raise OSError("gone")
            yield trial

    tally.read = broken
    with pytest.raises(OSError):
        list(tally.look())
    tally.read = real
    assert [trial.number for trial in tally.look()] == [2, 3] and tally.counted == 4
