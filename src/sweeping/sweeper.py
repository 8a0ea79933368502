"""The sweeper: `-m sweeps=adam` runs trials until the study holds exactly `n_trials`."""

import copy
import json
import os
import re
import shlex
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_optuna_sweeper._impl import (
    OptunaSweeperImpl,
    create_params_from_overrides,
)
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from optuna.trial import Trial, TrialState

from src.config import Config, build, job_config, parse
from src.errors import InputError
from src.results import digest
from src.run import assemble
from src.sweeping.progress import SweepProgress, report_result
from src.sweeping.samplers import grid_size, make_sampler
from src.sweeping.storage import absolute
from src.sweeping.study import Lease, Outcome, SharedStudy, describe_space, flatten
from src.sweeping.workers import WORKER, in_turn, is_orphan, run_workers

# What trials may differ in and still be compared: how they are found, how fast they run, where.
INCOMPARABLE = (
    *("sampler", "pruner", "search", "trial", "resume", "logger"),
    *("data.root", "trainer.threads", "trainer.checkpoint_every"),
)
COMPLETE = ("completed", "early_stopped")
STATES = {
    **dict.fromkeys(COMPLETE, TrialState.COMPLETE),
    "pruned": TrialState.PRUNED,
    # Pruned and not infinite: samplers then learn that the region is bad without its value, which
    # Optuna keeps for trials that have none; and the sweep goes on.
    "diverged": TrialState.PRUNED,
    "failed": TrialState.FAIL,
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
        self.study: SharedStudy | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.task_function = task_function

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until the study is complete.

        Args:
            arguments: the command line's overrides; a sweep among them replaces the file's.
        """
        is_worker = WORKER in os.environ
        try:
            self._check()
            self._read(arguments)
            with in_turn(self.folder):
                self._sweep(is_worker)
        except KeyboardInterrupt:
            if self.study is not None:
                with suppress(InputError):  # the next start finds what it couldn't be told
                    self.study.release()
            if not is_worker:
                command = shlex.join(["python", "-m", "src.train", *sys.argv[1:]])
                print(f"interrupted; this goes on: {command}", file=sys.stderr)
            raise
        except InputError as error:
            raise SystemExit(1) from error

    def _sweep(self, is_worker: bool) -> None:
        self.study = study = self._open()
        if self.n_jobs > 1 and not is_worker and study.counted() < study.n_trials:
            run_workers(self.n_jobs, study, SweepProgress(study), self.folder)
        else:
            self._work(study)
        if not is_worker:
            report_result(study, self.folder, self._compose)

    def _check(self) -> None:
        least = {"n_trials": 1, "n_jobs": 1, "max_failures": 1, "lease_seconds": 6}
        for name, low in least.items():
            value = getattr(self, name)
            if type(value) is not int or value < low:
                raise InputError(f"hydra.sweeper.{name}={value}: must be an integer >= {low}")
        name = str(self.study_name)
        if not re.fullmatch(r"[\w.+=-]+", name) or name.startswith("."):
            raise InputError(
                f"hydra.sweeper.study_name={name}: must be letters, digits and any of - _ . + =, "
                "because it names a folder"
            )

    def _open(self) -> SharedStudy:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        config = parse(self.job)
        signature = comparable(config, self.space, assemble(config).data.sha256)
        folders = list(self.folder.glob("trial-*"))
        sampler, pruner = config.sampler, config.pruner
        study = SharedStudy(
            url=absolute(str(self.storage)),
            name=str(self.study_name),
            direction=config.objective.direction,
            space=self.space,
            default={name: OmegaConf.select(self.job, name) for name in self.space},
            signature=signature,
            n_trials=int(self.n_trials),
            lease_seconds=self.lease_seconds,
            sampler=lambda number: make_sampler(sampler, self.space, config.seed, number),
            pruner=build("pruner", pruner, optuna.pruners.BasePruner),
        )
        study.limit(grid_size(sampler, self.space))
        self._check_folders(study, folders)
        return study

    def _read(self, arguments: list[str]) -> None:
        """Part the command line's overrides from the space; compose what all trials share."""
        assert self.config is not None  # Hydra calls setup first
        lines = [*self._parse_sweeper_params_config(), *arguments]
        space, fixed_params, _ = create_params_from_overrides(lines)
        self.space = {name: item for name, item in space.items() if name not in fixed_params}
        parsed = OverridesParser.create().parse_overrides(arguments)
        self.fixed = [str(item.input_line) for item in parsed if not item.is_sweep_override()]
        self.base = self._compose(self.fixed)
        self.job = job_config(self.base)
        self._check_space()
        self.folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        self.snapshot = OmegaConf.to_yaml(OmegaConf.masked_copy(self.base, ["hydra"]))

    def _compose(self, overrides: list[str]) -> DictConfig:
        assert self.hydra_context is not None and self.config is not None
        return self.hydra_context.config_loader.load_sweep_config(self.config, overrides)

    def _check_space(self) -> None:
        if not self.space:
            raise InputError(
                "hydra.sweeper.params: there is nothing to search; choose a file with sweeps=NAME"
            )
        for name in self.space:
            if name in self.base.hydra.runtime.choices:
                raise InputError(f"{name}: a study searches values; make one study per {name}")
            if OmegaConf.select(self.job, name, default=self) is self:
                raise InputError(f"hydra.sweeper.params: {name}: there is no such key to search")

    def _check_folders(self, study: SharedStudy, folders: list[Path]) -> None:
        """A trial's folder is its alone: refuse those that the database doesn't know."""
        begun = {
            f"trial-{one.number}" for one in study.trials() if one.state is not TrialState.WAITING
        }
        if unknown := sorted(folder.name for folder in folders if folder.name not in begun):
            raise InputError(
                f"{self.folder / unknown[0]} is of a study that the database doesn't know; "
                f"move {self.folder} away, or choose another hydra.sweeper.study_name"
            )

    def _work(self, study: SharedStudy) -> None:
        """Run one trial after another, in this process."""
        failures = 0
        with SweepProgress(study, quiet=WORKER in os.environ) as progress:
            while trial := study.next_trial(stop=is_orphan):
                outcome = self._run(study, trial)
                study.finish(trial, outcome)
                progress.update()
                failures = failures + 1 if outcome.state is TrialState.FAIL else 0
                if failures >= self.max_failures:
                    last = outcome.attributes["reason"]
                    raise InputError(
                        f"{failures} trials in a row failed, the last one with: {last} "
                        f"(hydra.sweeper.max_failures={self.max_failures})"
                    )

    def _run(self, study: SharedStudy, trial: Trial) -> Outcome:
        """Train one trial in this process, and read what it left."""
        started = time.perf_counter()
        folder = self.folder / f"trial-{trial.number}"
        params = [f"{name}={value!r}" for name, value in trial.params.items()]
        study.note(trial, {"folder": str(folder), "overrides": [*self.fixed, *params]})
        facts: dict[str, Any] = {"status": "failed"}
        value = None
        with Lease(study, trial):
            try:
                value = self._train(trial, folder)
                result = json.loads((folder / "result.json").read_text())
                facts = {"status": result["status"], "steps": result["steps"]}
            except Exception as error:
                text = "".join(traceback.format_exception(error))
                (folder / "error.txt").write_text(text)
                facts["error"] = text[-2000:]  # a database column is no place for a long one
                facts["reason"] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        facts["seconds"] = time.perf_counter() - started
        status = facts["status"]
        return Outcome(STATES[status], value if status in COMPLETE else None, facts)

    def _train(self, trial: Trial, folder: Path) -> float:
        """Do for the trial what Hydra's launcher would do, without composing and copying it all.

        The config differs from the others' in nothing but values, so composing it anew would be
        most of what a trial costs beside its training.
        """
        config = copy.deepcopy(self.job)
        values = {**trial.params, "trial": trial.number}
        for name, value in values.items():
            OmegaConf.update(config, name, value)
        hydra_folder = folder / ".hydra"
        hydra_folder.mkdir(parents=True)
        (hydra_folder / "config.yaml").write_text(OmegaConf.to_yaml(config))
        (hydra_folder / "hydra.yaml").write_text(self.snapshot)
        overrides = [*self.fixed, *(f"{name}={value!r}" for name, value in values.items())]
        (hydra_folder / "overrides.yaml").write_text(OmegaConf.to_yaml(overrides))
        runtime: Any = HydraConfig.get().runtime
        with read_write(runtime), open_dict(runtime):
            runtime.output_dir = str(folder)
        return float(self.task_function(config))


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
