"""MLflow: a local folder or a tracking server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.loggers import flat, metrics

STATES = {"interrupted": "KILLED"}


class MLflow:
    """One MLflow run per run.

    Args:
        tracking_uri: a file or sqlite URI, or a server's address.
        experiment_name: made when missing.
    """

    def __init__(self, tracking_uri: str, experiment_name: str) -> None:
        self.tracking_uri, self.experiment_name = tracking_uri, experiment_name

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(self.tracking_uri)
        name = self.experiment_name
        known = self.client.get_experiment_by_name(name)
        number = known.experiment_id if known else self.client.create_experiment(name)
        self.run = self.client.create_run(number, run_name=folder.name).info.run_id
        self.client.set_tag(self.run, "folder", str(folder))
        for name, value in flat(config).items():
            self.client.log_param(self.run, name, value)

    def row(self, row: Mapping[str, Any]) -> None:
        for name, value in metrics(row).items():
            self.client.log_metric(self.run, name, value, step=row["step"])

    def close(self, status: str) -> None:
        self.client.set_tag(self.run, "status", status)
        self.client.set_terminated(self.run, STATES.get(status, "FINISHED"))
