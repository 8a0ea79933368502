"""TensorBoard: event files in the run's folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from src.loggers import metrics


class TensorBoard:
    """Writes event files; `tensorboard --logdir outputs/runs` shows them."""

    def start(self, folder: Path, config: Mapping[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge = step + 1 if step else None  # what a killed run logged later will come again
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=purge)
        text = yaml.safe_dump(dict(config))
        self.writer.add_text("config", f"```yaml\n{text}```", step)

    def row(self, row: Mapping[str, Any]) -> None:
        for name, value in metrics(row).items():
            self.writer.add_scalar(name, value, row["step"])
        self.writer.flush()  # a run that is killed and resumed logs none of these again
        self.step = row["step"]

    def close(self, status: str) -> None:
        self.writer.add_text("status", status, getattr(self, "step", 0))
        self.writer.close()
