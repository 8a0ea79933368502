"""Sweeps: one Optuna study per method, in a database that any number of processes may share."""
