"""Which launchers there are, what each needs, and whether it may leave this machine."""

import os
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.errors import InputError

LOCAL, JOBLIB, RAY = "local", "joblib", "ray"
SUBMITIT_LOCAL, SLURM = "submitit_local", "submitit_slurm"
EXTRAS = {JOBLIB: "joblib", RAY: "ray", SUBMITIT_LOCAL: "slurm", SLURM: "slurm"}
PLUGIN = "hydra_plugins.hydra_{0}_launcher.{0}_launcher.{1}Launcher"
TARGETS = {
    "src.launching.local.LocalLauncher": LOCAL,
    PLUGIN.format("joblib", "Joblib"): JOBLIB,
    PLUGIN.format("ray", "Ray"): RAY,
    PLUGIN.format("submitit", "Local"): SUBMITIT_LOCAL,
    PLUGIN.format("submitit", "Slurm"): SLURM,
}


def kind_of(config: DictConfig) -> str:
    """The launcher of a composed config; a file of one's own may set another's settings.

    Args:
        config: its `hydra` node included.

    Raises:
        InputError: it is none of those that are allowed.
    """
    target = OmegaConf.select(config, "hydra.launcher._target_")
    if target not in TARGETS:
        choice = config.hydra.runtime.choices.get("hydra/launcher")
        raise InputError(f"hydra/launcher={choice}: {refusal(choice)}")
    return TARGETS[target]


def refusal(choice: str | None) -> str:
    """Why a launcher can't be had: its package is missing, or there is none of that name."""
    if choice in EXTRAS:
        return f"not installed; pip install 'fairstep[{EXTRAS[choice]}]'"
    return f"no launcher of workers (allowed: {', '.join(sorted(TARGETS.values()))})"


def leaves_machine(kind: str, settings: Any) -> bool:
    """Whether workers may run on other hosts than this one.

    Args:
        kind: the launcher.
        settings: its own, `hydra.launcher`.
    """
    address = OmegaConf.select(settings, "ray.init.address") or os.environ.get("RAY_ADDRESS")
    return kind == SLURM or (kind == RAY and address not in (None, "", "local"))
