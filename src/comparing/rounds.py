"""A comparison from its searches to its last look: what is trained next follows from what is there.

Nothing is remembered beside the runs but how much of the 5% the looks have spent (`looks.json`), so
the same command goes on after a kill, and comes to the same looks.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, TypeVar, cast

from src.comparing import sequential, spent
from src.comparing.conduct import jobs
from src.comparing.grids import Scale, design, values_of
from src.comparing.pieces import Piece, Result
from src.comparing.protocol import Plan
from src.comparing.record import Run, Search
from src.comparing.sequential import Course, Need
from src.config import parse
from src.errors import InputError
from src.training.rehearsal import seconds_of_a_step

T = TypeVar("T")
# Yields the pieces that are wanted, in the order in which they should be made, and is told one that
# was made, with its result.
Steps = Generator[list[Piece], tuple[Piece, Result], T]


class Rounds:
    """What a plan wants to be made, look by look.

    Args:
        plan: of the comparison.
        folder: of the comparison.
        at_look: called at the start, when the searches have ended, and after each look.
        problem: the folder's name within that of a comparison over several problems.
        where: says which hosts make something, after a run has ended.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        at_look: Callable[["Rounds"], None],
        problem: str = "",
        where: Callable[[], str] = lambda: "",
    ) -> None:
        self.plan, self.folder, self.at_look, self.problem = plan, folder, at_look, problem
        self.where = where
        self.searches: list[Search] = []
        self.runs: dict[str, Run] = {}
        self.spent: dict[tuple[int, int], float] = {}
        self.stopped = ""
        self.alone: set[str] = set()  # why runs trained one at a time, as far as it was told

    def steps(self) -> Steps[None]:
        """Search, then train on fresh seeds until a look decides that no more are needed.

        Raises:
            InputError: the looks made here have spent all of the 5%.
        """
        if not spent.take_over(self.folder, self.plan.protocol.first_searches):
            self.at_look(self)  # else what was found stays, until it is sure that this goes on
        first = range(self.plan.protocol.first_searches)
        self.searches = yield from self._search(self.plan.methods, first)
        self._read_spent()
        self.at_look(self)
        while (need := self.need()) and not self.stopped:
            if (need.searches, need.seeds) not in self.spent and self._nothing_left():
                self.stopped = "all of the 5% is spent"
                self.at_look(self)
                break
            yield from self._more_searches(need)
            yield from self._train(need, first=not self.course().looks)
            course = self.course()
            self._spend(course)
            if course.need and self._over_the_limit():
                self.stopped = f"protocol.seconds={self.plan.protocol.seconds:g} had passed"
            self.at_look(self)

    def need(self) -> Need | None:
        return self.course().need

    def course(self) -> Course:
        """The looks that the runs allow so far."""
        runs = [*self.runs.values()]
        scale = Scale.of(self.plan, runs)
        values = values_of(self.plan, runs, scale.worst)
        return sequential.follow(values, design(self.plan, scale, self.spent))

    def awaited(self) -> list[str]:
        """The folders of the runs that the next look waits for."""
        course = self.course()
        if course.need is None or self.stopped:
            return []
        wanted = jobs(self.plan, self.searches, course.need, not course.looks)
        return [job.folder_name for job in wanted]

    def _search(self, methods: Iterable[str], numbers: range) -> Steps[list[Search]]:
        todo = [Piece(self.problem, method, number) for number, method in product(numbers, methods)]
        return cast(list[Search], (yield from made(todo, self._slowest)))

    def _more_searches(self, need: Need) -> Steps[None]:
        for method in need.methods:
            have = sum(search.method == method for search in self.searches)
            if have < need.searches:
                self.searches += yield from self._search([method], range(have, need.searches))

    def _train(self, need: Need, first: bool) -> Steps[None]:
        wanted = jobs(self.plan, self.searches, need, first)
        todo = [job for job in wanted if job.folder_name not in self.runs]

        def tell(piece: Piece, run: Any, count: int) -> None:
            if run.alone and run.alone not in self.alone:
                self.alone.add(run.alone)
                print(f"runs train one at a time: {run.alone}", flush=True)
            metric = self.plan.protocol.metric
            shown = "diverged" if run.value is None else f"{metric} {run.value:.5g}"
            about = f"run {count}/{len(todo)} of the look at {need.seeds} seeds"
            print(f"{about}: {piece.what}: {shown}{self.where()}", flush=True)

        runs = yield from made([Piece(self.problem, job=job) for job in todo], self._slowest, tell)
        for job, run in zip(todo, cast(list[Run], runs), strict=True):
            self.runs[job.folder_name] = run

    def _slowest(self, pieces: list[Piece]) -> list[Piece]:
        """First those of methods whose steps take longest, lest one worker end long after another.

        What is made doesn't depend on it.
        """
        if self.plan.protocol.n_jobs == 1 or len(pieces) < 2:
            return pieces
        seconds = self._seconds
        return sorted(
            pieces, key=lambda piece: -seconds[piece.job.method if piece.job else piece.method]
        )

    @cached_property
    def _seconds(self) -> dict[str, float]:
        """Of a step, by the method; 0 where that can't be told."""
        seconds = dict.fromkeys(self.plan.methods, 0.0)
        for name in seconds:
            with suppress(Exception):  # whatever it is, a run meets it in its own place
                seconds[name] = seconds_of_a_step(parse(self.plan.job(name)))
        return seconds

    def _over_the_limit(self) -> bool:
        """By the seconds that the records tell, so that a kill makes no difference."""
        limit = self.plan.protocol.seconds
        if limit is None:
            return False
        trials = (trial.seconds or 0.0 for search in self.searches for trial in search.trials)
        runs = ((run.train_seconds or 0.0) / run.together for run in self.runs.values())
        return sum(trials) + sum(runs) >= limit

    def _about(self) -> str:
        protocol = self.plan.protocol
        return spent.about(self.searches, protocol.first_searches, protocol.metric)

    def _read_spent(self) -> None:
        """Read what was spent, and refuse looks that are surely to come and have nothing left."""
        self.spent, protocol = spent.shares(self.folder, self._about()), self.plan.protocol
        looks = protocol.numbers_of_seeds
        missing = [seeds for seeds in looks if (protocol.first_searches, seeds) not in self.spent]
        more = len(looks) > len(self.spent) if protocol.more_searches else missing
        if more and self._nothing_left():
            made = ", ".join(str(seeds) for seeds in sorted({seeds for _, seeds in self.spent}))
            raise InputError(
                f"{self.folder}: the looks made here, at {made} seeds, have spent all of the 5%, "
                f"so that further looks at the same runs would call too many false differences; "
                f"other fresh seeds can be looked at: protocol.first_seed="
                f"{self.plan.protocol.first_seed + 1000} protocol.name=ANOTHER"
            )

    def _nothing_left(self) -> bool:
        return sum(self.spent.values()) > 1 - 1e-9

    def _spend(self, course: Course) -> None:
        """Keep what the looks have spent, before anybody is shown what they saw."""
        self.spent |= {(look.searches, look.seeds): look.share for look in course.looks}
        spent.keep(self.folder, self._about(), self.spent)


def made(
    pieces: list[Piece],
    order: Callable[[list[Piece]], list[Piece]] = lambda pieces: pieces,
    tell: Callable[[Piece, Result, int], None] = lambda *_: None,
) -> Steps[list[Result]]:
    """The results of pieces, in their order, in whatever order they are made.

    Args:
        pieces: that are wanted.
        order: in which they should be made.
        tell: called with each piece that was made, its result, and how many there are then.
    """
    results: dict[str, Result] = {}
    ordered = order(pieces)
    while left := [piece for piece in ordered if piece.name not in results]:
        piece, result = yield left
        results[piece.name] = result
        tell(piece, result, len(results))
    return [results[piece.name] for piece in pieces]
