"""One study that any number of processes share: its next trial, and each trial's outcome.

Every decision is taken under the database's lock, from the database's contents, so nothing is
lost with a process: a trial whose process died is run again with the same parameters.
"""

import copy
import math
import time
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from threading import Event, Thread
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, Trial, TrialState

from src.errors import InputError
from src.metrics import Direction
from src.results.identity import differing
from src.results.status import BAD, Status
from src.sweeping import storage as db
from src.sweeping.tables import Storage
from src.sweeping.tally import DIED, INTERRUPTED, PROPOSAL, Tally

MAX_DEATHS = 3  # a trial that kills its process each time must not do so for ever
GIVEN_UP = f"its process died {MAX_DEATHS + 1} times"
POLL_SECONDS = 0.3
TALLIED = ("params", "values", "user_attributes")  # what a tally needs of a trial
REPORT_SECONDS = 1.0  # at least between writes of reports that no pruner reads
ANOTHER = "choose another hydra.sweeper.study_name (or study=NAME)"

T = TypeVar("T")
Space = Mapping[str, BaseDistribution]


@dataclass(frozen=True)
class Outcome:
    """The end of a trial: its state, its value if complete, and attributes to store."""

    state: TrialState
    value: float | None
    attributes: Mapping[str, Any]

    @property
    def bad(self) -> bool:
        """Whether the trial counts, as a bad point."""
        return self.state is TrialState.PRUNED and self.attributes.get("status") in BAD


def study_direction(study: optuna.Study) -> Direction:
    """The direction of a study's values."""
    return Direction[study.direction.name]


class View(optuna.Study):
    """A study with some attributes replaced.

    Opening the study by its name would read all its trials anew.
    """

    def __init__(self, study: optuna.Study, **replaced: Any) -> None:
        vars(self).update(vars(study), **replaced)


class _Learning(View):
    """A study for samplers that learn from complete trials alone.

    A bad point has the worst value of all trials, so that it isn't proposed again.
    """

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        trials = super()._get_trials(deepcopy, None, use_cache)
        values = [trial.value for trial in trials if trial.value is not None]
        if values:
            worst = study_direction(self).worst(values)
            trials = [_as_complete(trial, worst) for trial in trials]
        return [trial for trial in trials if states is None or trial.state in states]


def _as_complete(trial: FrozenTrial, worst: float) -> FrozenTrial:
    """A bad trial as a complete one; any other trial unchanged."""
    if trial.state is not TrialState.PRUNED or trial.user_attrs.get("status") not in BAD:
        return trial
    trial = copy.copy(trial)  # the original is shared
    trial.state, trial.value = TrialState.COMPLETE, worst
    return trial


@dataclass(frozen=True)
class Batches:
    """Which proposals make a batch, whose trials are claimed at once and trained together.

    Args:
        size: of a batch, >= 1; its proposals know only the trials of earlier batches.
        free: the number of first proposals that know of no other trial anyway.
        at_once: how many of these make a batch, >= 1.
    """

    size: int
    free: int = 0
    at_once: int = 1

    def of(self, number: int) -> range:
        """The numbers of the proposals in one batch with this one."""
        if number < self.free:
            first = number - number % self.at_once
            return range(first, min(first + self.at_once, self.free))
        first = number - (number - self.free) % self.size
        return range(first, first + self.size)


