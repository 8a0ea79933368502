"""How long a comparison has taken by its records, and what its next look waits for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.comparing import rounds as module
from src.comparing.pieces import Piece
from src.comparing.record import Trial
from src.comparing.rounds import Rounds, made
from tests.comparing.conftest import made_plan, made_run, made_search


def rounds(folder: Path, **changes: Any) -> Rounds:
    return Rounds(made_plan(**changes), folder, lambda made: None)


@pytest.mark.parametrize(("limit", "over"), [(None, False), (17.0, True), (17.5, False)])
def test_seconds_are_those_of_trials_and_each_runs_share(
    tmp_path: Path, limit: float | None, over: bool
) -> None:
    """4 + 3 seconds of trials, 8 of a run alone, a quarter of 8 of one of four: 17."""
    made = rounds(tmp_path, seconds=limit)
    trials = [Trial(number=n, state="complete", seconds=s) for n, s in enumerate((4.0, None, 3.0))]
    made.searches = [made_search("a", trials=[trial.model_dump() for trial in trials])]
    several: list[dict[str, Any]] = [
        {"train_seconds": 8.0}, {"train_seconds": 8.0, "together": 4}, {"train_seconds": None},
    ]  # fmt: skip
    made.runs = {str(n): made_run("a", n, 1.0, **more) for n, more in enumerate(several)}
    assert made._over_the_limit() is over


def test_a_comparison_that_was_stopped_waits_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = rounds(tmp_path)
    course: Any = SimpleNamespace(need="more", looks=[])
    monkeypatch.setattr(asked, "course", lambda: course)
    monkeypatch.setattr(module, "jobs", lambda plan, searches, need, first: [
        SimpleNamespace(folder_name=f"{need} {first}")
    ])  # fmt: skip
    assert asked.awaited() == ["more True"]
    course.looks = ["a look"]
    assert asked.awaited() == ["more False"]
    asked.stopped = "protocol.seconds had passed"
    assert asked.awaited() == []
    asked.stopped, course.need = "", None
    assert asked.awaited() == []


def test_searches_take_turns(tmp_path: Path) -> None:
    """The first of each method, then the second of each; results in that order, however made."""
    steps = rounds(tmp_path)._search(["a", "b"], range(1, 3))
    wanted = next(steps)
    assert [(piece.method, piece.number) for piece in wanted] == [
        ("a", 1), ("b", 1), ("a", 2), ("b", 2),
    ]  # fmt: skip
    while True:
        piece = wanted[-1]
        try:
            wanted = steps.send((piece, made_search(piece.method, piece.number)))
        except StopIteration as end:
            found = end.value
            break
    assert [(search.method, search.search) for search in found] == [
        ("a", 1), ("b", 1), ("a", 2), ("b", 2),
    ]  # fmt: skip


def test_each_piece_is_told_with_how_many_there_are() -> None:
    told, pieces = list[Any](), [Piece("p", "a", n) for n in range(3)]
    steps = made(pieces, tell=lambda *given: told.append(given))
    assert next(steps) == pieces
    assert steps.send((pieces[1], "second")) == [pieces[0], pieces[2]]  # type: ignore[arg-type]
    steps.send((pieces[0], "first"))  # type: ignore[arg-type]
    with pytest.raises(StopIteration) as end:
        steps.send((pieces[2], "third"))  # type: ignore[arg-type]
    assert end.value.value == ["first", "second", "third"]
    assert told == [(pieces[1], "second", 1), (pieces[0], "first", 2), (pieces[2], "third", 3)]
    with pytest.raises(StopIteration) as end:
        next(made([]))
    assert end.value.value == []
