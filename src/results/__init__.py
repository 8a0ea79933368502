"""What a run leaves behind: its record and its provenance."""

from src.results.provenance import provenance
from src.results.record import Record, claim, digest

__all__ = ["Record", "claim", "digest", "provenance"]
