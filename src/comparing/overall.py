"""The record of a comparison over several problems: `overall.json`.

It is made of the comparisons on each problem, which lie in folders beside it and say more.
"""

import json
from pathlib import Path

from src.comparing.record import Part
from src.files import write_whole

FILE = "overall.json"


class Place(Part):
    """A tuned method on one problem.

    Args:
        mean, std: of the verdict's metric over fresh seeds.
        rank: 1 is best.
        gap: to the best mean, in standard deviations between seeds.
        unbeaten: whether no method was found better here, be that one in doubt or not, and nothing
            about it is withheld.
        doubt: why its verdicts here are withheld; empty if they aren't.
        steps: median steps to the target; null if half of the runs or more missed it.
        ratio: of the steps to those of the soonest method.
    """

    problem: str
    method: str
    mean: float | None = None
    std: float | None = None
    rank: float
    gap: float
    unbeaten: bool
    doubt: str = ""
    steps: float | None = None
    ratio: float | None = None


class Versus(Part):
    """Method a compared with method b over problems.

    Args:
        wins, losses: problems on which a was found better than b, and worse.
        ties: on which the two were found equivalent, or neither was found better.
        withheld: on which the verdict about them is withheld; the rest leaves these out.
        n: problems of the test.
        advantage: how much better a typically ends, in standard deviations between seeds: Hodges
            and Lehmann's estimate; `low` and `high` are the ends of its 95% interval.
        p: of the exact signed-rank test; `p_holm` is corrected for all pairs.
        improvement: the probability that a run of a ends better than a run of b, averaged over
            problems.
        verdict: better, worse or undecided, for problems like these; refused where there are too
            few of them.
    """

    a: str
    b: str
    wins: int = 0
    ties: int = 0
    losses: int = 0
    withheld: tuple[str, ...] = ()
    n: int = 0
    advantage: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    improvement: float | None = None
    verdict: str = "refused"


class Standing(Part):
    """A method over all problems.

    Args:
        rank: the mean of its ranks.
        unbeaten: problems on which no method was found better.
        reached: problems on which it reached the target.
        scores: AlgoPerf's score by how much harder the target is made, as a share; negative is
            easier.
    """

    method: str
    rank: float
    unbeaten: int
    reached: int
    scores: dict[str, float]


class Problem(Part):
    """A problem, as its comparison says it.

    Args:
        folder: of its comparison, within this folder.
        metric: the verdict's; `direction` is minimize or maximize.
        deviation: between the seeds of a method, pooled over methods.
        seeds: the fewest and the most of a method.
        target: a value of the metric `target_metric`.
        sentence: the verdict there.
    """

    name: str
    folder: str = ""
    metric: str = ""
    direction: str = "minimize"
    deviation: float = 0.0
    seeds: tuple[int, int] = (0, 0)
    target_metric: str = ""
    target: float | None = None
    sentence: str = ""


class Overall(Part):
    """The whole record.

    Args:
        created: local time, ISO 8601.
        sentence: the verdict, in two sentences at most.
        refused: why nothing is said beyond these problems; empty if something is.
        missing: problems whose comparison isn't finished.
        methods: best mean rank first.
        critical: difference of mean ranks, by Nemenyi's test.
    """

    name: str
    created: str = ""
    sentence: str = ""
    refused: str = ""
    missing: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    places: tuple[Place, ...] = ()
    pairs: tuple[Versus, ...] = ()
    standings: tuple[Standing, ...] = ()
    critical: float | None = None

    def place(self, method: str, problem: str) -> Place:
        return next(it for it in self.places if (it.method, it.problem) == (method, problem))


def write(overall: Overall, folder: Path) -> None:
    """Write `overall.json` into a folder."""
    write_whole(folder / FILE, json.dumps(overall.model_dump(), indent=1).encode())