class SharedStudy:
    """A study in a database.

    Args:
        url: the database, absolute.
        name: of the study.
        direction: of the values.
        space: distribution of each searched parameter.
        default: value of each parameter in the default configuration, tried first.
        signature: everything that makes trials comparable, flat.
        n_trials: trials in all that count: complete, pruned, diverged, failed by their settings.
        lease_seconds: how long a process may be silent.
        sampler: makes the sampler for a trial's number.
        pruner: also filters what the sampler learns from (Hyperband).
    """

    def __init__(
        self,
        *,
        url: str,
        name: str,
        direction: Direction,
        space: Space,
        default: Mapping[str, Any],
        signature: Mapping[str, Any],
        n_trials: int,
        lease_seconds: int,
        sampler: Callable[[int], optuna.samplers.BaseSampler],
        pruner: optuna.pruners.BasePruner,
    ) -> None:
        self.url, self.name, self.space = url, name, dict(space)
        self.n_trials, self.sampler = n_trials, sampler
        self.storage = db.open_storage(url, lease_seconds)
        self.silent_since: dict[int, float] = {}
        # Of each running trial the reports that wait, by step, and when the last was written.
        self.reports: dict[int, tuple[dict[int, float], float]] = {}
        self.has_default = inside(default, self.space)
        self.study = self._patiently(lambda: self._open(direction, pruner, default, signature))
        self.decided = self.tally()  # what the last claim knew

    def _patiently(self, action: Callable[[], T], seconds: float = db.PATIENCE_SECONDS) -> T:
        return db.patiently(action, seconds, self.url)

    def _open(
        self,
        direction: Direction,
        pruner: optuna.pruners.BasePruner,
        default: Mapping[str, Any],
        signature: Mapping[str, Any],
    ) -> optuna.Study:
        """Create the study, or check that it is the same one."""
        study, recorded = self._existing(pruner)
        if recorded is None:
            with db.lock(self.url):
                study = optuna.create_study(
                    storage=self.storage,
                    study_name=self.name,
                    direction=optuna.study.StudyDirection[direction.name],
                    pruner=pruner,
                    load_if_exists=True,
                )
                recorded = self._sign(study, default, signature)
        assert study is not None
        if recorded is not None and recorded != signature:
            raise InputError(_differs(self.name, recorded, signature))
        return study

    def _existing(self, pruner: optuna.pruners.BasePruner) -> tuple[optuna.Study | None, Any]:
        """The study and its signature, if another process has made it: that needs no lock."""
        try:
            study = optuna.load_study(storage=self.storage, study_name=self.name, pruner=pruner)
        except KeyError:
            return None, None
        return study, study.user_attrs.get("signature")

    def _sign(
        self, study: optuna.Study, default: Mapping[str, Any], signature: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """Sign a new study and queue the default; return the signature that it had before."""
        recorded: Mapping[str, Any] | None = study.user_attrs.get("signature")
        if recorded is None:
            if any(trial.state is not TrialState.WAITING for trial in study.trials):
                raise InputError(f"study {self.name} was not made by fairstep; {ANOTHER}")
            if self.has_default:
                study.enqueue_trial(dict(default), skip_if_exists=True)
            study.set_user_attr("signature", dict(signature))
        return recorded

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def begun(self) -> set[int]:
        """The numbers of the trials that don't wait."""
        trials = self.storage.changed(self.study._study_id, (), -1, parts=())
        return {trial.number for trial in trials if trial.state is not TrialState.WAITING}

    def tally(self) -> Tally:
        """A tally of the study's trials, which has not looked yet."""
        study = self.study._study_id

        def read(known: Mapping[int, FrozenTrial], after: int) -> Iterable[FrozenTrial]:
            return self.storage.changed(study, known, after, TALLIED, known)

        return Tally(read, self.direction)

    def _look(self) -> Tally:
        for _ in self.decided.look():
            pass
        return self.decided

    def counted(self) -> int:
        return self._look().counted

    @property
    def direction(self) -> Direction:
        return study_direction(self.study)

    def limit(self, points: int | None) -> None:
        """End a grid when each of its points was tried, and the default beside them."""
        if points is not None:
            self.n_trials = min(self.n_trials, points + self.has_default)

    def next_trial(self, stop: Callable[[], bool] = lambda: False) -> Trial | None:
        """A trial to run, or None when all are done."""
        return next(iter(self.next_trials(Batches(1), stop)), None)

    def next_trials(
        self, batches: Batches, stop: Callable[[], bool] = lambda: False
    ) -> list[Trial]:
        """Trials to run at once, or none when all are done.

        A proposal knows the trials of earlier batches. The numbers of proposals say which batch a
        trial is of, so that after a kill the rest of a batch is run before the next is proposed. A
        trial whose process died runs alone, for it may take those beside it down.

        It waits while the last trials run elsewhere, because if one fails or dies there, another
        must replace it; `stop` ends the wait.
        """
        wait = POLL_SECONDS / 16  # the last trials of a quick model end soon
        while not stop():
            claimed, complete = self._patiently(lambda: self._claim(batches))
            if trials := [trial for trial in claimed if self._suggest(trial)]:
                return trials
            if complete:
                return []
            time.sleep(wait)
            wait = min(2 * wait, POLL_SECONDS)
        return []

    def _suggest(self, trial: Trial) -> bool:
        """Fix the trial's parameters, outside the lock; False if the trial was taken for dead."""

        def action() -> bool:
            try:
                with db.suggesting(self.storage):
                    for name, distribution in self.space.items():
                        trial._suggest(name, distribution)
            except optuna.exceptions.UpdateFinishedTrialError:
                return False
            return True

        return self._patiently(action)

    def _claim(self, batches: Batches) -> tuple[list[Trial], bool]:
        """The trials of a batch that are left, if there are any, and whether all are done."""
        try:
            self._look()  # most of what there is to read is read before others have to wait
            with db.alone(self.storage, self.name):
                tally, claimed, batch = self._recover(), list[Trial](), range(1)
                while tally.counted + len(tally.running()) < self.n_trials:
                    number, waiting = tally.free_number(), tally.waiting()
                    attributes = waiting.user_attrs if waiting else {PROPOSAL: number}
                    died = attributes.get("deaths")
                    if not claimed and not died:
                        batch = batches.of(attributes.get(PROPOSAL, 0))
                    elif claimed and (died or (waiting is None and number not in batch)):
                        break
                    claimed.append(self._ask(number, waiting))
                    if len(claimed) == len(batch):
                        break
                    tally = self._look()
                return claimed, tally.counted >= self.n_trials
        except optuna.exceptions.UpdateFinishedTrialError:
            self._forget()
            return [], False  # somebody told or gave up the trial at this moment: try again
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        """Forget what was read in a transaction that failed: it isn't in the database."""
        self.study._storage = optuna.storages.get_storage(self.storage)
        self.decided = self.tally()

    def _ask(self, number: int, waiting: FrozenTrial | None) -> Trial:
        sampler = self.sampler(number)
        ranks_pruned = isinstance(sampler, optuna.samplers.TPESampler)
        study = (View if ranks_pruned else _Learning)(self.study, sampler=sampler)
        study._thread_local.cached_all_trials = None
        trial_id = self._create(number) if waiting is None else self._start(waiting)
        self.storage.record_heartbeat(trial_id)
        trial = Trial(study, trial_id)
        trial.storage = self.storage  # Optuna's cache in front of it would keep every trial
        return trial

    def _create(self, number: int) -> int:
        """Make a trial that has its attributes from the first moment on; return its id."""
        attributes = {"owner": db.me(), PROPOSAL: number}
        template = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs=attributes)
        template.datetime_start = datetime.now()
        return self.storage.create_new_trial(self.study._study_id, template)

    def _start(self, waiting: FrozenTrial) -> int:
        """Start a trial of the queue; return its id.

        Raises:
            UpdateFinishedTrialError: somebody else has started or ended it.
        """
        trial_id = waiting._trial_id
        if not self.storage.set_trial_state_values(trial_id, TrialState.RUNNING):
            raise optuna.exceptions.UpdateFinishedTrialError(f"trial {waiting.number} is running")
        # This comes first: a running trial without an owner is known to be an orphan.
        self.storage.set_trial_user_attr(trial_id, "owner", db.me())
        return trial_id

    def _recover(self) -> Tally:
        """Fail the trials whose process is gone, and queue each again with its parameters."""
        running = self._look().running()
        silent = self.storage.silent(trial._trial_id for trial in running)
        lost = [trial for trial in running if self._is_lost(trial, silent)]
        for trial in lost:
            self._give_up(trial, DIED)
        return self._look() if lost else self.decided

    def _is_lost(self, trial: FrozenTrial, silent: set[int]) -> bool:
        """Whether nobody runs a trial that is marked as running.

        While this process asks for a trial it runs none, so one of its own is left from an attempt
        that the database cut off. A lease counts as run out once this
        process has seen it so for a while, because the database may have been away, and every
        holder needs time to renew.
        """
        owner = trial.user_attrs.get("owner")
        if owner is None or owner == db.me() or db.is_dead(owner):
            return True
        if trial._trial_id not in silent:
            self.silent_since.pop(trial.number, None)
            return False
        since = self.silent_since.setdefault(trial.number, time.monotonic())
        return time.monotonic() - since > 2 * renewal_seconds(self.storage)

    def disconnect(self) -> None:
        """Close the connections to the database; the next call opens one."""
        self.storage.engine.dispose()

    def release(self) -> None:
        """Queue this process's running trial again, so that the next start runs it first.

        Raises:
            InputError: the database can't be reached; the next start finds the trial all the same.
        """

        def action() -> None:
            with db.alone(self.storage, self.name):
                for trial in self._look().running():
                    if trial.user_attrs.get("owner") == db.me():
                        self._give_up(trial, INTERRUPTED)

        self._forget()
        db.renew(self.storage)
        self._patiently(action, seconds=5)

    def _give_up(self, trial: FrozenTrial, reason: str) -> None:
        """Queue the trial again, then fail it; after a kill in between it is queued once.

        A trial whose process died too often isn't queued: it counts, as a bad point.

        A trial that died before it had all its parameters isn't queued either: the sampler of its
        number proposes it again. A grid would not, since it has crossed the point off its list.
        """
        trial = self.storage.get_trial(trial._trial_id)  # as it is since its process is gone
        fixed, complete = trial.system_attrs.get("fixed_params"), {*trial.params} == {*self.space}
        params = trial.params if complete else fixed or {}
        begun = complete or fixed is not None or "grid_id" in trial.system_attrs
        deaths = trial.user_attrs.get("deaths", 0) + (reason == DIED)
        queued = any(retry.user_attrs.get("retries") == trial.number for retry in self.trials())
        if deaths > MAX_DEATHS:
            self._end(trial, GIVEN_UP, bad=complete)
            return
        if begun and not queued:
            attributes = dict(trial.system_attrs)  # the point of a grid, say
            number = trial.user_attrs.get(PROPOSAL)
            kept = {} if number is None else {PROPOSAL: number}
            for key in self._rungs_to_climb(trial):
                del attributes[key]
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=TrialState.WAITING,
                    system_attrs={**attributes, "fixed_params": params},
                    user_attrs={"retries": trial.number, "deaths": deaths, **kept},
                )
            )
        self._end(trial, reason)

    def _end(self, trial: FrozenTrial, reason: str, *, bad: bool = False) -> None:
        if bad:
            self.storage.set_trial_user_attr(trial._trial_id, "status", Status.FAILED.value)
            self._forget_value(trial)
        self.storage.set_trial_user_attr(trial._trial_id, "reason", reason)
        state = TrialState.PRUNED if bad else TrialState.FAIL
        self.storage.set_trial_state_values(trial._trial_id, state)

    def _forget_value(self, trial: FrozenTrial) -> None:
        """Hide the values that a bad trial reported, which may look good.

        Optuna takes a pruned trial's last report for its value, and samplers take NaN for the
        worst.
        """
        step = (trial.last_step or 0) + 1
        self.storage.set_trial_intermediate_value(trial._trial_id, step, math.nan)

    def _rungs_to_climb(self, trial: FrozenTrial) -> list[str]:
        """The rungs that a repeated trial climbs again: the highest, whose verdict may be lost.

        Later trials must not judge it on a rung that it has passed: then all could be pruned.
        Hyperband picks the bracket by the trial's number, so the repeated trial climbs all rungs.
        """
        rungs = [key for key in trial.system_attrs if key.startswith("completed_rung_")]
        if not isinstance(self.study.pruner, optuna.pruners.SuccessiveHalvingPruner):
            return rungs
        return [f"completed_rung_{len(rungs) - 1}"] if rungs else []

    def note(self, trial: Trial, attributes: Mapping[str, Any]) -> None:
        """Store facts about a running trial, unless it was taken for dead meanwhile."""

        def action() -> None:
            with suppress(optuna.exceptions.UpdateFinishedTrialError):
                self.storage.set_trial_user_attrs(trial._trial_id, attributes)

        self._patiently(action)

    def report(self, trial: Trial, step: int, value: float, *, at_once: bool) -> None:
        """Report a value of a running trial.

        Args:
            at_once: if not, it may wait for later reports or the trial's end, so that a short trial
                doesn't spend its time on reports that nobody can read meanwhile.

        Raises:
            UpdateFinishedTrialError: the trial was taken for dead.
            OptunaError, SQLAlchemyError: the database is away; the report waits.
        """
        waiting, written = self.reports.setdefault(trial._trial_id, ({}, time.monotonic()))
        waiting[step] = value
        if at_once or time.monotonic() - written > REPORT_SECONDS:
            self._write_reports(trial)
            self.reports[trial._trial_id] = {}, time.monotonic()

    def _write_reports(self, trial: Trial) -> None:
        values, _ = self.reports.get(trial._trial_id, ({}, 0.0))
        self.storage.set_trial_intermediate_values(trial._trial_id, values)

    def finish(self, trial: Trial, outcome: Outcome) -> None:
        """Report the outcome to the study, unless the trial was taken for dead meanwhile.

        Of two that end the same trial the second fails, and changes nothing.
        """

        def action() -> None:
            finished_elsewhere = optuna.exceptions.UpdateFinishedTrialError
            with suppress(finished_elsewhere), db.together(self.storage):
                self._tell(trial, outcome)

        self._patiently(action)
        self.reports.pop(trial._trial_id, None)

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        self._write_reports(trial)
        self.storage.set_trial_user_attrs(trial._trial_id, outcome.attributes)
        value = outcome.value
        if outcome.state is TrialState.PRUNED:  # its value is in the database
            frozen = self.storage.get_trial(trial._trial_id)
            if outcome.bad:
                self._forget_value(frozen)
            value = value_of(frozen, outcome)
        values = None if value is None else [value]
        self.storage.set_trial_state_values(trial._trial_id, outcome.state, values)


