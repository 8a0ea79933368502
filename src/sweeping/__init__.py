"""Sweeps: one Optuna study per method, in a database that any number of processes may share."""

from src.config import OUTPUTS

DEFAULT_STORAGE = f"sqlite:///{OUTPUTS / 'studies.db'}"  # as conf/hydra/sweeper/study
