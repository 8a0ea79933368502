"""The searches of a comparison: a study for each.

Each study has a single worker, so its proposals depend only on its seed. So the same command finds
the same winners, after a kill, too, whoever makes which search.
"""

import copy
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate
from pathlib import Path

import optuna
from omegaconf import OmegaConf
from optuna.trial import TrialState
from rich.progress import TaskID

from src.comparing import checks
from src.comparing.ledger import Ledger
from src.comparing.outlook import remaining
from src.comparing.protocol import Plan
from src.comparing.record import Search, Trial
from src.comparing.trials import space_of, trials_of
from src.config import parse
from src.console import print_line, stdout
from src.errors import InputError
from src.launching.local import end, start
from src.launching.workers import Process, environment_of, undisturbed
from src.metrics import quantity
from src.overrides import override, python
from src.results import digest
from src.results.place import WORKER
from src.sweeping.progress import best_trial, trials_bar
from src.sweeping.show import importances
from src.sweeping.storage import AWAY, absolute, open_storage, patiently, shown
from src.sweeping.study import study_direction
from src.sweeping.tally import COUNTED, is_failed
from src.sweeping.workers import MAX_RESTARTS, POLL_SECONDS, last_words
from src.training.rehearsal import check

FIRST_TRIALS = 2  # by which the time left is told
Meanwhile = Callable[[], object]


class Searches:
    """Makes the searches of a plan.

    Args:
        plan: of the comparison.
        folder: of the comparison; each search prints to `<study>.log` in it.
        ledger: gets a line for each complete study.
        meanwhile: called again and again while a search is under way.
        where: says which hosts make something, after a search has ended.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        ledger: Ledger,
        meanwhile: Meanwhile = lambda: None,
        where: Callable[[], str] = lambda: "",
    ) -> None:
        self.plan, self.folder, self.ledger, self.meanwhile = plan, folder, ledger, meanwhile
        self.where = where
        self.console = stdout()
        self.bar = trials_bar(self.console)
        self.told_left = False
        self.seconds: dict[str, list[float]] = {}  # of each study's complete trials
        self.counted: dict[str, int] = {}  # each study's trials

    def search(self, method: str, number: int) -> Search:
        """Search once, and in a wider space if the best lies at an edge and `widen` allows it.

        A search that is complete is read.

        Raises:
            InputError: the search ended with an error; the message holds its last line.
            KeyboardInterrupt: the search has reported to its study before.
        """
        for task in self.bar.task_ids:  # the terminal shows those above
            self.bar.update(task, visible=False)
        with self.bar:
            return self._search(method, number)

    def _search(self, method: str, number: int) -> Search:
        wider: dict[str, str] = {}
        search = self._study(method, number, wider)
        for _ in range(self.plan.protocol.widen):
            more = widened(search, lambda name, value: self._works(method, name, value))
            if not more:
                break
            wider |= more
            search = self._study(method, number, wider)
        if checks.best(search.trials) is None:
            raise InputError(
                f"{method}: no trial of study {search.study} was completed, so there is "
                "no winner; narrow its space (hydra.sweeper.params) or raise protocol.n_trials"
            )
        return search

    def _works(self, method: str, name: str, value: float) -> bool:
        """Whether a method takes a value that lies beyond its space."""
        cfg = copy.deepcopy(self.plan.job(method))
        OmegaConf.update(cfg, name, value, force_add=True)
        try:
            check(parse(cfg))
        except InputError:
            return False
        return True

    def _study(self, method: str, number: int, wider: Mapping[str, str]) -> Search:
        name = self.plan.study(method, number)
        name += f"-wider-{digest(dict(wider))[:6]}" if wider else ""
        overrides = [*self.plan.overrides[method]]
        overrides += [f"++{key}={space}" for key, space in wider.items()]
        overrides += [
            f"seed={self.plan.search_seed(number)}",
            f"n_trials={self.plan.protocol.n_trials}",
            override("study", name),
        ]
        command = [
            "-m",
            "src.train",
            "-m",
            override("sweeps", self.plan.sweeps[method]),
            *overrides,
        ]
        self._carry_out(command, name, method)
        self.ledger.note("searched", f"{name}: {python(*command)}")
        return read_search(self.plan, method, number, name)

    def _carry_out(self, command: list[str], name: str, method: str) -> None:
        """Run the sweep until it ends by itself; start it again after a kill."""
        task = self.bar.add_task(name, total=self.plan.protocol.n_trials, state="")
        counted, state = self._state(name, method)
        if counted < self.plan.protocol.n_trials:
            self._sweep(command, task, name, method)
            counted, state = self._state(name, method)
        self.bar.update(task, completed=counted, state=state)
        print_line(self.console, f"searched {method}: {self._with_left(state)}{self.where()}")

    def _with_left(self, state: str) -> str:
        """A search's state, and how long the comparison may take, by the trials so far."""
        seconds = [each for study in self.seconds.values() for each in study]
        left = remaining(self.plan, seconds, sum(self.counted.values()))
        return f"{state}; {left}" if left else state

    def _sweep(self, command: list[str], task: TaskID, name: str, method: str) -> None:
        print_line(self.console, f"searching {method}: study {name}")
        log = self.folder / f"{name}.log"
        restarts = counted = 0
        while True:
            status = self._wait(self._start(command, log), task, name, method)
            before, (counted, _) = counted, self._state(name, method)
            restarts = 0 if counted > before else restarts + 1
            if status >= 0 or restarts > MAX_RESTARTS:
                break
        if status in (130, 143):
            raise KeyboardInterrupt
        if status != 0:
            raise InputError(f"the search of {method} gave up: {last_words(log)}")

    def _start(self, command: list[str], log: Path) -> Process:
        environment = environment_of(os.environ, os.getpid())
        del environment[WORKER]  # it is a sweep of its own
        return start(command, log, environment)

    def _wait(self, process: Process, task: TaskID, name: str, method: str) -> int:
        try:
            while (status := process.poll()) is None:
                self.meanwhile()
                if self.console.is_terminal or not self.told_left:
                    counted, state = self._state(name, method)
                    self.bar.update(task, completed=counted, state=self._with_left(state))
                    self._tell_first(name, method, state)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_SECONDS)
        except BaseException:
            with undisturbed():
                end(process)
            raise
        return status

    def _tell_first(self, name: str, method: str, state: str) -> None:
        """Say once how long it may take, when the first search has its first trials."""
        if not self.told_left and len(self.seconds.get(name, ())) >= FIRST_TRIALS:
            self.told_left = True
            print_line(self.console, f"searching {method}: {self._with_left(state)}")

    def _state(self, name: str, method: str) -> tuple[int, str]:
        """The number of trials that count, and a text about them."""
        try:
            study = _load(self.plan, method, name)
            trials = study.get_trials(deepcopy=False)
        except (KeyError, InputError, *AWAY):  # no study yet, or no database: its sweep says so
            return 0, ""
        counted = [trial for trial in trials if trial.state in COUNTED]
        self.counted[name] = min(len(counted), self.plan.protocol.n_trials)
        complete = (trial for trial in counted if trial.state is TrialState.COMPLETE)
        seconds = (trial.user_attrs.get("seconds") for trial in complete)
        self.seconds[name] = [each for each in seconds if each]
        failed = sum(map(is_failed, counted))
        pruned = sum(trial.state is TrialState.PRUNED for trial in counted) - failed
        state = f"{len(counted)} trials, {pruned} pruned"
        state += f", {failed} failed" if failed else ""
        if best := best_trial(trials, study_direction(study)):
            state += f", best {best.value:.4g}"
        return len(counted), state


