"""The searches of a comparison: a study for each, several side by side.

Each study has a single worker, so that its proposals depend on nothing but its seed; processors
are filled with other studies instead. The same command then finds the same winners, and goes on
after a kill to those that it would have found.
"""

import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState
from rich.progress import TaskID

from src.comparing import checks
from src.comparing.ledger import Ledger
from src.comparing.protocol import Plan
from src.comparing.record import Choices, Interval, Search, Trial
from src.config import parse
from src.console import print_line, stdout
from src.errors import InputError
from src.metrics import Direction
from src.overrides import override, python
from src.results import digest
from src.results.status import BAD, Status
from src.sweeping.progress import best_trial, trials_bar
from src.sweeping.show import importances, load
from src.sweeping.storage import AWAY, absolute, open_storage
from src.sweeping.study import COUNTED, LOST, direction_of, is_failed
from src.sweeping.workers import MAX_RESTARTS, PARENT, POLL_SECONDS, end, last_words
from src.training.rehearsal import check

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: Status.PRUNED.value,
    TrialState.FAIL: Status.FAILED.value,
}


class Searches:
    """Runs the searches of a plan.

    Args:
        plan: what is compared.
        folder: of the comparison; each search prints into `<study>.log` there.
        ledger: is told of each study that is complete.
    """

    def __init__(self, plan: Plan, folder: Path, ledger: Ledger) -> None:
        self.plan, self.folder, self.ledger = plan, folder, ledger
        self.console = stdout()
        self.bar = trials_bar(self.console)
        self.stopping = False
        self.writing = Lock()  # of the ledger

    def run(self) -> list[Search]:
        """Search every method as often as the protocol says.

        Raises:
            InputError: a search ended with an error; its last words.
            KeyboardInterrupt: after the searches have told their studies.
        """
        todo = list(product(range(self.plan.protocol.searches), self.plan.methods))
        with self.bar, ThreadPoolExecutor(self.plan.protocol.n_jobs) as pool:
            found = [pool.submit(self._search, method, number) for number, method in todo]
            try:
                searches = [one.result() for one in found]
            except BaseException:
                self.stopping = True
                pool.shutdown(cancel_futures=True)
                raise
        return searches

    def _search(self, method: str, number: int) -> Search:
        """One search, wider if its best lies at an edge and the protocol says so."""
        wider: dict[str, str] = {}
        found = self._study(method, number, wider)
        for _ in range(self.plan.protocol.widen):
            more = widened(found, lambda name, value: self._works(method, name, value))
            if not more:
                break
            wider |= more
            found = self._study(method, number, wider)
        if checks.best(found.trials) is None:
            raise InputError(
                f"{method}: no trial of study {found.study} was completed, so there is "
                "no winner; narrow its space (hydra.sweeper.params) or raise protocol.n_trials"
            )
        return found

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
        given = [*self.plan.overrides, *(f"++{key}={space}" for key, space in wider.items())]
        given += [f"seed={number}", f"n_trials={self.plan.protocol.n_trials}", f"study={name}"]
        command = ["-m", "src.train", "-m", override("sweeps", method), *given]
        self._carry_out(command, name, method)
        with self.writing:
            self.ledger.note("searched", f"{name}: {python(*command)}")
        return read_search(self.plan, method, number, name)

    def _carry_out(self, command: list[str], name: str, method: str) -> None:
        """Run the sweep until it ends by itself; start it again where it was killed."""
        task = self.bar.add_task(name, total=self.plan.protocol.n_trials, state="")
        done, state = self._state(name, method)
        if done < self.plan.protocol.n_trials:
            self._sweep(command, task, name, method)
            done, state = self._state(name, method)
        self.bar.update(task, completed=done, state=state)
        print_line(self.console, f"searched {method}: {state}")

    def _sweep(self, command: list[str], task: TaskID, name: str, method: str) -> None:
        print_line(self.console, f"searching {method}: study {name}")
        log = self.folder / f"{name}.log"
        restarts = counted = 0
        while True:
            status = self._wait(self._start(command, log), task, name, method)
            if self.stopping:
                raise KeyboardInterrupt
            before, (counted, _) = counted, self._state(name, method)
            restarts = 0 if counted > before else restarts + 1
            if status >= 0 or restarts > MAX_RESTARTS:
                break
        if status in (130, 143):
            raise KeyboardInterrupt
        if status != 0:
            raise InputError(f"the search of {method} gave up: {last_words(log)}")

    def _start(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        environment = {**os.environ, PARENT: str(os.getpid())}
        environment.pop("HYDRA_FULL_ERROR", None)  # set by the entry point for its own use
        with open(log, "ab") as output:
            return subprocess.Popen(
                [sys.executable, *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,  # Ctrl-C on a terminal reaches this process, which asks it to end
            )

    def _wait(self, process: subprocess.Popen[bytes], task: TaskID, name: str, method: str) -> int:
        while (status := process.poll()) is None:
            if self.stopping:
                return end(process)
            if self.console.is_terminal:
                done, state = self._state(name, method)
                self.bar.update(task, completed=done, state=state)
            time.sleep(POLL_SECONDS)
        return status

    def _state(self, name: str, method: str) -> tuple[int, str]:
        """How many trials count, and what there is to say of them."""
        try:
            sweeper = self.plan.configs[method].hydra.sweeper
            storage = open_storage(absolute(str(sweeper.storage)), sweeper.lease_seconds)
            study = optuna.load_study(study_name=name, storage=storage)
            trials = study.get_trials(deepcopy=False)
        except (KeyError, InputError, *AWAY):  # no study yet, or no database: its sweep says so
            return 0, ""
        counted = [one for one in trials if one.state in COUNTED]
        failed = sum(map(is_failed, counted))
        pruned = sum(one.state is TrialState.PRUNED for one in counted) - failed
        state = f"{len(counted)} trials, {pruned} pruned"
        state += f", {failed} failed" if failed else ""
        if best := best_trial(trials, direction_of(study)):
            state += f", best {best.value:.4g}"
        return len(counted), state


def read_search(plan: Plan, method: str, number: int, name: str) -> Search:
    """A finished search."""
    study = load(str(plan.configs[method].hydra.sweeper.storage), name)
    trials = study.get_trials(deepcopy=False)
    direction = direction_of(study)
    signature = study.user_attrs["signature"]
    own = ("optimizer", "space", "search", "hash", "seed")
    shared = {key: value for key, value in signature.items() if not key.startswith(own)}
    ended = [one for one in trials if one.state in STATES]
    kept = [one for one in ended if one.user_attrs.get("reason") not in LOST]
    space = {name: item for one in kept for name, item in one.distributions.items()}
    return Search(
        method=method,
        search=number,
        study=name,
        hash=signature["hash"],
        shared_hash=digest(shared),
        space={name: _dimension(item) for name, item in space.items()},
        importance=importances(study),
        trials=[_trial(one, direction) for one in kept],
    )


def _dimension(item: Any) -> Interval | Choices:
    """What a parameter was sampled from."""
    if isinstance(item, optuna.distributions.CategoricalDistribution):
        return Choices(choices=[*item.choices])
    return Interval(low=item.low, high=item.high, log=item.log)


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """The values that the trial was trained with, as its own overrides say them."""
    lines = trial.user_attrs.get("overrides", ())
    given = OverridesParser.create().parse_overrides([*lines])
    values = {one.key_or_group: one.value() for one in given if one.key_or_group in trial.params}
    return {**trial.params, **values}


def _trial(trial: FrozenTrial, direction: Direction) -> Trial:
    status = trial.user_attrs.get("status")
    state = status if status in BAD else STATES[trial.state]
    value = trial.value if state == "complete" else None
    last = trial.intermediate_values[trial.last_step] if trial.last_step else None
    return Trial(
        number=trial.number,
        state=state,
        counted=trial.state in COUNTED,
        value=last if state == Status.PRUNED else value,
        cost=None
        if value is None
        else direction.sign * value,  # lower is better, whatever the metric
        params=_params(trial),
        seconds=trial.user_attrs.get("seconds"),
        steps=trial.user_attrs.get("steps"),
        folder=trial.user_attrs.get("folder"),
    )


def widened(
    found: Search, works: Callable[[str, float], bool] = lambda name, value: True
) -> dict[str, str]:
    """Overrides that move by a decade each edge at which the best lies.

    An edge of a space that isn't logarithmic stays, and one beyond which nothing `works`.
    """
    wider = {}
    for name, (side, _, space) in checks.edges(found).items():
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
    """A decade on, of whole numbers at most to 1; 1 - beta beyond 1 is no beta."""
    if side == "low":
        return max(edge // 10, 1) if isinstance(edge, int) else edge / 10
    return min(edge * 10, 1.0) if name.startswith("search.one_minus_") else edge * 10
