"""The searches of a comparison: a study for each, several side by side.

Each study has a single worker, so its proposals depend only on its seed; other studies use the
other processors. So the same command finds the same winners, after a kill, too.
"""

import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, product
from pathlib import Path
from threading import Lock

import optuna
from omegaconf import OmegaConf
from optuna.trial import TrialState
from rich.progress import TaskID

from src.comparing import checks
from src.comparing.ledger import Ledger
from src.comparing.protocol import Plan
from src.comparing.record import Search, Trial
from src.comparing.trials import space_of, trials_of
from src.config import parse
from src.console import print_line, stdout
from src.errors import InputError
from src.launching.spare import spare
from src.launching.workers import Process
from src.overrides import override, python
from src.results import digest
from src.sweeping.progress import best_trial, trials_bar
from src.sweeping.show import importances, load
from src.sweeping.storage import AWAY, absolute, open_storage
from src.sweeping.study import COUNTED, is_failed, study_direction
from src.sweeping.workers import MAX_RESTARTS, PARENT, POLL_SECONDS, end, last_words
from src.training.rehearsal import check


class Searches:
    """Runs the searches of a plan.

    Args:
        plan: of the comparison.
        folder: of the comparison; each search prints to `<study>.log` in it.
        ledger: gets a line for each complete study.
    """

    def __init__(self, plan: Plan, folder: Path, ledger: Ledger) -> None:
        self.plan, self.folder, self.ledger = plan, folder, ledger
        self.console = stdout()
        self.bar = trials_bar(self.console)
        self.stopping = False
        self.spare = spare()
        self.writing = Lock()  # of the ledger

    def run(
        self, methods: Iterable[str] | None = None, numbers: range | None = None
    ) -> list[Search]:
        """Search methods, or all; with these numbers, or as often as the first look wants.

        Raises:
            InputError: a search ended with an error; the message holds its last line.
            KeyboardInterrupt: the searches have reported to their studies before.
        """
        numbers = range(self.plan.protocol.first_searches) if numbers is None else numbers
        todo = list(product(numbers, self.plan.methods if methods is None else methods))
        with self.bar, ThreadPoolExecutor(self.plan.protocol.n_jobs) as pool:
            futures = [pool.submit(self._search, method, number) for number, method in todo]
            try:
                searches = [future.result() for future in futures]
            except BaseException:
                self.stopping = True
                pool.shutdown(cancel_futures=True)
                raise
        return searches

    def _search(self, method: str, number: int) -> Search:
        """Search once, and in a wider space if the best lies at an edge and `widen` allows it."""
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
            f"seed={number}",
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
        with self.writing:
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

    def _start(self, command: list[str], log: Path) -> Process:
        environment = {**os.environ, PARENT: str(os.getpid())}
        environment.pop("HYDRA_FULL_ERROR", None)  # the entry point sets it for itself
        if self.spare and (process := self.spare.start(command, log, environment)):
            return process
        with open(log, "ab") as output:
            return subprocess.Popen(
                [sys.executable, *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,  # Ctrl-C on a terminal reaches this process, which asks it to end
            )

    def _wait(self, process: Process, task: TaskID, name: str, method: str) -> int:
        while (status := process.poll()) is None:
            if self.stopping:
                return end(process)
            if self.console.is_terminal:
                counted, state = self._state(name, method)
                self.bar.update(task, completed=counted, state=state)
            time.sleep(POLL_SECONDS)
        return status

    def _state(self, name: str, method: str) -> tuple[int, str]:
        """The number of trials that count, and a text about them."""
        try:
            sweeper = self.plan.configs[method].hydra.sweeper
            storage = open_storage(absolute(str(sweeper.storage)), sweeper.lease_seconds)
            study = optuna.load_study(study_name=name, storage=storage)
            trials = study.get_trials(deepcopy=False)
        except (KeyError, InputError, *AWAY):  # no study yet, or no database: its sweep says so
            return 0, ""
        counted = [trial for trial in trials if trial.state in COUNTED]
        failed = sum(map(is_failed, counted))
        pruned = sum(trial.state is TrialState.PRUNED for trial in counted) - failed
        state = f"{len(counted)} trials, {pruned} pruned"
        state += f", {failed} failed" if failed else ""
        if best := best_trial(trials, study_direction(study)):
            state += f", best {best.value:.4g}"
        return len(counted), state


def read_search(plan: Plan, method: str, number: int, name: str) -> Search:
    """Read a finished search from its study."""
    study = load(str(plan.configs[method].hydra.sweeper.storage), name)
    signature = study.user_attrs["signature"]
    of_method = ("optimizer", "scheduler", "space", "search", "hash", "seed")
    shared = {key: value for key, value in signature.items() if not key.startswith(of_method)}
    return Search(
        method=method,
        search=number,
        study=name,
        hash=signature["hash"],
        shared_hash=digest(shared),
        space=space_of(study),
        importance=importances(study),
        trials=first_trials(trials_of(study), plan.protocol.n_trials),
    )


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
