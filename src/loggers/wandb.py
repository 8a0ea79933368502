"""Weights & Biases: offline unless told otherwise."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.loggers import metrics, read_id


class WandB:
    """One W&B run per run, its files in the run's folder; a resumed run has the same id.

    Args:
        project: it belongs to.
        mode: offline, or online with the account of this machine.
    """

    def __init__(self, project: str, mode: str) -> None:
        if mode not in ("offline", "online"):
            raise ValueError(f"mode must be offline or online, got {mode!r}")
        self.project, self.mode = project, mode

    def start(self, folder: Path, config: Mapping[str, Any], step: int) -> None:
        import wandb

        file = folder / ".wandb-id"
        name = read_id(file) if step else None
        if name is None:
            name = uuid.uuid4().hex[:12]
            file.write_text(name)
        self.run = wandb.init(
            project=self.project,
            mode=self.mode,  # type: ignore[arg-type]
            dir=str(folder),
            id=name,
            resume="allow" if self.mode == "online" else None,
            name=folder.name,
            config=dict(config),
            settings=wandb.Settings(silent=True, console="off", init_timeout=30),
        )

    # The slow suite runs the two in a process, which leaves no measurement behind.
    def row(self, row: Mapping[str, Any]) -> None:  # pragma: no cover
        self.run.log(metrics(row), step=row["step"])

    def close(self, status: str) -> None:  # pragma: no cover
        self.run.summary["status"] = status
        self.run.finish()
