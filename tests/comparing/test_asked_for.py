"""What a comparison's command line is read for, and how often."""

import pytest

from src.comparing import making
from src.comparing.making import asked_for
from src.results.place import WORKER


def test_a_worker_knows_what_its_submitter_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submitter reads a line anew each time; a worker reads what nobody has read before."""
    read = list[tuple[str, ...]]()
    monkeypatch.setattr(making, "several", lambda line: None)
    monkeypatch.setattr(making, "plan", lambda line: read.append(line) or object())
    monkeypatch.setattr(making, "_READ", {})
    monkeypatch.delenv(WORKER, raising=False)
    first = asked_for(["methods=[sgd,adam]"])
    second = asked_for(["methods=[sgd,adam]"])
    assert first is not second and len(read) == 2
    monkeypatch.setenv(WORKER, "1")
    assert asked_for(["methods=[sgd,adam]"]) is second and len(read) == 2
    other = asked_for(["methods=[sgd,lion]"])
    assert other is not second and read[2:] == [("methods=[sgd,lion]",)]
