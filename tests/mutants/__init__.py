"""Breaks the code on purpose; see `python -m tests.mutants --help`."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
