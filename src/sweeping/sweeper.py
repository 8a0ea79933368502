"""The sweeper: `-m sweeps=adam` runs trials until the study holds exactly `n_trials`."""

import json
import math
import os
import re
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import torch
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial, Trial, TrialState

from src.cli import one_line_errors
from src.config import Config, job_config, parse
from src.errors import InputError
from src.files import check_writable
from src.launching.choices import LOCAL, kind_of
from src.launching.detaching import detach
from src.launching.make import make_workers
from src.launching.workers import is_orphan, obey_job, undisturbed
from src.metrics import Direction
from src.overrides import again, command, override, parsed
from src.results import digest, refuse_used
from src.results.folder import load_json
from src.results.identity import SEARCHED, STARTED, WHERE, settings
from src.results.place import WORKER
from src.results.status import COMPLETE, Status
from src.sweeping.failures import cannot_go_on, failure
from src.sweeping.marker import check_marker
from src.sweeping.progress import SweepProgress, database, report_result
from src.sweeping.report import TrialReport
from src.sweeping.samplers import batch_of, grid_size, make_sampler, uninformed
from src.sweeping.space import fixed_lines, read_space
from src.sweeping.storage import AWAY, absolute, refuse_one_host
from src.sweeping.study import Batches, Lease, Outcome, SharedStudy, describe_space
from src.sweeping.template import Template, to_yaml
from src.sweeping.workers import in_turn, run_workers
from src.targets import build
from src.training.build import assemble
from src.training.device import bears_forks, visible_gpus
from src.training.rehearsal import check
from src.training.run import run
from src.training.stacking import LEAST, runs_at_once, why_alone

if TYPE_CHECKING:
    from src.training.together import Together

STATES: dict[Status, TrialState] = {
    **dict.fromkeys(COMPLETE, TrialState.COMPLETE),
    Status.PRUNED: TrialState.PRUNED,
    # Pruned rather than infinite: samplers learn that the region is bad without a value, and the
    # sweep goes on.
    Status.DIVERGED: TrialState.PRUNED,
}


