"""The tasks of Ray's launcher: asked to end they put their trials back; Ray itself kills them."""

import sys
from importlib import import_module
from typing import Any, cast

PLUGIN = "hydra_plugins.hydra_ray_launcher"
TASKS: list[Any] = []  # that this process has started, as Ray refers to them


def remember_tasks() -> None:
    """Keep what Hydra's launcher starts: it gives nothing away by which a task can be asked.

    Raises:
        ImportError: Ray or its launcher isn't installed.
    """
    core, util = (
        cast(Any, import_module(f"{PLUGIN}.{name}")) for name in ("_core", "_launcher_util")
    )

    def start(*given: Any) -> Any:
        TASKS.append(util.launch_job_on_ray(*given))
        return TASKS[-1]

    core.launch_job_on_ray = start


def end_tasks(seconds: float) -> None:
    """Raise KeyboardInterrupt in each task, wait until all have ended, and leave Ray.

    Args:
        seconds: after which those that are left are killed.
    """
    ray = sys.modules.get("ray")
    if ray is None or not hasattr(ray, "shutdown"):  # it can't be imported, or is at this moment
        return
    if TASKS and ray.is_initialized():
        for task in TASKS:
            ray.cancel(task)
        ray.wait(TASKS, num_returns=len(TASKS), timeout=seconds)
    TASKS.clear()
    ray.shutdown()
