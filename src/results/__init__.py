"""What a run leaves behind: its record and its provenance."""

from src.results.provenance import patch, provenance
from src.results.record import LOCK, Record, claim, digest, read_rows, refuse_used

__all__ = [
    "LOCK",
    "Record",
    "claim",
    "digest",
    "patch",
    "provenance",
    "read_rows",
    "refuse_used",
]
