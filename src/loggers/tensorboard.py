"""TensorBoard: event files in the run's folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from src.loggers import metrics


class TensorBoard:
    """Look at them with `tensorboard --logdir outputs/runs`."""

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"))
        self.writer.add_text("config", f"```yaml\n{yaml.safe_dump(dict(config))}```")

    def row(self, row: Mapping[str, Any]) -> None:
        for name, value in metrics(row).items():
            self.writer.add_scalar(name, value, row["step"])

    def close(self, status: str) -> None:
        self.writer.add_text("status", status)
        self.writer.close()
