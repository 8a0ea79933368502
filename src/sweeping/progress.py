"""The output of a sweep while it runs and when it ends."""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Self

from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress
from rich.table import Table

from src.config import OUTPUTS, job_config
from src.console import bar, print_line, stdout
from src.files import write_whole
from src.metrics import Direction
from src.overrides import command, override, search_path
from src.results.status import Status
from src.sweeping import DEFAULT_STORAGE
from src.sweeping.storage import absolute, shown
from src.sweeping.study import SharedStudy
from src.sweeping.tally import COUNTED, is_failed

SHOWN = 3  # reasons of failed trials
LENGTH = 100  # of each


def trials_bar(console: Console) -> Progress:
    """A bar for each study, of its trials."""
    name, state = "{task.description}", "{task.fields[state]}"
    return bar(console, name, BarColumn(), MofNCompleteColumn(), state)


class SweepProgress:
    """A bar on a terminal, a line per trial elsewhere; nothing when quiet.

    Args:
        study: whose trials are shown.
        quiet: show nothing.
        hosts: say how many trials run on each host.
    """

    def __init__(self, study: SharedStudy, quiet: bool = False, hosts: bool = False) -> None:
        self.study, self.quiet, self.hosts = study, quiet, hosts
        self.console = stdout(quiet=quiet)
        self.bar = trials_bar(self.console)
        self.task = self.bar.add_task("trials", total=study.n_trials, state="")
        self.tally = study.tally()
        self.ended = 0  # counted trials that this has seen end
        self.since: datetime | None = None  # when the first of them began
        self.counted = 0  # trials, as of the last update

    def __enter__(self) -> Self:
        if not self.quiet:
            for _ in self.tally.look():
                pass
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def update(self) -> None:
        """Show what has happened since the last update, in any process."""
        if self.quiet:
            return
        try:
            ended = [*self.tally.look()]
        except Exception:
            return  # the database is away; the process that runs a trial says so
        self._clock(ended)
        state, counted = self._state(), self.tally.counted
        self.counted = counted
        self.bar.update(self.task, completed=counted, state=state)
        for trial in ended:
            print_line(self.console, f"{_line(trial)}  | {counted}/{self.study.n_trials} {state}")

    def _clock(self, ended: list[FrozenTrial]) -> None:
        """Note trials that ended meanwhile; the workers' start isn't counted."""
        counted = [trial for trial in ended if trial.state in COUNTED]
        starts = [trial.datetime_start for trial in counted if trial.datetime_start]
        self.ended += len(counted)
        self.since = min([*starts, *([self.since] if self.since else [])], default=None)

    def _state(self) -> str:
        tally = self.tally
        text = f"({tally.pruned} pruned, {tally.failed} failed)"
        if tally.best:
            text += f", best {tally.best.value:.4g}"
        return text + self._time_left() + (by_host(tally.running()) if self.hosts else "")

    def _time_left(self) -> str:
        """Time left, from the trials that ended meanwhile."""
        left = self.study.n_trials - self.tally.counted
        if self.since is None or left <= 0:
            return ""
        passed = (datetime.now() - self.since).total_seconds()
        return f", {duration(passed / self.ended * left)} left"


def by_host(running: Sequence[FrozenTrial]) -> str:
    """`, running: 2 on n1, 1 on n2`; empty if none runs."""
    owners = [trial.user_attrs["owner"] for trial in running if "owner" in trial.user_attrs]
    return on_hosts(str(owner.get("node")) for owner in owners)


def on_hosts(nodes: Iterable[str]) -> str:
    """`, running: 2 on n1, 1 on n2`, of a host for each thing that runs; empty if none does."""
    counts = Counter(nodes)
    parts = [f"{count} on {host}" for host, count in sorted(counts.items())]
    return f", running: {', '.join(parts)}" if parts else ""


def database(url: str) -> list[str]:
    """The words by which `python -m src.studies` finds a database; none for the default one."""
    return [] if url == absolute(DEFAULT_STORAGE) else ["--storage", shown(url)]


def duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def _line(trial: FrozenTrial) -> str:
    value = "" if trial.value is None else f" {trial.value:.5g}"
    reason = trial.user_attrs.get("reason", trial.state.name.lower())
    how = trial.user_attrs.get("status", reason)
    if how == Status.FAILED:
        how += f" ({reason[:80]})"
    return f"trial {trial.number} {how}{value}  {_params(trial)}"


def _params(trial: FrozenTrial) -> str:
    return " ".join(
        f"{name.split('.')[-1]}={_number(value)}" for name, value in trial.params.items()
    )


