"""Where a process runs, and whether its seconds can be compared with those of others."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from src import config as paths
from src.results.provenance import cpu

WORKER = "FAIRSTEP_WORKER"  # set in a worker's environment: it prints no results
JOB = "FAIRSTEP_JOB"  # in one that a launcher started: the launcher's name of its job
NODE = "FAIRSTEP_NODE"  # and of its host, where that isn't the system's


def cached(name: str) -> Path:
    """The place of a file that is made once for all pages, and made again where it is lost."""
    return paths.OUTPUTS / ".cache" / name


def place() -> dict[str, Any]:
    """The host by the name that its launcher knows, the launcher's job, the processor, and
    whether other workers may be beside this process; None where nobody knows."""
    return {
        "node": os.environ.get(NODE) or os.uname().nodename,
        "job": os.environ.get(JOB),
        "cpu": cpu(),
        "shared": _shared(),
    }


def _shared() -> bool | None:
    """Slurm tells how much of a node a job has; workers of one study often share a machine."""
    if given := os.environ.get("SLURM_CPUS_ON_NODE", ""):
        return not given.isdecimal() or int(given) < (os.cpu_count() or 1)
    return True if {WORKER, JOB} & os.environ.keys() else None


def not_comparable(places: Iterable[Mapping[str, Any]]) -> str | None:
    """Why seconds that were measured at these places can't be compared; None if they can.

    Args:
        places: of the runs, as `place` tells them; a fact that wasn't recorded says nothing.
    """
    places = list(places)
    kinds = sorted({str(place["cpu"]) for place in places if place.get("cpu")})
    reasons = [f"{len(kinds)} kinds of machine ({', '.join(kinds)})"] if len(kinds) > 1 else []
    if any(place.get("shared") for place in places):
        reasons.append("machines that workers shared")
    if any(place.get("together") for place in places):
        reasons.append("trials that were trained at once")
    return " and ".join(reasons) or None
