"""The commands with which a comparison searches."""

from pathlib import Path

import pytest

from src.comparing import searching
from src.comparing.ledger import Ledger
from src.comparing.protocol import plan
from src.config import register

WON = [{"state": "complete", "cost": 0.0}]


@pytest.mark.parametrize("given", [[], ["trainer.threads=2"]])
def test_searches_side_by_side_are_those_of_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str]
) -> None:
    """Nothing is told them of the cores or of each other, so that they find the same."""
    register()
    commands: dict[int, list[list[str]]] = {1: [], 3: []}
    monkeypatch.setattr(searching, "read_search", lambda *_: {"trials": WON})
    for n_jobs, begun in commands.items():

        def begin(
            _: object, command: list[str], *more: str, begun: list[list[str]] = begun
        ) -> None:
            begun.append(command)

        monkeypatch.setattr(searching.Searches, "_carry_out", begin)
        arguments = ["methods=[adam,sgd]", f"protocol.n_jobs={n_jobs}", "protocol.widen=0"]
        asked = plan([*arguments, *given])
        searching.Searches(asked, tmp_path, Ledger(tmp_path)).run()
    assert len(commands[1]) == 2
    assert sorted(commands[3]) == sorted(commands[1])
    assert all([part for part in one if "threads" in part] == given for one in commands[3])
