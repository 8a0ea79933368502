"""Which runs a worker takes at once, what it reports, and what the submitter is told."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.comparing import claims as claiming
from src.comparing import team as module
from src.comparing.claims import Claims
from src.comparing.conduct import Job
from src.comparing.pieces import Board, Piece
from src.comparing.record import Search
from src.comparing.team import Team, Work, end_if_orphan, even, work
from src.errors import InputError
from src.launching.workers import Ended
from src.sweeping.storage import absolute
from tests.comparing.test_team import Helpers


class Runs:
    """A problem whose runs train at once; keeps which were made together."""

    def __init__(self, at_once: int, n_jobs: int = 1, fails: int = -1) -> None:
        self.at_once, self.fails = at_once, fails
        self.plan = SimpleNamespace(protocol=SimpleNamespace(n_jobs=n_jobs))
        self.made = list[list[str]]()

    def claim_of(self, piece: Piece) -> str:
        return f"{piece.problem} {piece.what}"

    def several(self, pieces: list[Piece]) -> Iterator[Any]:
        self.made.append([piece.what for piece in pieces])
        for piece in pieces:
            if piece.job is not None and piece.job.seed == self.fails:
                raise InputError("no room")
            yield f"result of {piece.what}"

    def carry_out(self, piece: Piece) -> Any:
        raise InputError("it can't be read")


def runs(count: int, problem: str = "p", first: int = 0) -> list[Piece]:
    return [Piece(problem, job=Job("a", "tuned", 0, first + seed, {})) for seed in range(count)]


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Claims:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    made = Claims(absolute(f"sqlite:///{tmp_path / 'studies.db'}"), 60)
    made.set_up()
    return made


@pytest.fixture
def board(tmp_path: Path, claims: Claims) -> Board:
    made = Board(tmp_path, claims)
    made.clear()
    return made


def another(claims: Claims) -> Claims:
    """Claims of a process elsewhere that lives."""
    other = Claims(claims.url, 60)
    other.me = json.dumps({**json.loads(other.me), "host": "elsewhere"})
    return other


@pytest.mark.parametrize(
    ("at_once", "n_jobs", "wanted", "made"),
    [
        (1, 1, 5, 1),  # one at a time
        (4, 1, 5, 4),
        (16, 1, 5, 5),
        (16, 2, 5, 3),  # half of them, rounded up: the other worker takes the rest
        (16, 5, 5, 1),
        (16, 9, 5, 1),
        (2, 2, 8, 2),
    ],
)
def test_a_worker_takes_no_more_than_its_share(
    board: Board, claims: Claims, at_once: int, n_jobs: int, wanted: int, made: int
) -> None:
    problem: Any = Runs(at_once, n_jobs)
    here = Work({"p": problem}, board, claims)
    pieces = runs(wanted)
    assert here.next(pieces) == pieces[0]
    assert problem.made == [[piece.what for piece in pieces[:made]]]
    assert board.reported() == {piece.name for piece in pieces[:made]}
    assert here.made == {piece.name: f"result of {piece.what}" for piece in pieces[:made]}
    assert another(claims).take([problem.claim_of(piece) for piece in pieces], 99) == [
        problem.claim_of(piece) for piece in pieces
    ], "nothing is held any more"


def test_runs_of_the_same_method_come_first(board: Board, claims: Claims) -> None:
    """Their optimizers step at once; what is left of the room is for others."""
    problem: Any = Runs(4)
    here = Work({"p": problem}, board, claims)
    seeds = [(seed, method) for seed in range(3) for method in "ba"]
    pieces = [Piece("p", job=Job(method, "tuned", 0, seed, {})) for seed, method in seeds]
    assert here.next(pieces) == pieces[0]
    [made] = problem.made
    assert made[0] == "b-tuned-0-seed-0" and sorted(made) == [
        "a-tuned-0-seed-0", "b-tuned-0-seed-0", "b-tuned-0-seed-1", "b-tuned-0-seed-2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("count", "n_jobs", "size"),
    [
        (10, 2, 10),
        (20, 1, 20),
        (20, 2, 10),
        (30, 2, 15),
        (40, 2, 20),
        (50, 2, 17),
        (80, 2, 20),
        (20, 8, 5),
    ],
)
def test_the_runs_of_a_method_are_taken_in_even_parts(
    board: Board, claims: Claims, count: int, n_jobs: int, size: int
) -> None:
    """So workers end together, and none is left with a few that train one by one."""
    problem: Any = Runs(20, n_jobs)
    seeds = [(seed, method) for seed in range(count) for method in "ab"]
    pieces = [Piece("p", job=Job(method, "tuned", 0, seed, {})) for seed, method in seeds]
    Work({"p": problem}, board, claims).next(pieces)
    [made] = problem.made
    assert made[0] == pieces[0].what and len(made) == size
    assert {name[0] for name in made} == {"a"}


@pytest.mark.parametrize(
    ("count", "most", "size"),
    [(20, 16, 10), (16, 16, 16), (17, 16, 9), (48, 16, 16), (33, 16, 11), (1, 16, 1), (5, 1, 1)],
)
def test_even_parts(count: int, most: int, size: int) -> None:
    assert even(count, most) == size


def test_only_runs_of_the_same_problem_train_beside_a_run(board: Board, claims: Claims) -> None:
    problems: Any = {"p": Runs(16), "q": Runs(16)}
    here = Work(problems, board, claims)
    search = Piece("p", "a", 0)
    pieces = [runs(1)[0], *runs(2, "q"), search, *runs(1, first=7)]
    assert here.next(pieces) == pieces[0]
    assert problems["p"].made == [["a-tuned-0-seed-0", "a-tuned-0-seed-7"]]
    assert here.next([search, *runs(3)]) == search
    assert problems["p"].made[1:] == [["search 0 of a"]] and not problems["q"].made


def test_what_others_hold_is_left_to_them(board: Board, claims: Claims) -> None:
    problem: Any = Runs(16)
    pieces, other = runs(4), another(claims)
    assert other.take([problem.claim_of(pieces[at]) for at in (0, 2)], 2)
    here = Work({"p": problem}, board, claims)
    assert here.next(pieces) == pieces[1]
    assert problem.made == [["a-tuned-0-seed-1", "a-tuned-0-seed-3"]]
    with other.engine.begin() as connection:
        connection.execute(claiming.TABLE.update().values(owner=other.me))
    assert other.take([problem.claim_of(piece) for piece in pieces], 99)
    assert here.next(pieces) is None and len(problem.made) == 1


def test_what_was_reported_meanwhile_is_not_made_again(board: Board, claims: Claims) -> None:
    problem: Any = Runs(16)
    pieces = runs(3)
    board.report(pieces[1])
    here = Work({"p": problem}, board, claims)
    assert here.next(pieces) == pieces[0]
    assert problem.made == [["a-tuned-0-seed-0", "a-tuned-0-seed-2"]]
    assert here.next(pieces) == pieces[0] and len(problem.made) == 1, "all are there"


def test_the_run_that_fails_is_the_one_that_is_reported(board: Board, claims: Claims) -> None:
    """Those before it are there, those after it are wanted still."""
    problem: Any = Runs(16, fails=1)
    pieces = runs(3)
    Work({"p": problem}, board, claims).next(pieces)
    assert board.reported() == {piece.name for piece in pieces[:2]}
    assert (board.error(pieces[0]), board.error(pieces[1])) == (None, "no room")


def test_a_worker_whose_submitter_is_gone_ends(
    board: Board, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once on this machine; as one of a launcher's when nobody has asked for a lease."""
    end_if_orphan()
    monkeypatch.setattr(module, "is_orphan", lambda: True)
    board.publish([])
    with pytest.raises(KeyboardInterrupt):
        work({}, board, claims)
    monkeypatch.setattr(module, "is_orphan", lambda: False)
    now, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(now[0])
        now[0] += 10.0
        if now[0] == 30.0:
            board.folder.joinpath("list.json").touch()  # the submitter still asks
            board.changed = -1

    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.time, "sleep", sleep)
    monkeypatch.setenv("FAIRSTEP_JOB", "slurm 1")
    work({}, board, claims)
    assert now[0] == 100.0, "60 seconds after the last sign, which it saw at 30"
    monkeypatch.delenv("FAIRSTEP_JOB")

    def ends(seconds: float) -> None:
        now[0] += 10.0
        if now[0] > 500:
            board.publish(None)

    monkeypatch.setattr(module.time, "sleep", ends)
    work({}, board, claims)
    assert now[0] > 500, "a worker of this machine waits as long as its submitter lives"


