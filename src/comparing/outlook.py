"""What a comparison will do, in words, before it does it."""

from collections.abc import Iterator, Sequence

from src.comparing.protocol import Plan
from src.comparing.record import Search
from src.comparing.words import joined, metric_name
from src.metrics import Direction


def lines(plan: Plan, others: Sequence[Plan] = ()) -> Iterator[str]:
    """The plan, a line for each of its parts.

    Args:
        others: for other problems, where there are several; then none is named.
    """
    protocol, methods = plan.protocol, plan.methods
    end = "lower" if plan.direction is Direction.MINIMIZE else "higher"
    ends = f"ends with the {end} {metric_name(protocol.metric)}"
    if len({each.protocol.metric for each in (plan, *others)}) > 1:
        ends = "ends better, by each problem's own metric"
    yield f"Which of {joined(methods)} {ends}{'' if others else f', on {plan.problem}'}?"
    number = protocol.first_searches
    each = f"{_count(number, 'search', 'searches')} of {_count(protocol.n_trials, 'trial')}"
    each += f", pruned by {plan.pruner}" if plan.pruner else ""
    if (most := protocol.most_searches) > number:
        each += f", and more (up to {most}) while their luck may decide"
    yield f"1. Each method is tuned in {each}: {amount(trials(plan), 'trial')} in all."
    least, most = runs(plan)
    looks = protocol.numbers_of_seeds
    if len(looks) == 1:
        yield (f"2. Each winner and each method's default is trained on {looks[0]} fresh seeds: "
               f"{_count(least, 'run')}.")  # fmt: skip
    else:
        further = joined([str(seeds) for seeds in looks[1:]])
        yield (f"2. Each winner is trained on {looks[0]} fresh seeds, and so is each method's "
               f"default: {_count(least, 'run')}. Winners that can't be told apart go on to "
               f"{further}: {most:,} runs at most.")  # fmt: skip
    reference = protocol.reference or methods[0]
    margin = str(protocol.margin)
    of = f" of {reference}'s mean" if margin.endswith("%") else ""
    yield (f"3. Each pair ends as better, equivalent (surely within {margin}{of}) or undecided; a "
           "false difference between any two in at most 5% of comparisons.")  # fmt: skip


def workers(plan: Plan) -> Iterator[str]:
    """Who makes it, in a line; none where that is this process alone."""
    count, launcher = plan.protocol.n_jobs, plan.launcher
    if launcher is not None:
        yield f"{_count(count, 'worker')} on {launcher.kind} make searches and runs."
    elif count > 1:
        yield f"{count} workers of this machine make searches and runs."


def trials(plan: Plan) -> tuple[int, int]:
    """The least and the most trials of all searches, wider ones aside."""
    first, last = (_until(plan, look)[0] for look in (_first(plan), plan.protocol.last_looks[-1]))
    return first, last


def runs(plan: Plan) -> tuple[int, int]:
    """The least and the most runs on fresh seeds, those of defaults included."""
    most = max(_until(plan, look)[1] for look in plan.protocol.last_looks)
    return _until(plan, _first(plan))[1], most


def _first(plan: Plan) -> tuple[int, int]:
    """The numbers of searches and seeds of the first look."""
    return plan.protocol.first_searches, plan.protocol.numbers_of_seeds[0]


def _until(plan: Plan, look: tuple[int, int]) -> tuple[int, int]:
    """Trials, and runs on fresh seeds, up to a look that all methods come to."""
    (searches, seeds), count = look, len(plan.methods)
    each = _first(plan)[1] + searches * seeds  # of the default, and of the winners
    return count * searches * plan.protocol.n_trials, count * each


def left(plan: Plan, searches: Sequence[Search], done: int) -> str:
    """How long the rest may take, once there are searches; empty where no trial was complete.

    Args:
        done: runs on fresh seeds that were made.
    """
    ended = [trial for search in searches for trial in search.trials]
    seconds = [trial.seconds for trial in ended if trial.state == "complete" and trial.seconds]
    return remaining(plan, seconds, sum(trial.counted for trial in ended), done)


def remaining(plan: Plan, seconds: Sequence[float], ended: int, done: int = 0) -> str:
    """How long the rest may take, as if each trial and run took the mean of these seconds.

    Args:
        seconds: of complete trials; without any, nothing is said.
        ended: trials that count.
        done: runs on fresh seeds that were made.
    """
    if not seconds:
        return ""
    protocol, mean = plan.protocol, sum(seconds) / len(seconds)

    def until(look: tuple[int, int]) -> float:
        trials, runs = _until(plan, look)
        return (max(0, trials - ended) / protocol.n_jobs + max(0, runs - done)) * mean

    least, most = until(_first(plan)), max(map(until, protocol.last_looks))
    if most == least:
        return f"about {duration(most)} left"
    if least == 0:
        return f"at most about {duration(most)} left"
    return f"about {duration(least)} to {duration(most)} left"


def duration(seconds: float) -> str:
    """`40 seconds`, `3 minutes`, `5 hours`."""
    for size, name in ((3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}s"
    return f"{seconds:.0f} seconds"


def amount(bounds: tuple[int, int], name: str, times: int = 1) -> str:
    """`48 runs`, `48 to 960 runs`."""
    least, most = (times * bound for bound in bounds)
    return _count(most, name) if least == most else f"{least:,} to {_count(most, name)}"


def _count(number: int, name: str, several: str = "") -> str:
    return f"{number:,} {name if number == 1 else several or f'{name}s'}"
