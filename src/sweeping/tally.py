"""What a process must know of a study's trials, kept up by reading those that may have changed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter

from optuna.trial import FrozenTrial, TrialState

from src.metrics import Direction
from src.results.status import Status

COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
PROPOSAL = "proposal"  # attribute of a trial: the number of the sampler that proposed it
DIED, INTERRUPTED = "its process died", Status.INTERRUPTED.value
LOST = (DIED, INTERRUPTED)  # reasons of trials that are run again, and otherwise don't count
Read = Callable[[Mapping[int, FrozenTrial], int], Iterable[FrozenTrial]]


def is_failed(trial: FrozenTrial) -> bool:
    """Whether a trial failed, by its own settings or otherwise, and is not run again."""
    if trial.state is TrialState.FAIL:
        return trial.user_attrs.get("reason") not in LOST
    return trial.state is TrialState.PRUNED and trial.user_attrs.get("status") == Status.FAILED


class Tally:
    """Totals of a study, and its open trials. A look costs the same however many have ended.

    Args:
        read: gives these open trials as they are now, by id, and those with ids above a number, in
            order; of each it needs the parameters, the values and the user's attributes. One that
            ran before and still runs may be given as it was.
        direction: of the values.
    """

    def __init__(self, read: Read, direction: Direction) -> None:
        self.read, self.direction = read, direction
        self.open: dict[int, FrozenTrial] = {}  # those that wait or run, by id
        self.last = -1  # the largest id of those that ended
        self.counted = self.failed = self.pruned = 0
        self.best: FrozenTrial | None = None
        self.unnumbered = self.floor = 0  # every number from one to the other is taken
        self.taken: set[int] = set()  # numbers above

    def look(self) -> Iterator[FrozenTrial]:
        """Read what may have changed; yield each trial that has ended since the last look.

        One that is cut short, by the database say, has counted what it yielded.
        """
        for trial in self.read(dict(self.open), self.last):
            if not trial.state.is_finished():
                self.open[trial._trial_id] = trial
                continue
            self.open.pop(trial._trial_id, None)
            self.last = max(self.last, trial._trial_id)
            self._count(trial)
            yield trial

    def _count(self, trial: FrozenTrial) -> None:
        failed = is_failed(trial)
        self.counted += trial.state in COUNTED
        self.failed += failed
        self.pruned += trial.state is TrialState.PRUNED and not failed
        if trial.state is TrialState.COMPLETE:
            rivals = [trial] if self.best is None else [self.best, trial]
            self.best = self.direction.best(rivals, attrgetter("value"))
        if trial.user_attrs.get("reason") in LOST:
            return
        if PROPOSAL in trial.user_attrs:
            self.taken.add(trial.user_attrs[PROPOSAL])
        else:
            self.unnumbered += 1
        self.floor = max(self.floor, self.unnumbered)
        while self.floor in self.taken:
            self.taken.remove(self.floor)
            self.floor += 1

    def running(self) -> list[FrozenTrial]:
        return self._in(TrialState.RUNNING)

    def waiting(self) -> FrozenTrial | None:
        """The trial that is next in the queue."""
        return min(self._in(TrialState.WAITING), key=lambda trial: trial.number, default=None)

    def _in(self, state: TrialState) -> list[FrozenTrial]:
        return [trial for trial in self.open.values() if trial.state is state]

    def free_number(self) -> int:
        """The number of the next sampler: the least that no trial has which counts or may yet.

        A trial that was lost gives its number to the one that repeats it or, if it died before it
        had all its parameters, to the next: never the number of another trial, whose sampler would
        propose the same point. Trials without a number, such as the default, come before all
        others.
        """
        trials = self.open.values()
        kept = [trial for trial in trials if trial.user_attrs.get("reason") not in LOST]
        numbers = {trial.user_attrs.get(PROPOSAL) for trial in kept}
        unnumbered = sum(PROPOSAL not in trial.user_attrs for trial in kept)
        number = max(self.floor, self.unnumbered + unnumbered)
        while number in numbers or number in self.taken:
            number += 1
        return number