def course(pieces: list[Piece], told: list[Any]) -> Any:
    """Wants pieces until one was made or has failed."""
    try:
        told.append((yield pieces))
    except InputError as error:
        told.append(str(error))
        raise
    return "end"


def test_a_result_that_cannot_be_read_ends_its_course(
    tmp_path: Path, board: Board, claims: Claims
) -> None:
    """As the error that whoever made it has reported does."""
    pieces = runs(1)
    for error, words in ((None, "it can't be read"), ("it broke", "it broke")):
        told, ended = list[Any](), dict[str, Any]()
        helpers = Helpers(here=False)
        problems: Any = {"p": Runs(1)}
        team = Team[Any](problems, board, claims, helpers, 1)
        report = board.report

        def ends(report: Any = report, error: Any = error) -> list[Ended]:
            report(pieces[0], error)
            return []

        helpers.ended = ends  # type: ignore[method-assign]
        team.carry_out({"p": course(pieces, told)}, ended.__setitem__)
        assert told == [words] and str(ended["p"]) == words


def test_workers_that_ended_are_replaced_and_counted_anew_after_each_piece(
    board: Board, claims: Claims
) -> None:
    """Kills in a row give up; what ends without more to do is none, and no piece is forgotten."""
    helpers = Helpers(here=False)
    team = Team[Any]({}, board, claims, helpers, 2)
    team.tend()
    assert helpers.started == [], "nothing has begun"
    team.begun = True
    board.publish([])
    for _ in range(2 * module.MAX_RESTARTS):
        helpers.ends = [Ended(0, -9)]
        team.tend()
    assert team.restarts == 2 * module.MAX_RESTARTS and not team.failed
    helpers.ends = [Ended(1, 0)]
    team.tend()
    assert not team.failed and helpers.started[-1] == 1
    team.courses, team.ended = {"p": course([], [])}, lambda *told: None
    piece = runs(1)[0]
    next(team.courses["p"])
    board.report(piece)
    team.here.made[piece.name] = Search(method="a")
    team._give(piece)
    assert team.restarts == 0
    helpers.ends = [Ended(0, 3)]
    (board.folder / "worker-0.log").write_text("a line\nerror: no room\n")
    team.tend()
    assert team.failed.startswith("a worker gave up: ") and "no room" in team.failed
    before = [*helpers.started]
    helpers.ends = [Ended(1, -9)]
    team.tend()
    assert helpers.started == before and helpers.ends, "nobody is asked any more"