def value_of(trial: FrozenTrial, outcome: Outcome) -> float | None:
    """The value with which a pruned trial is told, as `Study.tell` has it: its last report."""
    last = trial.last_step
    if last is None or outcome.bad:
        return outcome.value
    report = trial.intermediate_values[last]
    return None if math.isnan(report) else report


class Lease:
    """Renews the leases of running trials in the background, as a context manager."""

    def __init__(self, study: SharedStudy, *trials: Trial) -> None:
        self.storage, self.trial_ids = study.storage, [trial._trial_id for trial in trials]
        self.ended = Event()
        self.thread = Thread(target=self._renew, daemon=True)

    def _renew(self) -> None:
        while not self.ended.wait(renewal_seconds(self.storage)):
            for trial_id in self.trial_ids:
                with suppress(Exception):  # the database is away; the next renewal may reach it
                    self.storage.record_heartbeat(trial_id)

    def __enter__(self) -> "Lease":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.thread.join(timeout=5)


def renewal_seconds(storage: Storage) -> int:
    assert storage.heartbeat_interval is not None
    return storage.heartbeat_interval


def inside(default: Mapping[str, Any], space: Space) -> bool:
    """Whether the default configuration is a point of the space (a narrowed one may exclude it)."""
    try:
        return all(
            item._contains(item.to_internal_repr(default[name])) for name, item in space.items()
        )
    except (TypeError, ValueError):  # null, or a word that is not among the choices
        return False


def describe_space(space: Space) -> dict[str, str]:
    return {name: distribution_to_json(item) for name, item in space.items()}


def _differs(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    every = differing(old, {**new, "hash": old.get("hash")})
    more = f" and {len(every) - 3} more" if len(every) > 3 else ""
    shown = "; ".join(every[:3]) + more
    return f"study {name} holds trials that can't be compared with these: {shown}; {ANOTHER}"
