"""A comparison from its searches to its last look: what is trained next follows from what is there.

Nothing is remembered beside the runs but how much of the 5% the looks have spent (`looks.json`), so
the same command goes on after a kill, and comes to the same looks.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from src.comparing import sequential, spent
from src.comparing.conduct import jobs, train
from src.comparing.grids import Scale, design, values_of
from src.comparing.ledger import Ledger
from src.comparing.protocol import Plan
from src.comparing.record import Run, Search
from src.comparing.searching import Searches
from src.comparing.sequential import Course, Need
from src.errors import InputError


class Rounds:
    """Carries a plan out, look by look.

    Args:
        plan: of the comparison.
        folder: of the comparison.
        ledger: of its events.
        at_look: called at the start, when the searches have ended, and after each look.
    """

    def __init__(
        self, plan: Plan, folder: Path, ledger: Ledger, at_look: Callable[["Rounds"], None]
    ) -> None:
        self.plan, self.folder, self.ledger, self.at_look = plan, folder, ledger, at_look
        self.searches: list[Search] = []
        self.runs: dict[str, Run] = {}
        self.spent: dict[int, float] = {}
        self.stopped = ""

    def run(self) -> None:
        """Search, then train on fresh seeds until a look decides that no more are needed.

        Raises:
            InputError: a search failed, or the looks made here have spent all of the 5%.
        """
        spent.take_over(self.folder)
        searches = Searches(self.plan, self.folder, self.ledger)
        self.at_look(self)
        self.searches = searches.run()
        self.spent = self._read_spent()
        self.at_look(self)
        while (need := self.need()) and not self.stopped:
            self._more_searches(searches, need)
            self._train(need, first=not self.course().looks)
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

    def _more_searches(self, searches: Searches, need: Need) -> None:
        for method in need.methods:
            have = sum(search.method == method for search in self.searches)
            if have < need.searches:
                self.searches += searches.run([method], range(have, need.searches))

    def _train(self, need: Need, first: bool) -> None:
        todo = jobs(self.plan, self.searches, need, first)
        todo = [job for job in todo if job.folder_name not in self.runs]
        for number, job in enumerate(todo, 1):
            run = train(self.plan, job, self.folder, self.ledger)
            self.runs[job.folder_name] = run
            metric = self.plan.protocol.metric
            shown = "diverged" if run.value is None else f"{metric} {run.value:.5g}"
            about = f"run {number}/{len(todo)} of the look at {need.seeds} seeds"
            print(f"{about}: {job.folder_name}: {shown}", flush=True)

    def _over_the_limit(self) -> bool:
        """By the seconds that the records tell, so that a kill makes no difference."""
        limit = self.plan.protocol.seconds
        if limit is None:
            return False
        trials = (trial.seconds or 0.0 for search in self.searches for trial in search.trials)
        runs = (run.train_seconds or 0.0 for run in self.runs.values())
        return sum(trials) + sum(runs) >= limit

    def _about(self) -> str:
        protocol = self.plan.protocol
        return spent.about(self.searches, protocol.first_searches, protocol.metric)

    def _read_spent(self) -> dict[int, float]:
        shares = spent.shares(self.folder, self._about())
        if shares:
            self._check_spent(shares)
        return shares

    def _check_spent(self, spent: Mapping[int, float]) -> None:
        """Refuse further looks where nothing of the 5% is left for them."""
        looks = self.plan.protocol.numbers_of_seeds
        further = [seeds for seeds in looks if seeds not in spent]
        if further and sum(spent.values()) > 1 - 1e-9:
            made = ", ".join(str(seeds) for seeds in sorted(spent))
            raise InputError(
                f"{self.folder}: the looks made here, at {made} seeds, have spent all of the 5%, "
                f"so that further looks at the same runs would call too many false differences; "
                f"other fresh seeds can be looked at: protocol.first_seed="
                f"{self.plan.protocol.first_seed + 1000} protocol.name=ANOTHER"
            )

    def _spend(self, course: Course) -> None:
        """Keep what the looks have spent, before anybody is shown what they saw."""
        self.spent |= {
            look.seeds: look.share for look in course.looks if look.seeds not in self.spent
        }
        spent.keep(self.folder, self._about(), self.spent)