def test_a_team_that_never_began_leaves_nothing(board: Board, claims: Claims) -> None:
    """A course that wants nothing: no list, no table; its workers are stopped all the same."""
    helpers, ended = Helpers(), dict[str, Any]()

    def nothing() -> Any:
        return "at once"
        yield

    team = Team[Any]({}, board, claims, helpers, 2)
    team.carry_out({"p": nothing()}, ended.__setitem__)
    assert ended == {"p": "at once"} and helpers.stopped and not team.begun
    assert not (board.folder / "list.json").exists()


def test_what_was_made_is_given_away(
    board: Board, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker keeps no results, which the submitter reads; at the end no report is left."""
    workers, real = list[Work](), module.Work
    monkeypatch.setattr(module, "Work", lambda *given: workers.append(real(*given)) or workers[-1])
    problem: Any = Runs(1)
    wanted = iter([runs(2), runs(2)[1:], None])
    monkeypatch.setattr(board, "wanted", lambda: next(wanted))
    work({"p": problem}, board, claims)
    assert len(problem.made) == 2 and workers[0].made == {}
    board.clear()
    ended = dict[str, Any]()
    team = Team[Any]({"p": problem}, board, claims, None, 1)
    team.carry_out({"p": course(runs(1), [])}, ended.__setitem__)
    assert ended == {"p": "end"} and board.reported() == set() and team.here.made == {}