class StudySweeper(OptunaSweeperImpl):
    """Hydra's Optuna sweeper, for studies that outlive the process and are shared.

    Args:
        storage: URL of the database.
        study_name: names the study and its folder.
        n_trials: trials in all that count, >= 1.
        n_jobs: workers, which the launcher starts, >= 1.
        max_failures: failures in a row that end the sweep, >= 1.
        lease_seconds: silence after which a worker counts as dead, >= 6.
        detach: leave the sweep to a process in the background.
        params: the search space, in Hydra's sweep syntax.

    Raises:
        InputError: a setting out of range, a database that can't be used, a study made with
            other settings, or a sweep that only fails.
    """

    def __init__(
        self,
        storage: str,
        study_name: str,
        n_trials: int,
        n_jobs: int,
        max_failures: int,
        lease_seconds: int,
        detach: bool,
        params: DictConfig | None,
    ) -> None:
        super().__init__(
            sampler=None,
            direction="minimize",  # the study takes it from the objective
            storage=storage,
            study_name=study_name,
            n_trials=n_trials,
            n_jobs=n_jobs,
            max_failure_rate=1.0,
            custom_search_space=None,
            params=params,
        )
        self.max_failures, self.lease_seconds = max_failures, lease_seconds
        self.detach = detach
        self.study: SharedStudy | None = None

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until the study is complete.

        Args:
            arguments: the command line's overrides; a sweep among them replaces the file's.
        """
        obey_job()
        with self._putting_back():
            self._check()
            self._read(arguments)
            with in_turn(self.folder):
                self.study = self._open()
                self._carry_out(self.study)

    @contextmanager
    def _putting_back(self) -> Iterator[None]:
        """Put the trials of this process back when it is interrupted; say how to go on."""
        try:
            yield
        except KeyboardInterrupt:
            if self.study is not None:
                with undisturbed():
                    self._put_back(self.study)
            if WORKER not in os.environ:
                print(f"interrupted; this goes on: {again()}", file=sys.stderr)
            raise
        except InputError as error:
            raise SystemExit(1) from error

    def _carry_out(self, study: SharedStudy) -> None:
        is_worker = WORKER in os.environ
        try:
            complete = study.counted() >= study.n_trials
            check_marker(study, self.folder)
            if self.detach and not (is_worker or complete):
                trials = command(study.name, *database(study.url), module="src.studies")
                detach(self.folder, "its trials are put back", trials=trials)
                return
            launched = self.n_jobs > 1 or self.launches_by != LOCAL
            if launched and not (is_worker or complete):
                self._launch(study)
            else:
                self._work(study)
            if not is_worker:
                report_result(study, self.folder, self._config_of)
        except (InputError, OSError, *AWAY) as error:
            with suppress(InputError):  # the next start finds what it couldn't be told
                study.release()
            raise cannot_go_on(error, self.folder, study.url) from error

    def _put_back(self, study: SharedStudy) -> None:
        """The trial of this process; the next start finds what couldn't be told."""
        try:
            study.release()
        except InputError as error:
            if WORKER in os.environ:  # for its log
                print(f"its trial couldn't be put back: {error}", file=sys.stderr)

    def _launch(self, study: SharedStudy) -> None:
        """Let workers run the trials; after Ctrl-C all trials are put back when this returns."""
        assert self.hydra_context is not None and self.config is not None
        workers = make_workers(
            self.config,
            self.hydra_context.config_loader,
            self.fixed,
            self.folder,
            visible_gpus(self.device) if self.launches_by == LOCAL else (),
            partial(self._work_as_copy, study) if bears_forks() else None,
        )
        progress = SweepProgress(study, hosts=not workers.here)
        study.disconnect()  # a copy of this process must not share its connections
        run_workers(self.n_jobs, workers, study, progress, self.folder)

    def _work_as_copy(self, study: SharedStudy) -> None:
        """Be a worker, in a copy of the process that launches workers."""
        with one_line_errors(), self._putting_back():
            self._carry_out(study)

    def _check(self) -> None:
        if type(self.detach) is not bool:
            raise InputError(f"hydra.sweeper.detach={self.detach}: must be true or false")
        self._check_launcher()
        least = {"n_trials": 1, "n_jobs": 1, "max_failures": 1, "lease_seconds": 6}
        for name, low in least.items():
            value = getattr(self, name)
            if type(value) is not int or value < low:
                raise InputError(f"hydra.sweeper.{name}={value}: must be an integer >= {low}")
        name = str(self.study_name)
        if not re.fullmatch(r"[\w+=][\w.+=-]*", name):
            raise InputError(
                f"hydra.sweeper.study_name={name}: must be letters, digits and any of - _ . + =, "
                "not beginning with - or ., because it names a folder"
            )

    def _check_launcher(self) -> None:
        """Refuse a launcher of other hosts beside a database of this one."""
        assert self.config is not None
        self.launches_by = kind_of(self.config)
        refuse_one_host(self.launches_by, self.config.hydra.launcher, absolute(str(self.storage)))

    def _open(self) -> SharedStudy:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        torch.set_num_threads(1)  # those that it starts for more aren't there in a copy
        config = parse(self.job)
        self.device = config.trainer.device
        signature = comparable(config, self.space, check(config).sha256)
        folders, sampler = self._folders(), config.sampler
        points = grid_size(sampler, self.space)  # refuses a sampler before there is a study
        pruner = build("pruner", config.pruner, optuna.pruners.BasePruner)
        self.at_once = runs_at_once(config)
        self.batches = self._batches(config, pruner, points)
        study = SharedStudy(
            url=absolute(str(self.storage)),
            name=str(self.study_name),
            direction=Direction(config.objective.direction),
            space=self.space,
            default=self._default(),
            signature=signature,
            n_trials=int(self.n_trials),
            lease_seconds=self.lease_seconds,
            sampler=lambda number: make_sampler(sampler, self.space, config.seed, number),
            pruner=pruner,
        )
        study.limit(points)
        self._check_folders(study, folders)
        return study

    def _batches(
        self, config: Config, pruner: optuna.pruners.BasePruner, points: int | None
    ) -> Batches:
        """Batches as asked for; and of first proposals, which know of no other trial anyway.

        Each worker gets a share of these, unless a pruner may stop trials.

        Args:
            points: of a grid.
        """
        size, free = batch_of(config.sampler), uninformed(config.sampler, self.space)
        if size > 1 or type(pruner) is not optuna.pruners.NopPruner or self.at_once < LEAST:
            return Batches(size)
        free = int(min(free, self.n_trials, math.inf if points is None else points + 1))
        share = math.ceil(free / self.n_jobs)
        if share < LEAST or why_alone(config, assemble(config)):
            return Batches(size)
        parts = math.ceil(share / self.at_once)
        return Batches(size, free, max(LEAST, math.ceil(share / parts)))

    def _folders(self) -> list[Path]:
        """The folders of trials in the study's folder, which must be fit for them."""
        try:
            check_writable(self.folder)
        except OSError as error:
            raise InputError(f"hydra.sweep.dir={self.folder}: {error.strerror}") from error
        refuse_used(self.folder)
        return list(self.folder.glob("trial-*"))

    def _default(self) -> dict[str, Any]:
        """The default configuration as a point of the space."""
        values = {key: OmegaConf.select(self.job, key) for key in self.space}
        return {key: self.dimensions[key].stored(value) for key, value in values.items()}

    def _read(self, arguments: list[str]) -> None:
        """Separate the command line's overrides from the space; compose the shared config."""
        assert self.config is not None  # Hydra calls setup first
        overrides = parsed(arguments)
        self.fixed = fixed_lines(self.params, overrides)
        self.base = self._compose(self.fixed)
        self.job = job_config(self.base)
        self._check_groups(overrides)
        self.dimensions = read_space(self.job, self.params, overrides)
        self.space = {key: parameter.distribution for key, parameter in self.dimensions.items()}
        if not self.space:
            raise InputError(
                "hydra.sweeper.params: there is nothing to search; choose a file with sweeps=NAME"
            )
        self.template = Template(self.job, [*self.space, "trial"])
        self.folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        self.snapshot = OmegaConf.to_yaml(OmegaConf.masked_copy(self.base, ["hydra"]))

    def _compose(self, overrides: list[str]) -> DictConfig:
        assert self.hydra_context is not None and self.config is not None
        return self.hydra_context.config_loader.load_sweep_config(self.config, overrides)

    def _config_of(self, trial: FrozenTrial) -> DictConfig:
        """A trial's config, that of the last one asked for.

        Composed anew it would be the same, but for a trial that a command with other settings made,
        of those that don't matter to the study.
        """
        overrides, values = [*trial.user_attrs["overrides"]], self._values(trial)
        if overrides != [*self.fixed, *self._lines(values)]:
            return self._compose(overrides)
        for key, value in values.items():
            OmegaConf.update(self.base, key, value, force_add=True)
        return self.base

    def _check_groups(self, arguments: Sequence[Override]) -> None:
        for argument in arguments:
            group = argument.key_or_group
            if argument.is_sweep_override() and group in self.base.hydra.runtime.choices:
                raise InputError(f"{group}: a study searches values; make one study per {group}")

    def _check_folders(self, study: SharedStudy, folders: list[Path]) -> None:
        """Refuse folders of another study's trials: each trial needs its own folder."""
        begun = study.begun() if folders else set()
        known = [folder for folder in folders if _is_of(folder, study.name, begun)]
        if unknown := sorted({*folders} - {*known}):
            raise InputError(
                f"{unknown[0]} is of a study that the database doesn't know as {study.name}; "
                f"move {self.folder} away, or choose another hydra.sweeper.study_name"
            )

    def _work(self, study: SharedStudy) -> None:
        """Run trials in this process, one batch after another."""
        failures = 0
        with SweepProgress(study, quiet=WORKER in os.environ) as progress:
            while trials := study.next_trials(self.batches, stop=is_orphan):
                outcomes = closing(self._outcomes(study, trials))
                with Lease(study, *trials), outcomes as ended:
                    for trial, outcome in ended:
                        study.finish(trial, outcome)
                        progress.update()
                        failures = failures + 1 if outcome.state is TrialState.FAIL else 0
                        self._check_failures(failures, outcome)

    def _check_failures(self, failures: int, last: Outcome) -> None:
        """End the sweep after too many failures in a row."""
        if failures >= self.max_failures:
            raise InputError(
                f"{failures} trials in a row failed, the last one with: "
                f"{last.attributes['reason']} (hydra.sweeper.max_failures={self.max_failures})"
            )

    def _outcomes(
        self, study: SharedStudy, trials: Sequence[Trial]
    ) -> Generator[tuple[Trial, Outcome]]:
        """Train trials, at once if there are several; yield each when it has ended."""
        size = min(len(trials), self.at_once)
        if size == 1:
            return ((trial, self._run(study, trial)) for trial in trials)
        from src.training.together import Together  # which most sweeps don't need

        hub: Together[tuple[Trial, Outcome]] = Together(size)

        def task(trial: Trial) -> tuple[Trial, Outcome]:
            return trial, self._run(study, trial, hub)

        return hub.run([partial(task, trial) for trial in trials])

    def _run(
        self, study: SharedStudy, trial: Trial, together: "Together[Any] | None" = None
    ) -> Outcome:
        """Train one trial in this process."""
        started = time.perf_counter()
        folder = self.folder / f"trial-{trial.number}"
        values = self._values(trial)
        lines = [*self.fixed, *self._lines(values)]
        study.note(trial, {"folder": str(folder), "overrides": lines})
        try:
            result = self._train(study, trial, folder, values, lines, together)
            status, value = result["status"], result["objective"]["value"]
            facts = {key: result[key] for key in ("status", "steps")}
            outcome = Outcome(STATES[status], value if status in COMPLETE else None, facts)
        except Exception as error:
            outcome = failure(error, folder)
        beside = (load_json(folder, "provenance.json") or {}).get("together") if together else None
        share = (time.perf_counter() - started) / (beside or 1)
        facts = {"seconds": share, **({"together": beside} if beside else {})}
        return replace(outcome, attributes={**outcome.attributes, **facts})

    def _values(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """The trial's own values, as the config holds them."""
        return {key: self.dimensions[key].value(item) for key, item in trial.params.items()}

    def _lines(self, values: Mapping[str, Any]) -> list[str]:
        """Values as overrides."""
        added = {key for key, parameter in self.dimensions.items() if parameter.added}
        return [f"{'++' * (key in added)}{override(key, item)}" for key, item in values.items()]

    def _train(
        self,
        study: SharedStudy,
        trial: Trial,
        folder: Path,
        values: Mapping[str, Any],
        lines: Sequence[str],
        together: "Together[Any] | None",
    ) -> dict[str, Any]:
        """Run the trial and write the files that Hydra's launcher would write.

        Trials' configs differ only in values, so it changes those of the composed config.

        Args:
            values: the trial's own.
            lines: its overrides.
        """
        hydra_folder = folder / ".hydra"
        hydra_folder.mkdir(parents=True)
        (hydra_folder / "hydra.yaml").write_text(self.snapshot)
        overrides = [*lines, override("trial", trial.number)]
        (hydra_folder / "overrides.yaml").write_text(to_yaml(overrides))
        config, composed, resolved = self.template.fill({**values, "trial": trial.number})
        (hydra_folder / "config.yaml").write_text(composed)
        report = TrialReport(study, trial, config, folder)
        return run(
            config,
            resolved,
            folder,
            stop=report.should_prune,
            quiet=True,
            keep_last=False,
            together=together,
        )


def _is_of(folder: Path, study: str, begun: set[int]) -> bool:
    """Whether a folder belongs to a trial of the study; a run that has begun names its study."""
    try:
        names = json.loads((folder / "trial.json").read_text())
    except (OSError, ValueError):
        names = {"study": study}
    number = folder.name.removeprefix("trial-")
    return names.get("study") == study and number.isdecimal() and int(number) in begun


def comparable(config: Config, space: Any, data_sha256: str) -> dict[str, Any]:
    """The signature of a study: all that makes its trials comparable, flat, with its digest."""
    signature = settings(config.model_dump(), (*STARTED, *SEARCHED, *WHERE, *space))
    signature |= {f"space.{name}": text for name, text in describe_space(space).items()}
    signature["data.sha256"] = data_sha256
    if (batch := batch_of(config.sampler)) > 1:  # a proposal knows less of the others
        signature["sampler.batch"] = batch
    return {**signature, "hash": digest(signature)}


Plugins.instance().register(StudySweeper)
