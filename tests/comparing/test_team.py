"""Who makes the pieces of a comparison: on made-up pieces, with workers that train nothing."""

import errno
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from src.comparing import team as module
from src.comparing.claims import Claims
from src.comparing.conduct import Job
from src.comparing.ledger import Ledger
from src.comparing.pieces import Board, Piece, Problem, Result
from src.comparing.record import Search
from src.comparing.rounds import Steps, made
from src.comparing.team import TELL_SECONDS, Team, Work, work
from src.errors import InputError
from src.launching.workers import Ended, Workers
from src.sweeping.storage import absolute
from tests.comparing.conftest import made_plan


class Made:
    """Stands in for a problem: a piece's result is a search by its name."""

    def __init__(self, name: str, folder: Path, fails: str = "") -> None:
        self.name, self.folder, self.fails = name, folder, fails
        self.begun: list[str] = []

    def claim_of(self, piece: Piece) -> str:
        return f"{self.name} {piece.method}"

    def several(self, pieces: list[Piece]) -> Iterator[Result]:
        return map(self.carry_out, pieces)

    def carry_out(self, piece: Piece) -> Result:
        kept = self.folder / f"{self.name}-{piece.method}"
        if not kept.is_file():
            self.begun.append(piece.method)
            if piece.method == self.fails:
                raise InputError("it can't be made")
            kept.touch()
        return Search(method=piece.method)


class Helpers(Workers):
    """Workers that end as they are told to; what they make, the test makes."""

    def __init__(self, *ends: Ended, here: bool = True, left: int = 0) -> None:
        self.here, self.ends, self.left = here, list(ends), left
        self.started: list[int] = []
        self.stopped = False

    def left_over(self) -> int:
        return self.left

    def start(self, numbers: Sequence[int]) -> None:
        self.started += numbers

    def ended(self) -> list[Ended]:
        ends, self.ends = self.ends[:1], self.ends[1:]
        return ends

    def running(self) -> int:
        return 1

    def stop(self) -> None:
        self.stopped = True


class Seeing(Helpers):
    """Workers that only look what is wanted."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self.board = board
        self.seen: list[list[str]] = []

    def ended(self) -> list[Ended]:
        self.seen.append([piece.method for piece in self.board.wanted() or []])
        return []


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Claims:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    return Claims(absolute(f"sqlite:///{tmp_path / 'studies.db'}"), 6)


def pieces(problem: str, *methods: str) -> list[Piece]:
    return [Piece(problem, method) for method in methods]


def course(problem: str, *methods: str) -> Steps[Any]:
    """Two steps: the second wants what the first has made, once more by another name."""
    first = yield from made(pieces(problem, *methods))
    second = yield from made(pieces(problem, *(f"{one.method}2" for one in first)))
    return [one.method for one in (*first, *second)]


def carry_out(
    root: Path, claims: Claims, workers: Helpers | None = None, count: int = 1, fails: str = "",
    problems: Sequence[str] = ("p",),
) -> tuple[dict[str, Any], dict[str, Made]]:  # fmt: skip
    ended: dict[str, Any] = {}
    made_up = {name: Made(name, root, fails) for name in problems}
    team = Team[Any](made_up, Board(root, claims), claims, workers, count)  # type: ignore[arg-type]
    team.carry_out({name: course(name, "a", "b") for name in problems}, ended.__setitem__)
    return ended, made_up


def test_the_submitter_alone(tmp_path: Path, claims: Claims) -> None:
    """In the order in which pieces are wanted, a problem after another; again, nothing is made."""
    ended, made_up = carry_out(tmp_path, claims, problems=("p", "q"))
    assert ended == {"p": ["a", "b", "a2", "b2"], "q": ["a", "b", "a2", "b2"]}
    assert [it.begun for it in made_up.values()] == [["a", "b", "a2", "b2"]] * 2
    again, made_up = carry_out(tmp_path, claims, problems=("p", "q"))
    assert again == ended
    assert [it.begun for it in made_up.values()] == [[], []]
    assert Board(tmp_path, claims).wanted() is None, "workers that are late end at once"


def test_an_error_ends_its_problem_alone(tmp_path: Path, claims: Claims) -> None:
    """The same command tries again."""
    ended, _ = carry_out(tmp_path, claims, fails="b", problems=("p", "q"))
    assert {name: str(error) for name, error in ended.items()} == {
        "p": "it can't be made", "q": "it can't be made",
    }  # fmt: skip
    ended, made_up = carry_out(tmp_path, claims)
    assert ended == {"p": ["a", "b", "a2", "b2"]}
    assert made_up["p"].begun == ["b", "a2", "b2"]


def test_what_others_make_is_read(tmp_path: Path, claims: Claims) -> None:
    """Here nobody works but a worker, which sees only the folder, in the submitter's pauses."""
    theirs, other = Made("p", tmp_path), Claims(claims.url, 6)
    other.me = json.dumps({**json.loads(other.me), "host": "elsewhere"})
    board = Board(tmp_path, other)
    helper = Work({"p": theirs}, board, other)  # type: ignore[dict-item]

    class Elsewhere(Helpers):
        def ended(self) -> list[Ended]:
            helper.next(board.wanted() or [])
            return []

    workers = Elsewhere(here=False)
    ended, mine = carry_out(tmp_path, claims, workers, count=3)
    assert ended == {"p": ["a", "b", "a2", "b2"]}
    assert theirs.begun == ["a", "b", "a2", "b2"] and not mine["p"].begun
    assert workers.started == [0, 1, 2] and workers.stopped


