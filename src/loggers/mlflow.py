"""MLflow: a local folder or a tracking server."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.config import flatten
from src.loggers import metrics, read_id
from src.results.status import Status

STATES: dict[str, str] = {Status.INTERRUPTED: "KILLED", Status.FAILED: "FAILED"}

# By default an unreachable server is waited for over minutes; a run must not be.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class MLflow:
    """One MLflow run per run, also for a run that was resumed.

    Args:
        tracking_uri: a sqlite URI, or a server's address.
        experiment_name: made when missing.
    """

    def __init__(self, tracking_uri: str, experiment_name: str) -> None:
        self.tracking_uri, self.experiment_name = tracking_uri, experiment_name

    def start(self, folder: Path, config: Mapping[str, Any], step: int) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Param

        for library in ("mlflow", "alembic"):  # which tell of every table that they make
            logging.getLogger(library).setLevel(logging.WARNING)
        self.client = MlflowClient(self.tracking_uri)
        known, self.logged = self._known(folder / ".mlflow-id") if step else (None, 0)
        self.run = known or self._new(folder)
        if known is None:
            (folder / ".mlflow-id").write_text(self.run)
            params = [Param(key, str(value)) for key, value in flatten(config).items()]
            self.client.log_batch(self.run, params=params)
        self.client.set_tag(self.run, "folder", str(folder))

    def _known(self, file: Path) -> tuple[str | None, int]:
        """The run that an earlier start made and its last step, if this server has it."""
        from mlflow.exceptions import MlflowException

        name = read_id(file)
        if name is None:
            return None, 0
        try:
            self.client.update_run(name, status="RUNNING")
            steps = [point.step for point in self.client.get_metric_history(name, "samples")]
        except MlflowException:
            return None, 0
        return name, max(steps, default=0)

    def _new(self, folder: Path) -> str:
        from mlflow.exceptions import MlflowException

        try:
            number = self._number() or self.client.create_experiment(self.experiment_name)
        except MlflowException:  # another run has just made it
            number = str(self._number())
        return str(self.client.create_run(number, run_name=folder.name).info.run_id)

    def _number(self) -> str | None:
        """The experiment's number, if there is an experiment of this name."""
        known = self.client.get_experiment_by_name(self.experiment_name)
        return str(known.experiment_id) if known else None

    def row(self, row: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric

        if row["step"] <= self.logged:  # before the run was killed
            return
        now = round(row["wall_seconds"] * 1000)
        points = [Metric(name, value, now, row["step"]) for name, value in metrics(row).items()]
        self.client.log_batch(self.run, metrics=points)

    def close(self, status: str) -> None:
        self.client.set_tag(self.run, "status", status)
        self.client.set_terminated(self.run, STATES.get(status, "FINISHED"))
