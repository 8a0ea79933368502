"""The sweeper: `-m sweeps=adam` runs trials until the study holds exactly `n_trials`."""

import json
import os
import shlex
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_optuna_sweeper._impl import (
    OptunaSweeperImpl,
    create_params_from_overrides,
)
from omegaconf import DictConfig, OmegaConf
from optuna.trial import Trial, TrialState

from src.config import Config, build, job_config, parse
from src.errors import InputError
from src.results import digest
from src.run import assemble
from src.sweeping.progress import SweepProgress, report_result
from src.sweeping.samplers import grid_size, make_sampler
from src.sweeping.storage import absolute
from src.sweeping.study import Lease, Outcome, SharedStudy, describe_space, flatten
from src.sweeping.workers import WORKER, run_workers

# What trials may differ in and still be compared: how they are found, how fast they run, where.
INCOMPARABLE = ("sampler", "pruner", "search", "trial", "data.root", "trainer.threads")
STATES = {
    "completed": TrialState.COMPLETE,
    "early_stopped": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    # Pruned and not infinite: samplers then learn that the region is bad without its value, which
    # Optuna keeps for trials that have none; and the sweep goes on.
    "diverged": TrialState.PRUNED,
}


class StudySweeper(OptunaSweeperImpl):
    """Hydra's Optuna sweeper, for studies that outlive the process and are shared.

    Args:
        storage: URL of the database.
        study_name: names the study and its folder.
        n_trials: complete and pruned trials in all, >= 1.
        n_jobs: processes on this machine, >= 1.
        max_failures: failures in a row that end the sweep, >= 1.
        lease_seconds: silence after which a worker counts as dead, >= 6.
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
        params: DictConfig | None,
    ) -> None:
        least = {"n_trials": (n_trials, 1), "n_jobs": (n_jobs, 1)}
        least |= {"max_failures": (max_failures, 1), "lease_seconds": (lease_seconds, 6)}
        for name, (value, low) in least.items():
            if type(value) is not int or value < low:
                raise InputError(f"hydra.sweeper.{name}={value}: must be an integer >= {low}")
        super().__init__(
            sampler=None,
            direction="minimize",
            storage=absolute(storage),
            study_name=study_name,
            n_trials=n_trials,
            n_jobs=n_jobs,
            max_failure_rate=1.0,
            custom_search_space=None,
            params=params,
        )
        self.max_failures, self.lease_seconds = max_failures, lease_seconds

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until the study is complete.

        Args:
            arguments: the command line's overrides; a sweep among them replaces the file's.
        """
        try:
            study = self._open(arguments)
            if WORKER not in os.environ and self.n_jobs > 1:
                run_workers(self.n_jobs, study, SweepProgress(study), self.folder)
            else:
                self._work(study)
            if WORKER not in os.environ:
                report_result(study, self.folder, self.fixed)
        except KeyboardInterrupt:
            if WORKER not in os.environ:
                command = shlex.join(["python", "-m", "src.train", *sys.argv[1:]])
                print(f"interrupted; this goes on: {command}", file=sys.stderr)
            raise
        except InputError as error:
            raise SystemExit(1) from error

    def _open(self, arguments: list[str]) -> SharedStudy:
        assert self.hydra_context is not None and self.config is not None  # Hydra calls setup first
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        lines = [*self._parse_sweeper_params_config(), *arguments]
        space, fixed_params, _ = create_params_from_overrides(lines)
        self.space = {name: item for name, item in space.items() if name not in fixed_params}
        parsed = OverridesParser.create().parse_overrides(arguments)
        self.fixed = [str(item.input_line) for item in parsed if not item.is_sweep_override()]
        base = self.hydra_context.config_loader.load_sweep_config(self.config, self.fixed)
        job = job_config(base)
        config = parse(job)
        signature = comparable(config, self.space, assemble(config).data.sha256)
        sampler, size = config.sampler, grid_size(config.sampler, self.space)
        self.folder = Path(str(self.config.hydra.sweep.dir))
        self.job_threads = config.trainer.threads
        study = SharedStudy(
            url=str(self.storage),
            name=str(self.study_name),
            direction=config.objective.direction,
            space=self.space,
            default={name: OmegaConf.select(job, name) for name in self.space},
            signature=signature,
            n_trials=min(self.n_trials, size or self.n_trials),
            lease_seconds=self.lease_seconds,
            sampler=lambda number: make_sampler(sampler, self.space, config.seed, number),
            pruner=build("pruner", config.pruner, optuna.pruners.BasePruner),
        )
        if not study.trials() and any(self.folder.glob("trial-*")):
            raise InputError(
                f"{self.folder} holds trials of a study that the database doesn't know; "
                "move it, or choose another hydra.sweeper.study_name"
            )
        return study

    def _work(self, study: SharedStudy) -> None:
        """Run one trial after another, in this process."""
        parent, failures = os.getppid(), 0
        worker = WORKER in os.environ
        with SweepProgress(study, quiet=worker) as progress:
            # A worker whose controller was killed ends with its trial.
            while trial := study.next_trial(stop=lambda: worker and os.getppid() != parent):
                outcome = self._run(study, trial)
                study.finish(trial, outcome)
                progress.update()
                failures = failures + 1 if outcome.state is TrialState.FAIL else 0
                if failures >= self.max_failures:
                    last = str(outcome.attributes["error"]).strip().splitlines()[-1]
                    raise InputError(
                        f"{failures} trials in a row failed, the last one with: {last} "
                        f"(hydra.sweeper.max_failures={self.max_failures})"
                    )
                if worker and os.getppid() != parent:
                    return

    def _run(self, study: SharedStudy, trial: Trial) -> Outcome:
        """Hand the trial to the launcher, and read what it left."""
        overrides = [f"{name}={value!r}" for name, value in trial.params.items()]
        overrides = [*self.fixed, *overrides, f"trial={trial.number}"]
        if self.n_jobs > 1 and self.job_threads is None:
            overrides.append(f"trainer.threads={max(1, (os.cpu_count() or 1) // self.n_jobs)}")
        assert self.launcher is not None  # Hydra calls setup first
        started = time.perf_counter()
        try:
            with Lease(study, trial):
                (job,) = self.launcher.launch([overrides], initial_job_idx=trial.number)
        except (KeyboardInterrupt, SystemExit):
            study.interrupted(trial)
            raise
        folder = self.folder / f"trial-{trial.number}"
        attributes = {"folder": str(folder), "seconds": time.perf_counter() - started}
        return _outcome(job, folder, attributes)


