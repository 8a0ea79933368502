"""What a run leaves behind: its record and its provenance."""

from src.results.provenance import patch, provenance
from src.results.record import LOCK, Record, alone, claim, digest, read_rows, refuse_used

__all__ = [
    "LOCK",
    "Record",
    "alone",
    "claim",
    "digest",
    "patch",
    "provenance",
    "read_rows",
    "refuse_used",
]
