"""Who carries a comparison out: this process, and workers that its launcher starts.

A worker is the same command with WORKER in its environment. It takes pieces that are wanted and
that nobody holds, and it decides nothing: the submitter makes the looks. Where the launcher is the
default, the submitter is the first of the workers.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from src.comparing.claims import Claims
from src.comparing.pieces import Board, Piece, Problem, Result
from src.comparing.rounds import Steps
from src.errors import InputError
from src.launching.workers import Workers, is_orphan, log_of, undisturbed
from src.results.place import JOB
from src.sweeping.progress import on_hosts
from src.sweeping.workers import MAX_RESTARTS, POLL_SECONDS, last_words
from src.training.stacking import LEAST

TELL_SECONDS = 5.0  # from one word about hosts to the next
FEW = 10  # runs, as many as the seeds of a first look; fewer gain less by training at once
SHORT = POLL_SECONDS / 16  # the first pause of several, of which each is twice the one before

T = TypeVar("T")
Problems = Mapping[str, Problem]


class Work:
    """What this process does itself, as any worker does.

    Args:
        problems: by their folders.
        board: of the comparison.
        claims: of this process.
    """

    def __init__(self, problems: Problems, board: Board, claims: Claims) -> None:
        self.problems, self.board, self.claims = problems, board, claims
        self.names: dict[str, str] = {}
        self.made: dict[str, Result] = {}  # by the pieces' names, until somebody takes it

    def next(self, pieces: list[Piece]) -> Piece | None:
        """Make the first of these pieces that nobody holds, and return it; None if there is none.

        Runs that train at once with it are made and reported, too.
        """
        by_claim = {self.claim_of(piece): piece for piece in reversed(pieces)}
        taken = self.claims.take([*reversed(by_claim)])
        if not taken:
            return None
        piece = by_claim[taken[0]]
        taken += self._beside(piece, pieces)
        with self.claims.kept(taken):
            self._make([by_claim[name] for name in taken])
        return piece

    def _beside(self, piece: Piece, pieces: list[Piece]) -> list[str]:
        """Claim runs that can train at once with this one, but no more than its worker's share.

        They are of its method, whose optimizers step at once, too; in parts of one size, so that
        workers end together, and of few sizes, since what a stack does is found out for each.
        """
        if (job := piece.job) is None:
            return []
        problem = self.problems[piece.problem]
        alike = [each for each in pieces if each.job and each.problem == piece.problem]
        own = [each for each in alike if each.job and each.job.method == job.method]
        jobs = problem.plan.protocol.n_jobs
        most = min(problem.at_once, -(-len(alike) // jobs))
        count = even(len(own), min(most, max(FEW, -(-len(own) // jobs))))
        if count < LEAST:  # too few for a stack, unless others of the problem are with them
            own, count = own + [each for each in alike if each not in own], most
        names = [self.claim_of(each) for each in own if each != piece]
        return self.claims.take(names, count - 1) if count > 1 and names else []

    def _make(self, pieces: list[Piece]) -> None:
        """Make pieces, and report each."""
        left = [piece for piece in pieces if not self.board.is_reported(piece)]
        if not left:
            return
        try:
            for result in self.problems[left[0].problem].several([*left]):
                piece = left.pop(0)
                self.made[piece.name] = result
                self.board.report(piece)
        except InputError as error:
            self.board.report(left[0], str(error))

    def claim_of(self, piece: Piece) -> str:
        """What who makes a piece must hold."""
        if piece.name not in self.names:
            self.names[piece.name] = self.problems[piece.problem].claim_of(piece)
        return self.names[piece.name]


def even(count: int, most: int) -> int:
    """The size of the parts, of `most` at most, into which a number of runs is divided evenly."""
    return -(-count // -(-count // most))


def work(problems: Problems, board: Board, claims: Claims) -> None:
    """Make pieces until the comparison has ended, or until nobody asks for more.

    Raises:
        InputError: this host doesn't see the comparison's folder, or the database stays away.
        KeyboardInterrupt: the submitter of a worker of this machine is gone.
    """
    try:
        _work(Work(problems, board, claims))
    finally:
        with undisturbed():
            claims.release()  # it may have been interrupted just when it had taken one


def _work(here: Work) -> None:
    board, asked, pause = here.board, time.monotonic(), SHORT
    while (pieces := board.wanted()) is not None:
        end_if_orphan()
        if here.next(pieces):
            here.made.clear()  # the submitter reads it
            pause = SHORT
            continue
        if board.has_changed():
            asked = time.monotonic()
        if JOB in os.environ and time.monotonic() - asked > here.claims.lease_seconds:
            return  # its submitter is gone, and starts others when it comes back
        time.sleep(pause)
        pause = min(2 * pause, POLL_SECONDS)


def end_if_orphan() -> None:
    if is_orphan():
        raise KeyboardInterrupt


class Team(Generic[T]):
    """The submitter: it lets the steps of comparisons be made, and keeps workers at it.

    Args:
        problems: by their folders; `meanwhile` of each is `tend`.
        board: of the comparison.
        claims: of this process.
        workers: that help.
        count: of all workers, this process included where it is one.
    """

    def __init__(
        self, problems: Problems, board: Board, claims: Claims, workers: Workers | None, count: int
    ) -> None:
        self.board, self.claims, self.workers, self.count = board, claims, workers, count
        self.here = Work(problems, board, claims)
        self.works = workers is None or workers.here
        self.wanted: dict[str, list[Piece]] = {}
        self.numbers: set[int] = set()  # of the workers under way
        self.listed: set[str] | None = None  # the names on the board
        self.begun, self.pause = False, POLL_SECONDS
        self.restarts, self.failed = 0, ""
        self.told = -TELL_SECONDS

    def carry_out(
        self, courses: Mapping[str, Steps[T]], ended: Callable[[str, T | InputError], None]
    ) -> None:
        """Follow each course to its end; the next begins when there are hands for it.

        Args:
            courses: by the folders of the problems.
            ended: called with what a course returned, or with the error that ended it.

        Raises:
            InputError: a worker gave up.
            KeyboardInterrupt: every worker has ended before.
        """
        waiting = dict(courses)
        self.courses, self.ended = courses, ended
        try:
            while waiting or self.wanted:
                if waiting and len(self._pieces()) < self.count:
                    name = next(iter(waiting))
                    self._advance(name, waiting.pop(name).__next__)
                else:
                    self._look_around()
        finally:
            try:
                if self.begun:
                    self.board.publish(None)
            finally:
                if self.workers is not None:
                    self.workers.stop()
            if self.begun:
                self.claims.release()  # it may have been interrupted just when it had taken one
                self.board.clear()

    def _advance(self, name: str, step: Callable[[], list[Piece]]) -> None:
        """Take a course to what it wants next."""
        try:
            self.wanted[name] = step()
        except (StopIteration, InputError) as end:
            self.wanted.pop(name, None)
            self.ended(name, end.value if isinstance(end, StopIteration) else end)
        if self.wanted:
            self._publish()

    def _publish(self) -> None:
        if not self.begun:
            self.claims.set_up()
            self.board.clear()
            self.begun = True
            if self.workers is not None:  # those of an earlier command
                self.numbers = {*range(self.workers.left_over())}
        names = {piece.name for piece in self._pieces()}
        # What workers see as long as nothing is published is what was listed and isn't reported.
        if self.listed is None or not self.listed - self.board.reported() <= names <= self.listed:
            self.board.publish(self._pieces())
            self.listed = names

    def _pieces(self) -> list[Piece]:
        return [piece for pieces in self.wanted.values() for piece in pieces]

    def where(self) -> str:
        """How many workers make something on each host; empty where this process starts them.

        The database is asked every few seconds; in between it says nothing.
        """
        if self.workers is None or self.workers.here or time.monotonic() < self.told + TELL_SECONDS:
            return ""
        self.told = time.monotonic()
        return on_hosts(self.claims.hosts([self.here.claim_of(each) for each in self._pieces()]))

    def _look_around(self) -> None:
        """Read what others have made; else make a piece, or wait."""
        self.tend()
        if self.failed:
            raise InputError(self.failed)
        reported, pieces = self.board.reported(), self._pieces()
        there = next((piece for piece in pieces if piece.name in reported), None)
        if there is None and self.works:
            there = self.here.next(pieces)
        if there is None:
            time.sleep(self.pause)
            self.pause = min(2 * self.pause, POLL_SECONDS)
        else:
            self.pause = SHORT if self.works else POLL_SECONDS  # a queue is asked each time
            self._give(there)

    def _give(self, piece: Piece) -> None:
        """Tell a course that one of its pieces was made."""
        self.restarts, course = 0, self.courses[piece.problem]
        error, result = self.board.error(piece), self.here.made.pop(piece.name, None)
        try:
            if error is None and result is None:
                result = self.here.problems[piece.problem].carry_out(piece)  # reads it
        except InputError as wrong:
            error = str(wrong)
        if error is not None or result is None:
            self._advance(piece.problem, lambda: course.throw(InputError(error)))
        else:
            made = piece, result
            self._advance(piece.problem, lambda: course.send(made))

    def tend(self) -> None:
        """Start the workers that are wanted and not there; called again and again."""
        if self.workers is None or self.failed or not self.begun:
            return
        for worker in self.workers.ended():
            self.numbers.discard(worker.number)
            if worker.status > 0:
                words = worker.words or last_words(log_of(self.board.folder, worker.number))
                self.failed = f"a worker gave up: {words}"
                return
            self.restarts += worker.status < 0
        if self.restarts > MAX_RESTARTS * self.count:
            self.failed = "workers are killed again and again; the same command goes on"
            return
        self.board.beat()
        missing = [number for number in self._numbers() if number not in self.numbers]
        if missing:
            self.workers.start(missing)
            self.numbers |= {*missing}

    def _numbers(self) -> range:
        """Of the workers that are wanted."""
        if self.works:  # number 0 is this process
            return range(1, min(self.count, len(self._pieces())))
        return range(self.count)
