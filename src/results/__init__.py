"""What a run leaves behind: its record and its provenance."""

from src.results.provenance import patch, provenance
from src.results.record import LOCK, Record, alone, claim, digest, is_held, read_rows, refuse_used

__all__ = [
    "LOCK",
    "Record",
    "alone",
    "claim",
    "digest",
    "is_held",
    "patch",
    "provenance",
    "read_rows",
    "refuse_used",
]