def read_search(plan: Plan, method: str, number: int, name: str) -> Search:
    """Read a finished search from its study."""
    try:
        study = patiently(partial(_load, plan, method, name), url=_url(plan, method))
    except KeyError as error:
        raise InputError(f"{name}: its study is gone from {shown(_url(plan, method))}") from error
    signature = study.user_attrs["signature"]
    of_method = ("optimizer", "scheduler", "space", "search", "hash", "seed")
    shared = {key: value for key, value in signature.items() if not key.startswith(of_method)}
    trials = first_trials(trials_of(study), plan.protocol.n_trials)
    return Search(
        method=method,
        search=number,
        study=name,
        hash=signature["hash"],
        shared_hash=digest(shared),
        space=space_of(study),
        importance=importances(study),
        margin=_margin(plan, str(plan.job(method).objective.metric), trials),
        trials=trials,
    )


def _load(plan: Plan, method: str, name: str) -> optuna.Study:
    """A study by its name; the database is opened once."""
    lease_seconds = plan.configs[method].hydra.sweeper.lease_seconds
    storage = open_storage(_url(plan, method), lease_seconds)
    return optuna.load_study(study_name=name, storage=storage)


def _url(plan: Plan, method: str) -> str:
    return absolute(str(plan.configs[method].hydra.sweeper.storage))


def _margin(plan: Plan, metric: str, trials: Sequence[Trial]) -> float | None:
    """How far apart trials may end and be as good: the comparison's margin, taken at the best.

    None where none is complete, or where the margin is a number of another metric.
    """
    protocol, best = plan.protocol, checks.best(trials)
    other = quantity(metric) != quantity(protocol.metric)
    if best is None or best.value is None or (other and not isinstance(protocol.margin, str)):
        return None
    return protocol.margin_of(metric, [best.value])


def first_trials(trials: Sequence[Trial], n_trials: int) -> list[Trial]:
    """The trials of a search of this length: another comparison may have made it longer."""
    numbers = [*accumulate(int(trial.counted) for trial in trials)]
    if not trials or numbers[-1] <= n_trials:
        return [*trials]
    return [*trials[: numbers.index(n_trials) + 1]]


def widened(
    search: Search, works: Callable[[str, float], bool] = lambda name, value: True
) -> dict[str, str]:
    """Overrides that move each edge at which the best lies by a decade.

    An edge stays if its space isn't logarithmic, or if no value beyond it `works`.
    """
    wider = {}
    for name, (side, _, space) in checks.edges(search).items():
        if not space.log:
            continue
        end = space.low if side == "low" else space.high
        edge = _beyond(name, end, side)
        if edge != end and works(name, edge):
            low, high = (edge, space.high) if side == "low" else (space.low, edge)
            interval = f"tag(log, interval({low!r}, {high!r}))"
            wider[name] = f"int({interval})" if isinstance(edge, int) else interval
    return wider


def _beyond(name: str, edge: float, side: str) -> float:
    """The edge moved by a decade; whole numbers stay >= 1, and 1 - beta stays <= 1."""
    if side == "low":
        return max(edge // 10, 1) if isinstance(edge, int) else edge / 10
    return min(edge * 10, 1.0) if name.startswith("search.one_minus_") else edge * 10
