"""A comparison's submitter and its workers, made of its plans."""

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf, open_dict, read_write

from src.comparing.claims import Claims
from src.comparing.ledger import Ledger
from src.comparing.pieces import FOLDER, Board, Problem, Silent, cannot_go_on
from src.comparing.problems import Several, several
from src.comparing.protocol import Plan, plan
from src.comparing.team import Team, end_if_orphan, work
from src.launching.local import LocalWorkers
from src.launching.make import make_workers
from src.launching.workers import Workers, obey_job
from src.results.place import WORKER
from src.sweeping.storage import absolute
from src.training.device import visible_gpus

Plans = Mapping[str, Plan]
_READ: dict[tuple[str, ...], Plan | Several] = {}  # the last command line


def asked_for(overrides: Sequence[str]) -> Plan | Several:
    """Read a command line.

    Composing takes long, so a worker that is a copy of its submitter knows what that has read.

    Raises:
        InputError: as `protocol.plan` and `problems.several` do.
    """
    line = tuple(overrides)
    if WORKER not in os.environ or line not in _READ:
        _READ.clear()
        _READ[line] = several(line) or plan(line)
    return _READ[line]


def team(plans: Plans, root: Path) -> Team[Any]:
    """The submitter of a comparison.

    Args:
        plans: by their folders within `root`.
        root: the folder of the comparison.
    """
    first, claims = next(iter(plans.values())), _claims(plans)
    made: list[Team[Any]] = []

    def tend() -> None:
        made[0].tend()

    def where() -> str:
        return made[0].where()

    problems = {
        name: Problem(plan, root / name, Ledger(root / name), tend, where)
        for name, plan in plans.items()
    }
    workers, count = _workers(first, root / FOLDER), first.protocol.n_jobs
    made.append(Team(problems, Board(root, claims), claims, workers, count))
    return made[0]


def help_out(plans: Plans, root: Path) -> None:
    """Be a worker of a comparison until it has ended."""
    obey_job()
    problems = {
        name: Problem(plan, root / name, Silent(root / name), end_if_orphan)
        for name, plan in plans.items()
    }
    claims = _claims(plans)
    try:
        work(problems, Board(root, claims), claims)
    except OSError as error:
        raise cannot_go_on(error, root) from error
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends by itself now, in its exit handlers


def _claims(plans: Plans) -> Claims:
    plan = next(iter(plans.values()))
    sweeper = plan.configs[plan.methods[0]].hydra.sweeper
    return Claims(absolute(str(sweeper.storage)), sweeper.lease_seconds)


def _workers(plan: Plan, folder: Path) -> Workers | None:
    """The workers beside the submitter; None if it works alone."""
    launcher = plan.launcher
    if launcher is None:
        if plan.protocol.n_jobs == 1:
            return None
        return LocalWorkers(folder, visible_gpus(plan.job(plan.methods[0]).trainer.device))
    config = launcher.config
    with read_write(config), open_dict(config):
        OmegaConf.update(config, "hydra.sweep.dir", str(folder))
    return make_workers(config, launcher.loader, (), folder)  # no worker reads a job's config