def ranked(trials: list[FrozenTrial], direction: Direction) -> list[FrozenTrial]:
    """The complete trials, best first; of equal ones the earlier comes first."""
    return direction.ranked(_complete(trials), _value)


def best_trial(trials: list[FrozenTrial], direction: Direction) -> FrozenTrial | None:
    return direction.best(_complete(trials), _value)


def _complete(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state is TrialState.COMPLETE]


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def report_result(
    study: SharedStudy, folder: Path, config_of: Callable[[FrozenTrial], DictConfig]
) -> None:
    """Print the top trials and the best configuration; write `best.yaml` into the folder."""
    console, trials = stdout(), study.trials()
    best = best_trial(trials, study.direction)
    console.print(top_table(trials, study.direction))
    if failed := summary(trials):
        console.print(f"failed: {failed}")
    if best is None:
        console.print(f"study {study.name}: no trial was completed")
        return
    overrides = best.user_attrs["overrides"]
    path = write_best(best, config_of(best), folder)
    console.print(f"best: trial {best.number}, {best.value:.6g}, in {best.user_attrs['folder']}")
    hints = {"train it:": command(*search_path(), *overrides)}
    if folder == OUTPUTS / "sweeps" / study.name:
        hints["or:"] = command(*search_path(), override("experiment", f"{study.name}/best"))
    hints["as YAML:"] = str(path)
    hints["look at it:"] = command(study.name, *database(study.url), module="src.studies")
    hints["dashboard:"] = shlex.join(["optuna-dashboard", shown(study.url)])
    for label, text in hints.items():
        console.print(f"{label:<11} {text}")


def summary(trials: Sequence[FrozenTrial]) -> str | None:
    """The number of failed trials by reason, most frequent first; None if none failed.

    `3 trials: 2 out of memory, 1 hidden_sizes must be integers >= 1, got [0]`
    """
    reasons = [str(trial.user_attrs.get("reason", "?")) for trial in trials if is_failed(trial)]
    alike = defaultdict(list)  # reasons that differ only in numbers
    for reason in reasons:
        alike[re.sub(r"\d[\d.e+-]*", "#", reason)].append(reason)
    groups = sorted(alike.values(), key=len, reverse=True)
    parts = [f"{len(group)} {_common(group)}" for group in groups[:SHOWN]]
    if more := sum(map(len, groups[SHOWN:])):
        parts.append(f"{more} of other reasons")
    return f"{_count(len(reasons))}: {', '.join(parts)}" if reasons else None


def _count(number: int) -> str:
    return f"{number} trial{'s' * (number > 1)}"


def _common(texts: Sequence[str]) -> str:
    """The text, or the words that begin all texts: they differ in numbers."""
    words = zip(*(text.split() for text in texts), strict=False)
    same = [first for first, *rest in takewhile(lambda firsts: len({*firsts}) == 1, words)]
    text = " ".join(same) if len({*texts}) > 1 and same else texts[0]
    more = text != texts[0] or len(text) > LENGTH
    return text[:LENGTH] + " …" * more


def top_table(trials: list[FrozenTrial], direction: Direction, count: int = 5) -> Table:
    """The best trials with their parameters and seconds."""
    best = ranked(trials, direction)[:count]
    names = list(best[0].params) if best else []
    table = Table(box=None)
    for heading in ("trial", "value", *names, "seconds"):
        table.add_column(heading, justify="right")
    for trial in best:
        seconds = f"{trial.user_attrs.get('seconds', float('nan')):.1f}"
        values = (_number(trial.params.get(name, "")) for name in names)
        table.add_row(str(trial.number), f"{_value(trial):.5g}", *values, seconds)
    return table


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_best(best: FrozenTrial, composed: DictConfig, folder: Path) -> Path:
    """Write the trial's whole configuration as an experiment; return its path."""
    choices = composed.hydra.runtime.choices
    config = OmegaConf.to_container(job_config(composed), resolve=True)
    assert isinstance(config, dict)
    for key in ("trial", "search", "sampler", "pruner"):
        config.pop(key, None)
    groups = [str(group) for group in config if group in choices]
    # Here Hydra takes a choice in a subfolder for another group; the values below are complete.
    files = {group: None if "/" in str(choices[group]) else choices[group] for group in groups}
    defaults = {"defaults": [{f"override /{group}": files[group]} for group in groups]}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "best.yaml"
    text = f"# @package _global_\n# Trial {best.number}: {_value(best):.6g}.\n"
    text += OmegaConf.to_yaml(defaults) + OmegaConf.to_yaml(config)
    write_whole(path, text.encode())
    return path
