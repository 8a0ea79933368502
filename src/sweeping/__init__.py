"""Sweeps: one Optuna study per method, in a database that any number of processes may share."""

from src.config import PROJECT

DEFAULT_STORAGE = f"sqlite:///{PROJECT / 'outputs' / 'studies.db'}"  # as conf/hydra/sweeper/study
