"""A comparison's record: `comparison.json` and `runs.jsonl`, written and read through one model.

Files of earlier versions may lack some fields and hold others. A field that is missing has a
default that says nothing; an unknown field is ignored.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from src.config import first_error
from src.errors import InputError
from src.files import write_whole
from src.metrics import LOSS, Direction, direction_of, is_metric, quantity

FILE, RUNS = "comparison.json", "runs.jsonl"
# Control characters break SVG files, lone surrogates can't be written as UTF-8, and marks of
# direction let a name show another text than it holds.
UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


# What records say that hold no directions.
DIRECTIONS_OF_CLASSES = {LOSS: "minimize", "accuracy": "maximize"}


class Part(BaseModel):
    """Part of the record."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


class Summary(Part):
    """Mean and sample standard deviation over runs; null where there are too few."""

    mean: float | None = None
    std: float | None = None


class Reached(Summary):
    """Summary over the runs that reached the target, and their number."""

    reached: int | None = None


class Open(Part, extra="allow"):
    """Part with an entry for every metric; what else a later version has in it is passed over."""

    entry: ClassVar[tuple[type, ...]]  # what an entry is read from

    @model_validator(mode="before")
    @classmethod
    def _pass_over(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {
            name: value
            for name, value in values.items()
            if name in cls.model_fields or is_metric(name) or isinstance(value, cls.entry)
        }


class Row(Open):
    """A row of the table. It also has a summary of the verdict's metric.

    Args:
        kind: tuned or default.
        n: runs; `diverged` of them did.
        area: mean height of the learning curve.
        steps_to_target: of the optimizer.
        seconds_to_target: of training.
    """

    __pydantic_extra__: dict[str, Summary]
    entry = (dict, Summary)
    method: str
    kind: str
    n: int | None = None
    diverged: int | None = None
    test_loss: Summary = Summary()
    test_accuracy: Summary = Summary()
    area: Summary = Summary()
    steps_to_target: Reached = Reached()
    seconds_to_target: Reached = Reached()

    def of(self, metric: str) -> Summary:
        value: Summary = getattr(self, metric, Summary())
        return value


class Speed(Part):
    """How soon method a of a pair reaches a target, measured in what method b takes.

    Args:
        by: steps or seconds.
        target: to reach.
        ratio: the typical one of a's to b's; a run that missed the target counts with its length.
        low, high: an interval that holds for all looks and pairs together; null where unbounded.
        p_holm: of a signed-rank test in which a miss is slower than any hit, corrected for looks
            and pairs.
        missed: how many runs of a, and of b, missed the target.
        verdict: sooner, later or undecided.
    """

    by: str = "steps"
    target: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p_holm: float | None = None
    missed: tuple[int, int] = (0, 0)
    verdict: str = ""


class Pair(Part):
    """Method a compared with method b.

    Args:
        n: seeds.
        searches: of each method.
        difference: of a - b: the mean where there is one look, else the Hodges-Lehmann estimate.
        low, high: its interval: where there is one look, the 95% bias-corrected bootstrap
            interval of the mean; else one that holds for all looks and pairs together.
        p, test: of the test named; `p_holm` is corrected for all pairs and looks.
        effect: Cohen's d of the paired differences, mean / standard deviation; null without spread.
        detectable: the smallest difference that a t test of n seeds finds in 80% of cases, at the
            level of 5% divided by the number of pairs.
        seeds_to_settle, searches_to_settle: so many seeds, and searches of each method, would
            probably settle it; null where those at hand are enough for that, if the pair is
            decided, or beyond 100,000.
        verdict: better, worse, equivalent or undecided.
        within_margin: whether the difference is surely smaller than the margin.
        speeds: by steps at the target, at one 5% harder and one 5% easier to reach; then by
            seconds, where they may be compared.
    """

    a: str
    b: str
    n: int | None = None
    searches: int | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    test: str = ""
    p_holm: float | None = None
    effect: float | None = None
    detectable: float | None = None
    seeds_to_settle: int | None = None
    searches_to_settle: int | None = None
    verdict: str = ""
    within_margin: bool = False
    speeds: list[Speed] = []

    def speed(self, by: str) -> Speed | None:
        """At the target itself, by steps or seconds."""
        return next((speed for speed in self.speeds if speed.by == by), None)


class Look(Part):
    """A look at the runs: who was still open, and what became of it.

    Args:
        seeds, searches: that each open method had.
        share: of the 5%.
        runs: of tuned methods that were trained until then.
        pairs: that were open before it.
    """

    seeds: int
    searches: int = 1
    share: float = 1.0
    runs: int = 0
    pairs: list[Pair] = []


class Margin(Part):
    """The difference below which methods are the same for all that matters.

    Args:
        text: as the protocol gives it.
        value: in the metric's units; null where no run of the reference has a value.
    """

    text: str = ""
    value: float | None = None


class Interval(Part):
    """A dimension of a search space, by its logarithm or not."""

    low: int | float
    high: int | float
    log: bool = False


class Choices(Part):
    """A dimension of a search space without order."""

    choices: list[Any]


class Trial(Part):
    """A trial of a search.

    Args:
        state: complete, pruned, diverged or failed.
        counted: whether the trial is part of the budget.
        value: of the selection metric; of a pruned trial the last, null where there is none.
        cost: a complete trial's value, with the sign that makes lower better.
        params: the values that it was trained with, by key of the config.
        seconds: of training.
        steps: of the optimizer.
        folder: of its run.
    """

    number: int
    state: str = ""
    counted: bool = True
    value: float | None = None
    cost: float | None = None
    params: dict[str, Any] = {}
    seconds: float | None = None
    steps: int | None = None
    folder: str | None = None


class Search(Part):
    """A search of a method's space.

    Args:
        search: its number, which is its seed.
        study: its name in the database.
        hash: of the study's signature.
        shared_hash: of the part of it that all methods' studies must share.
        space: the search space, by key of the config.
        importance: of each parameter, as a share of the variance.
        margin: trials whose values differ by no more are as good; null where nothing says so.
    """

    method: str
    search: int = 0
    study: str = ""
    hash: str = ""
    shared_hash: str = ""
    space: dict[str, Interval | Choices] = {}
    importance: Mapping[str, float | None] = {}
    margin: float | None = None
    trials: list[Trial] = []

    @property
    def schedule(self) -> list[str]:
        """What was searched of the schedule, by key of the config."""
        return [key for key in self.space if key.split(".")[0] == "scheduler"]


class Run(Open):
    """A run on a fresh seed. It also has every metric measured at its end.

    Args:
        kind: tuned or default.
        search: the number of the search whose winner it is.
        params: the winner's, by key of the config; none of a default.
        value: of the verdict's metric; null if it diverged.
        steps: of the optimizer.
        train_seconds: the clock stands still during evaluations.
        idle: whether other processes left the machine alone meanwhile.
        place: its host, the processor, and whether other workers may have been beside it.
        together: how many runs trained at once; the seconds of each hold the others', if not 1.
        alone: why it trained alone where others train at once.
        commit: of the run's code.
        rows: of its learning curve: step, samples, train_seconds, and what is
            measured on validation data.
        steps_to_target, seconds_to_target: null if it never reached the target.
        area: mean height of the learning curve; null with a gap in it.
    """

    __pydantic_extra__: dict[str, float | None]
    entry = (int, float, type(None))
    method: str
    kind: str = "tuned"
    search: int = 0
    seed: int | None = None
    status: str = ""
    params: dict[str, Any] = {}
    test_loss: float | None = None
    test_accuracy: float | None = None
    value: float | None = None
    steps: int | None = None
    train_seconds: float | None = None
    idle: bool = False
    place: dict[str, str | bool | None] = {}
    together: int = 1
    alone: str = ""
    commit: str = ""
    folder: str = ""
    rows: list[dict[str, int | float | None]] = []
    steps_to_target: int | None = None
    seconds_to_target: float | None = None
    area: float | None = None

    def of(self, metric: str) -> float | None:
        value: float | None = getattr(self, metric, None)
        return value


def runs_of(runs: Sequence[Run], method: str, kind: str) -> list[Run]:
    return [run for run in runs if (run.method, run.kind) == (method, kind)]


class Doubt(Part):
    """A reason to withhold what is said of a method, or the whole verdict.

    Args:
        check: its name.
        method: the method in doubt; null where all are.
        text: the reason in words.
    """

    check: str = ""
    method: str | None = None
    text: str = ""


class Target(Part):
    """The value that a run's learning curve has to reach.

    Args:
        metric: of validation data.
        value: null if all runs of the reference diverged.
        given: whether the protocol named it; else nine of ten runs of the reference end at it or
            below (in earlier records: its median).
    """

    metric: str = "val_loss"
    value: float | None = None
    given: bool = False


class Timing(Part):
    """Whether seconds may be compared, and why."""

    valid: bool = False
    text: str = ""


class Event(Part):
    """A line of the ledger; `time` is local, ISO 8601."""

    time: str = ""
    event: str = ""
    detail: str = ""


class Comparison(Part):
    """The whole record.

    Args:
        created: local time, ISO 8601.
        hash: of the protocol.
        metric: the verdict's; `direction` is minimize or maximize.
        directions: of all that the loss measures, by its name without a set.
        selection_metric: the metric that chooses winners.
        sentence: the verdict, in at most two sentences.
        basis: what it rests on: how much was searched and trained, and what luck is left in it.
        margin: below which a difference doesn't matter.
        looks: made so far; `ended` says why there are no more.
        most_runs: of tuned methods, had no look settled anything.
        missing: what an unfinished comparison hasn't done; nothing, if it is finished.
        awaited: folders of the runs that the next look waits for.
        reference: the method that sets the target.
        protocol: every setting that makes two comparisons the same one, flat.
        environment: provenance.
        methods: best first.
        table: tuned methods, best first, then their defaults.
        runs: on fresh seeds, in the order of training; a separate file holds them.
    """

    name: str
    created: str = ""
    hash: str = ""
    metric: str = "test_loss"
    direction: str = "minimize"
    directions: dict[str, str] = DIRECTIONS_OF_CLASSES
    selection_metric: str = "val_loss"
    sentence: str = ""
    basis: str = ""
    margin: Margin = Margin()
    looks: list[Look] = []
    ended: str = ""
    most_runs: int | None = None
    missing: list[str] = []
    awaited: list[str] = []
    withheld: list[Doubt] = []
    reference: str = ""
    target: Target = Target()
    timing: Timing = Timing()
    protocol: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    ledger: list[Event] = []
    methods: list[str]
    table: list[Row] = []
    pairs: list[Pair] = []
    searches: list[Search] = []
    runs: list[Run] = []

    @property
    def measure(self) -> str:
        """Whose mean the margin is a share of; empty if it is a number."""
        return self.reference if self.margin.text.endswith("%") else ""

    @property
    def by_looks(self) -> bool:
        """Whether looks decided how many seeds there are; else there was one look."""
        shares = [look.share for look in self.looks]
        return self.protocol.get("protocol.seeds") == "auto" or shares not in ([], [1.0])

    def direction_of(self, metric: str) -> Direction:
        """Which way a metric is better."""
        known = {quantity(self.metric): self.direction, **self.directions}
        return direction_of(metric, directions=known)

    def of(self, method: str, kind: str = "tuned") -> list[Run]:
        return runs_of(self.runs, method, kind)

    def schedules(self) -> dict[str, str]:
        """The schedule that each method had, with its settings; of old records, what they say."""
        return {name: text for name in self.methods if (text := self._schedule(name))}

    def _schedule(self, method: str) -> str:
        found: dict[str, Any] = {}
        for prefix in ("scheduler.", f"method.{method}.scheduler."):
            found |= {key.removeprefix(prefix): value for key, value in self.protocol.items()
                      if key.startswith(prefix)}  # fmt: skip
        kind = str(found.pop("_target_", "")).rpartition(".")[2]
        for search in self.searches:
            if search.method == method:
                searched = [key.partition(".")[2] for key in search.schedule]
                found |= {name: "searched" for name in searched if name}
                kind = kind if all(searched) else "searched"
        values = ", ".join(f"{name}={value}" for name, value in found.items())
        return f"{kind} ({values})" if values else kind

    def trials(self, method: str) -> list[Trial]:
        """The trials of all searches of a method."""
        searches = [search for search in self.searches if search.method == method]
        return [trial for search in searches for trial in search.trials]


def write(comparison: Comparison, folder: Path) -> None:
    """Write the record's two files, `comparison.json` last."""
    lines = "".join(json.dumps(run.model_dump()) + "\n" for run in comparison.runs)
    write_whole(folder / RUNS, lines.encode())
    facts = {**comparison.model_dump(), "runs": RUNS}
    write_whole(folder / FILE, json.dumps(facts, indent=1).encode(), flush=True)


def read(folder: Path) -> Comparison:
    """The comparison of a folder.

    Raises:
        InputError: the folder holds no comparison, or a part of it is missing or broken.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{folder}: not a comparison: there is no {FILE} in it")
    facts = _loaded(path, path.read_bytes())
    comparison = _checked(Comparison, {**facts, "runs": []}, f"{path}: not a comparison")
    runs = _runs(folder / Path(str(facts.get("runs", RUNS))).name, comparison.metric)
    return comparison.model_copy(update={"runs": list(runs)})


def _runs(path: Path, metric: str) -> Iterator[Run]:
    if not path.is_file():
        raise InputError(f"{path}: the comparison's runs are missing")
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            run = _loaded(where, line)
            if not isinstance(run.get("method"), str):
                raise InputError(f"{where}: method is missing")
            yield _checked(Run, {metric: run.get("value"), **run}, where)


Model = TypeVar("Model", bound=Part)


def _checked(model: type[Model], loaded: Mapping[str, Any], where: str) -> Model:
    try:
        return model.model_validate(loaded)
    except ValidationError as error:
        raise InputError(f"{where}: {first_error(error)}") from error


def _loaded(where: object, content: bytes) -> dict[str, Any]:
    try:
        loaded = json.loads(content, parse_constant=lambda name: None)  # NaN is no JSON
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{where}: not a JSON object")
    return {clean(key): value if key == "rows" else clean(value) for key, value in loaded.items()}


def clean(value: Any) -> Any:
    """A value without letters that can't be shown, in whatever it holds."""
    if isinstance(value, str):
        return UNSHOWABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return value
