"""From a composed config to the workers of its launcher."""

import atexit
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from src.launching.batch import BatchWorkers, QueuedWorkers
from src.launching.choices import JOBLIB, LOCAL, RAY, SLURM, SUBMITIT_LOCAL, kind_of
from src.launching.job import WorkerJob
from src.launching.local import LocalWorkers
from src.launching.queues import Processes, Queue, Slurm
from src.launching.ray_tasks import remember_tasks
from src.launching.workers import Workers
from src.overrides import ENVIRONMENT

# What Hydra does for a job beside calling it: nothing, in the study's folder.
QUIET = ("hydra.sweep.subdir=.", "hydra.output_subdir=null")
PASSED = (*ENVIRONMENT, "PYTHONPATH")  # of the submitter's environment; never a password


def make_workers(
    config: DictConfig,
    loader: ConfigLoader,
    overrides: Sequence[str],
    folder: Path,
    gpus: Sequence[str] = (),
    work: Callable[[], object] | None = None,
) -> Workers:
    """The workers of a study, none of them started.

    Args:
        config: the submitter's, its `hydra` node included.
        loader: composes a job's config, which Hydra's launchers ask for and no worker uses.
        overrides: with which that can be composed.
        folder: of the study.
        gpus: that local workers share out among them; other launchers give their jobs theirs.
        work: what a local worker does if it is a copy of this process; None if none can be.
    """
    kind = kind_of(config)
    if kind == LOCAL:
        return LocalWorkers(folder, gpus, work)

    def launch(job: WorkerJob) -> Sequence[JobReturn]:
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(loader, Callbacks()),
            task_function=cast(TaskFunction, job),
            config=config,
        )
        if kind == JOBLIB and config.hydra.launcher.n_jobs == -1:  # its default, all processors
            cast(Any, launcher).joblib["n_jobs"] = len(job.numbers)
        if kind == RAY:
            remember_tasks()
        return launcher.launch([[*overrides, *QUIET]] * len(job.numbers), 0)

    environment = {name: os.environ[name] for name in PASSED if name in os.environ}
    job = WorkerJob((), sys.orig_argv[1:], os.getcwd(), str(folder), environment)
    queue = _queue(config)
    if queue is None:
        return BatchWorkers(kind, launch, job)
    return QueuedWorkers(kind, launch, job, queue)


def _queue(config: DictConfig) -> Queue | None:
    """The queue that a launcher's jobs wait in; None if they end with this process."""
    kinds = {SLURM: Slurm, SUBMITIT_LOCAL: Processes}
    kind = kind_of(config)
    return kinds[kind](str(config.hydra.launcher.submitit_folder)) if kind in kinds else None


def cancel_at_exit(config: DictConfig) -> None:
    """Let no job of a plain multirun outlive this process: after Ctrl-C nobody asks for it."""
    queue = _queue(config)
    if queue is not None:
        atexit.register(_cancel, queue)


def _cancel(queue: Queue) -> None:
    if left := queue.alive(queue.submitted()):
        queue.cancel(left)