def _outcome(job: JobReturn, folder: Path, attributes: dict[str, Any]) -> Outcome:
    """The study's view of a finished job."""
    if job.status is not JobStatus.COMPLETED:
        error = job._return_value
        text = "".join(traceback.format_exception(error))
        (folder / "error.txt").write_text(text)
        text = text[-2000:]  # a database column is no place for a long one
        return Outcome(TrialState.FAIL, None, {**attributes, "status": "failed", "error": text})
    status = json.loads((folder / "result.json").read_text())["status"]
    state = STATES[status]
    value = float(job.return_value) if state is TrialState.COMPLETE else None
    return Outcome(state, value, {**attributes, "status": status})


def comparable(config: Config, space: Any, data_sha256: str) -> dict[str, Any]:
    """Everything that makes trials of a study comparable, flat, with its digest."""
    flat = flatten(config.model_dump())
    searched = {name.split(".")[0] if name.startswith("search.") else name for name in space}
    kept = {
        key: value
        for key, value in flat.items()
        if not key.startswith(INCOMPARABLE) and key not in searched
    }
    kept |= {f"space.{name}": text for name, text in describe_space(space).items()}
    kept["data.sha256"] = data_sha256
    return {**kept, "hash": digest(kept)}


Plugins.instance().register(StudySweeper)
