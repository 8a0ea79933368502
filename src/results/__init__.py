"""What a run leaves behind: its record and its provenance."""

from src.results.provenance import patch, provenance
from src.results.record import Record, claim, digest, read_rows

__all__ = ["Record", "claim", "digest", "patch", "provenance", "read_rows"]
