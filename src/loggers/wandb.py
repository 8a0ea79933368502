"""Weights & Biases: offline unless told otherwise."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.loggers import metrics


class WandB:
    """One W&B run per run, its files in the run's folder.

    Args:
        project: it belongs to.
        mode: offline, or online with the account of this machine.
    """

    def __init__(self, project: str, mode: str) -> None:
        if mode not in ("offline", "online"):
            raise ValueError(f"mode must be offline or online, got {mode!r}")
        self.project, self.mode = project, mode

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        import wandb

        self.run = wandb.init(
            project=self.project,
            mode=self.mode,
            dir=str(folder),
            name=folder.name,
            config=dict(config),
            settings=wandb.Settings(silent=True),
        )

    def row(self, row: Mapping[str, Any]) -> None:
        self.run.log(metrics(row), step=row["step"])

    def close(self, status: str) -> None:
        self.run.summary["status"] = status
        self.run.finish()
