"""The pieces of a comparison and the folder that lists them, without a search or a run."""

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.comparing import pieces as module
from src.comparing.conduct import Job
from src.comparing.ledger import Ledger
from src.comparing.pieces import Board, Piece, Problem, Silent, cannot_go_on
from src.errors import InputError
from tests.comparing.conftest import made_plan

JOB = Job("adam", "tuned", 0, 1000, {"lr": 0.1})


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    plan = made_plan()
    plan.study = lambda method, number: f"study-{method}-{number}"
    return Problem(plan, tmp_path, Ledger(tmp_path))


@pytest.fixture
def board(tmp_path: Path) -> Board:
    claims: Any = SimpleNamespace(token=lambda name: f"token of {name}")
    made = Board(tmp_path, claims)
    made.clear()
    return made


def test_what_a_piece_is_called() -> None:
    assert Piece("p", "adam", 3).what == "search 3 of adam"
    assert Piece("p", job=JOB).what == "adam-tuned-0-seed-1000"
    names = [
        Piece("p", "adam", 3), Piece("q", "adam", 3), Piece("p", "sgd", 3), Piece("p", "adam", 4),
        Piece("p", job=JOB),
    ]  # fmt: skip
    assert len({each.name for each in names}) == 5
    assert {len(each.name) for each in names} == {20}, "short enough for a file's name"


def test_what_who_makes_it_must_hold(problem: Problem, tmp_path: Path) -> None:
    """Another comparison may want the same search, but has runs of its own."""
    assert problem.claim_of(Piece("p", "adam", 3)) == "search study-adam-3"
    assert problem.claim_of(Piece("p", job=JOB)) == f"run {tmp_path}/adam-tuned-0-seed-1000"


def test_searches_and_runs_are_made_by_those_who_can(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list[Any]()

    def train_all(*given: Any) -> Any:
        told.append(given)
        return iter(["first", "second"])

    monkeypatch.setattr(problem.searches, "search", lambda method, number: (method, number))
    monkeypatch.setattr(module, "train_all", train_all)
    monkeypatch.setattr(module, "train", lambda plan, job, folder, ledger: (job, folder))
    assert problem.carry_out(Piece("p", "adam", 3)) == ("adam", 3)
    assert problem.carry_out(Piece("p", job=JOB)) == (JOB, tmp_path)
    assert [*problem.several([Piece("p", "adam", 3)])] == [("adam", 3)] and not told
    assert [*problem.several([Piece("p", job=JOB)] * 2)] == ["first", "second"]
    assert told == [(problem.plan, [JOB, JOB], tmp_path, problem.ledger)]


def test_a_full_disk_ends_runs_that_train_at_once_with_a_line(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After those that were made."""

    def train_all(*given: Any) -> Any:
        yield "first"
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")

    monkeypatch.setattr(module, "train_all", train_all)
    results = problem.several([Piece("p", job=JOB)] * 2)
    assert next(results) == "first"
    with pytest.raises(InputError, match=r"^metrics.jsonl: No space left on device; the same"):
        next(results)


def test_an_error_without_a_file_names_the_folder(tmp_path: Path) -> None:
    assert str(cannot_go_on(OSError("so"), tmp_path)) == f"{tmp_path}: so; the same command goes on"


def test_how_many_train_at_once_is_read_once(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[Any]()
    monkeypatch.setattr(module, "at_once", lambda plan: asked.append(plan) or 7)
    assert problem.at_once == problem.at_once == 7
    assert asked == [problem.plan]


def test_a_worker_notes_nothing(tmp_path: Path) -> None:
    """Who makes the looks does, once for each piece."""
    Silent(tmp_path).note("searched", "adam")
    assert Ledger(tmp_path).read() == []


def test_what_is_wanted_and_what_was_reported(board: Board) -> None:
    first, second = Piece("p", "adam", 0), Piece("p", "sgd", 0)
    board.publish([first, second])
    assert board.wanted() == [first, second] and board.reported() == set()
    board.report(second, "it broke")
    assert board.wanted() == [first] and board.reported() == {second.name}
    assert board.is_reported(second) and not board.is_reported(first)
    board.report(first)
    assert (board.error(first), board.error(second)) == (None, "it broke")
    assert board.wanted() == []
    board.publish(iter([first]))
    board.clear()
    assert board.reported() == set(), "the same command makes it again, or reads it"
    assert board.wanted() == [first], "the list stays"
    board.publish(None)
    assert board.wanted() is None


def test_a_folder_that_is_not_the_comparisons(board: Board) -> None:
    """Without a list, with a broken one, and with that of another."""
    where = r"list\.json: host .* doesn't see the folder in which the comparison began"
    with pytest.raises(InputError, match=where):
        board.wanted()
    for text in ("{", json.dumps({"token": "another", "pieces": []}), "{}"):
        (board.folder / "list.json").write_text(text)
        with pytest.raises(InputError, match=where):
            board.wanted()


def test_signs_of_the_submitter(board: Board) -> None:
    """A new list is one, and so is a beat; each counts once."""
    board.publish([])
    assert board.has_changed() and not board.has_changed()
    os.utime(board.folder / "list.json", (1, 1))
    assert board.has_changed() and not board.has_changed()
    board.beat()
    assert board.has_changed() and not board.has_changed()
    assert board.wanted() == []


def test_the_token_is_that_of_the_folder(tmp_path: Path) -> None:
    """Asked for once: it lies in the database."""
    asked = list[str]()
    claims: Any = SimpleNamespace(token=lambda name: asked.append(name) or "t")
    board = Board(tmp_path, claims)
    assert board.token == board.token == "t" and asked == [f"{tmp_path}/.work"]


def test_a_run_is_read_as_it_was_written(board: Board) -> None:
    """With settings of any kind."""
    job = Job("a", "default", 2, 1003, {"x": [1, 2.5], "y": {"z": None}, "w": "text"})
    board.publish([Piece("p", job=job)])
    (piece,) = board.wanted() or []
    assert piece.job == job and piece.method == "" and piece.number == 0