def test_the_list_is_written_when_workers_need_another(
    tmp_path: Path, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after each piece; but what a problem wanted that has failed is nobody's business."""
    published, real = list[list[str]](), Board.publish

    def publish(board: Board, listed: Any) -> None:
        published.append([piece.method for piece in listed or ()])
        real(board, listed)

    monkeypatch.setattr(Board, "publish", publish)
    carry_out(tmp_path, claims)
    assert published == [["a", "b"], ["a2", "b2"], []]
    published.clear()
    (tmp_path / "other").mkdir()
    carry_out(tmp_path / "other", claims, count=9, fails="a", problems=("p", "q"))
    assert published == [["a", "b"], ["a", "b"] * 2, ["a", "b"], []]


@pytest.mark.parametrize(("here", "told"), [(False, ", running: 2 on n1, 1 on n2"), (True, "")])
def test_where_workers_are_is_told(tmp_path: Path, claims: Claims, here: bool, told: str) -> None:
    """One that makes two pieces counts once; what others hold for another comparison doesn't."""
    claims.set_up()
    for node, *names in (("n1", "p a", "p b"), ("n1", "p c"), ("n2", "p d"), ("n3", "q a")):
        other = Claims(claims.url, 6)
        other.me = json.dumps({"node": node, "host": "elsewhere", "pid": names[0]})
        assert other.take(names, len(names)) == names
    made_up = {name: Made(name, tmp_path) for name in "pq"}
    workers = Helpers(here=here)
    team = Team[Any](made_up, Board(tmp_path, claims), claims, workers, 4)  # type: ignore[arg-type]
    team.wanted = {"p": pieces("p", "a", "b", "c", "d", "e")}
    assert team.where() == told
    assert team.where() == "", "the database is asked every few seconds"
    team.told -= TELL_SECONDS
    assert team.where() == told
    team.told -= TELL_SECONDS
    team.wanted = {"p": pieces("p", "e")}
    assert team.where() == ""


def test_the_next_problem_begins_when_there_are_hands_for_it(
    tmp_path: Path, claims: Claims
) -> None:
    """With four workers both problems' first pieces are wanted at once; with two, one's."""
    for count, wanted in ((2, ["a", "b"]), (4, ["a", "b", "a", "b"])):
        seeing = Seeing(Board(tmp_path / str(count), claims))
        ended, _ = carry_out(tmp_path / str(count), claims, seeing, count, problems=("p", "q"))
        assert len(ended) == 2
        assert seeing.seen[0] == wanted


@pytest.mark.parametrize(
    ("here", "left", "count", "started"),
    [(True, 0, 2, {1}), (True, 0, 9, {1}), (False, 0, 4, {0, 1, 2, 3}), (False, 3, 4, {3})],
)
def test_how_many_workers_are_started(
    tmp_path: Path, claims: Claims, here: bool, left: int, count: int, started: set[int]
) -> None:
    """The submitter is one of those of this machine; those of an earlier command count."""

    class Once(Helpers):
        def start(self, numbers: Sequence[int]) -> None:
            super().start(numbers)
            self.ends = [Ended(0, 1, "enough")]

    workers = Once(here=here, left=left)
    try:
        carry_out(tmp_path, claims, workers, count)
    except InputError as error:
        assert str(error) == "a worker gave up: enough"
    assert {*workers.started} == started


def test_killed_workers_are_started_again_but_not_for_ever(tmp_path: Path, claims: Claims) -> None:
    workers = Helpers(*[Ended(1, -9)] * 3, here=False)
    with pytest.raises(InputError, match="a worker gave up: no room"):
        workers.ends.append(Ended(0, 1, "no room"))
        carry_out(tmp_path, claims, workers, 2)
    assert workers.started == [0, 1, 1, 1]
    assert workers.stopped
    workers = Helpers(*[Ended(0, -9)] * 99, here=False)
    with pytest.raises(InputError, match="killed again and again; the same command goes on"):
        carry_out(tmp_path, claims, workers, 1)
    assert len(workers.started) < 10


def test_a_worker_ends_with_the_comparison(
    tmp_path: Path, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes what is wanted and ends; one whose submitter is gone doesn't wait for ever."""
    claims.set_up()
    board, problem = Board(tmp_path, claims), Made("p", tmp_path)
    board.clear()
    wanted = iter([pieces("p", "a", "b"), pieces("p", "b"), None])
    monkeypatch.setattr(board, "wanted", lambda: next(wanted))
    monkeypatch.setattr(module, "end_if_orphan", lambda: None)
    work({"p": problem}, board, claims)  # type: ignore[dict-item]
    assert problem.begun == ["a", "b"]

    board = Board(tmp_path, claims)
    board.publish([])
    monkeypatch.setenv("FAIRSTEP_JOB", "slurm 1")
    claims.lease_seconds = 0.05
    work({"p": problem}, board, claims)  # type: ignore[dict-item]


def test_a_worker_that_is_interrupted_holds_nothing(
    tmp_path: Path, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even what it had claimed at that moment, and had not begun to renew."""
    claims.set_up()
    board = Board(tmp_path, claims)
    board.clear()
    board.publish(pieces("p", "a"))

    def interrupted(names: Sequence[str]) -> None:
        assert names == ["p a"]
        raise KeyboardInterrupt

    monkeypatch.setattr(claims, "kept", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work({"p": Made("p", tmp_path)}, board, claims)  # type: ignore[dict-item]
    other = Claims(claims.url, 6)
    other.me = json.dumps({**json.loads(other.me), "host": "elsewhere"})
    assert other.take(["p a"]) == ["p a"]


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path: Path, claims: Claims) -> None:
    claims.set_up()
    board = Board(tmp_path / "here", claims)
    board.clear()
    board.publish(pieces("p", "a"))
    assert Board(tmp_path / "here", claims).wanted() == pieces("p", "a")
    host = os.uname().nodename
    with pytest.raises(InputError, match=f"host {host} doesn't see the folder.*FAIRSTEP_OUTPUTS"):
        Board(tmp_path / "there", claims).wanted()
    listed = tmp_path / "here" / ".work" / "list.json"
    listed.write_text(json.dumps({**json.loads(listed.read_text()), "token": "another's"}))
    with pytest.raises(InputError, match="doesn't see the folder"):
        Board(tmp_path / "here", claims).wanted()


def test_a_piece_is_told_by_all_that_makes_it(tmp_path: Path, claims: Claims) -> None:
    """Another winner's run is another piece, and all survives the list."""
    several = ((1000, 0.1), (1000, 0.1 + 1e-17), (1000, 0.2), (1001, 0.1))
    runs = [
        Piece("p", job=Job("adam", "tuned", 0, seed, {"optimizer.lr": lr, "n": [1, 2]}))
        for seed, lr in several
    ]
    assert len({piece.name for piece in runs}) == 4, "to the last bit"
    claims.set_up()
    board = Board(tmp_path, claims)
    board.clear()
    board.publish(runs)
    assert board.wanted() == runs
    board.report(runs[2])
    assert board.wanted() == [runs[0], runs[1], runs[3]]
    assert board.error(runs[2]) is None


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command goes on when there is room; neither the search nor the run is to blame."""

    def full(*told: Any) -> Result:
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")

    monkeypatch.setattr("src.comparing.pieces.train", full)
    problem = Problem(made_plan(), tmp_path, Ledger(tmp_path))
    line = "metrics.jsonl: No space left on device; the same command goes on"
    with pytest.raises(InputError, match=line):
        problem.carry_out(Piece("p", job=Job("adam", "tuned", 0, 1000, {})))
