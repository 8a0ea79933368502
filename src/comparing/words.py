"""The verdict in at most two sentences, however many methods there are."""

from collections.abc import Mapping, Sequence

from src.comparing.record import Doubt, Pair, Speed
from src.metrics import Direction

MOST = 4  # names that are listed; of more, one and their number
SETS = {"val": "validation", "test": "test", "train": "training"}


class Told:
    """The verdicts of all pairs, by the names of their methods."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = {frozenset((pair.a, pair.b)): pair for pair in pairs}

    def beats(self, a: str, b: str) -> bool:
        """Whether a is better than b by what matters."""
        pair = self.pairs[frozenset((a, b))]
        return pair.verdict == ("better" if pair.a == a else "worse") and not pair.within_margin

    def alike(self, a: str, b: str) -> bool:
        """Whether a and b differ by less than the margin."""
        pair = self.pairs[frozenset((a, b))]
        return pair.within_margin or pair.verdict == "equivalent"

    def ratio(self, a: str, b: str) -> float | None:
        """The share of b's steps with which a reaches the target, if that is surely less."""
        pair = self.pairs[frozenset((a, b))]
        speed = pair.speed("steps")
        if speed is None or speed.ratio is None or not steady(pair) or _by_misses(speed):
            return None
        if speed.verdict == ("sooner" if pair.a == a else "later"):
            return speed.ratio if pair.a == a else 1 / speed.ratio
        return None


def steady(pair: Pair) -> bool:
    """Whether the verdict on steps is the same at targets that are 5% harder and easier."""
    return len({speed.verdict for speed in pair.speeds if speed.by == "steps"}) == 1


def metric_name(metric: str) -> str:
    part, _, quantity = metric.partition("_")
    return f"{SETS.get(part, part)} {quantity}".replace("_", " ").strip()


def sentence(
    methods: Sequence[str], pairs: Sequence[Pair], metric: str, direction: Direction, margin: str
) -> str:
    """The verdict, in at most two sentences.

    Args:
        methods: best first.
        pairs: of the methods, all of them.
        margin: as the protocol gives it.
    """
    told, name = Told(pairs), metric_name(metric)
    end = "lower" if direction is Direction.MINIMIZE else "higher"
    worse = "higher" if direction is Direction.MINIMIZE else "lower"
    first = [a for a in methods if not any(told.beats(b, a) for b in methods if b != a)]
    rest = [a for a in methods if a not in first]
    text = _first(first, told, f"its {name} ends {end}", name, margin, alone=not rest)
    if not rest:
        return text
    groups = _groups(rest, told)
    verb = f"ends with a {worse}" if len(rest) == 1 else f"end with a {worse}"
    if len(groups) == 1 and len(rest) > 1:
        shared = "both" if len(rest) == 2 else "all"
        return f"{text} {listed(rest)} are equivalent, and {shared} {verb} {name}."
    return f"{text} {listed(rest)} {verb} {name}."


def _first(
    first: Sequence[str], told: Told, ends: str, name: str, margin: str, *, alone: bool
) -> str:
    """The sentence on the methods that none is better than."""
    if len(first) == 1:
        return f"{first[0]} is best: {ends} than that of every other method{_but(first[0], told)}."
    alike = all(told.alike(a, b) for i, a in enumerate(first) for b in first[i + 1 :])
    within = f"within {margin}" if margin.endswith("%") else f"within {margin} of each other"
    if alike:
        for a in first:
            ratios = [told.ratio(a, b) for b in first if b != a]
            if all(ratio is not None for ratio in ratios):
                most = max(ratio for ratio in ratios if ratio is not None)
                others = listed([b for b in first if b != a])
                much = "in" if len(ratios) == 1 else "in at most"
                return (f"{a} is best: its {name} ends as good as that of {others} ({within}), "
                        f"{much} {most:.2f} times the steps to the target.")  # fmt: skip
        lead = "are equivalent" if alone else "are best and equivalent"
        return f"{listed(first)} {lead}: their {name} ends the same ({within})."
    if alone and len(first) == len(told_methods(told)):
        return f"No method is surely better than another in {name}: these runs don't tell."
    return f"One of {listed(first)} is best in {name}, but these runs don't tell which."


def _but(best: str, told: Told) -> str:
    """Which other method reaches the target sooner than the best one; the soonest of them."""
    others = {name: told.ratio(name, best) for name in sorted(told_methods(told) - {best})}
    sooner = {name: ratio for name, ratio in others.items() if ratio is not None}
    if not sooner:
        return ""
    name = min(sooner, key=sooner.__getitem__)
    return f", but {name} reaches the target in {sooner[name]:.2f} times its steps"


def told_methods(told: Told) -> set[str]:
    return {name for pair in told.pairs for name in pair}


def _groups(names: Sequence[str], told: Told) -> list[list[str]]:
    """Methods in their order, in groups of those that are all alike."""
    groups: list[list[str]] = []
    for name in names:
        if groups and all(told.alike(name, other) for other in groups[-1]):
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def listed(names: Sequence[str]) -> str:
    """The names; of more than four, the first and how many others."""
    return f"{names[0]} and {len(names) - 1} others" if len(names) > MOST else joined(names)


def joined(names: Sequence[str]) -> str:
    """The names, however many."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def against(doubts: Sequence[Doubt], *methods: str) -> list[Doubt]:
    """Those that stand against what is said of these methods."""
    return [doubt for doubt in doubts if doubt.method in (None, *methods)]


def is_held(pair: Pair, doubts: Sequence[Doubt], reference: str = "") -> bool:
    """Whether the verdict of a pair is withheld: it, or the margin it rests on, is in doubt.

    Args:
        reference: whose mean the margin is a share of; empty if it is a number.
    """
    rests_on_margin = pair.within_margin or pair.verdict == "equivalent"
    methods = (pair.a, pair.b, *([reference] if rests_on_margin else []))
    return bool(against(doubts, *methods))


def headline(
    methods: Sequence[str],
    pairs: Sequence[Pair],
    metric: str,
    direction: Direction,
    margin: str,
    doubts: Sequence[Doubt] = (),
    reference: str = "",
) -> str:
    """What `sentence` gives; with doubts its first half, of the methods that none stands against.

    With fewer than two such methods it says what the verdict would be.

    Args:
        reference: as of `is_held`.
    """
    doubts = against(doubts, *methods)
    if not doubts:
        return sentence(methods, pairs, metric, direction, margin)
    # One that stands against all decides, whatever else there is.
    ordered = sorted(doubts, key=lambda doubt: doubt.method is not None)
    reasons = list(dict.fromkeys(doubt.text for doubt in ordered))
    reason = reasons[0] + (f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else "")
    sound = [name for name in methods if not against(doubts, name)]
    if len(sound) < 2:
        text = _one(sentence(methods, pairs, metric, direction, margin), methods)
        without = "these doubts" if len(reasons) > 1 else "that doubt"
        return f"Withheld: {reason}. Without {without}: {text}."
    of_sound = [
        pair if not is_held(pair, doubts, reference) else _without_margin(pair)
        for pair in pairs
        if not against(doubts, pair.a, pair.b)
    ]
    text = _one(sentence(sound, of_sound, metric, direction, margin), sound)
    aside = [name for name in methods if name not in sound]
    few = len(sound) <= min(MOST, len(aside))
    about = f"Of {joined(sound)}" if few else f"Leaving {listed(aside)} aside"
    return f"{about}, {text}. Withheld: {reason}."


def _without_margin(pair: Pair) -> Pair:
    """What the test alone says of a pair."""
    verdict = "undecided" if pair.verdict == "equivalent" else pair.verdict
    return pair.model_copy(update={"verdict": verdict, "within_margin": False})


def _one(text: str, names: Sequence[str]) -> str:
    """The first sentence, without its full stop, as it stands within another."""
    first = text.partition(". ")[0].rstrip(".")
    return first if first.startswith(tuple(names)) else first[0].lower() + first[1:]


def verdict(pair: Pair, doubts: Sequence[Doubt] = (), reference: str = "") -> str:
    """The verdict of a pair, for tables; `reference` as of `is_held`."""
    text = pair.verdict
    if pair.within_margin and pair.verdict in ("better", "worse"):
        text = f"{pair.verdict} by less than the margin"
    return f"withheld ({text})" if is_held(pair, doubts, reference) else text


def speed(pair: Pair, by: str) -> str:
    """How soon a reaches the target, for tables: the ratio, its interval, and how sure it is."""
    found = pair.speed(by)
    if found is None or found.ratio is None:
        return "–"
    if _by_misses(found):
        return f"{found.verdict}: {found.missed[0]} runs miss it, of the other {found.missed[1]}"
    text = f"{_times(found)} ({_bound(found.low, '0')} to {_bound(found.high, '∞')})"
    off = ", but not at targets 5% off" if by == "steps" and not steady(pair) else ""
    return f"{found.verdict}{off}: {text}"


def _by_misses(found: Speed) -> bool:
    """Whether it is the runs that miss the target that decide, against those that reach it."""
    ratio = found.ratio or 1.0
    return (found.verdict == "sooner" and ratio >= 1) or (found.verdict == "later" and ratio <= 1)


def _times(found: Speed) -> str:
    """The ratio; a run that missed the target makes it a bound."""
    ratio = "–" if found.ratio is None else f"{found.ratio:.2f}×"
    a, b = (bool(count) for count in found.missed)
    if a == b:
        return ratio
    return f"≥ {ratio}" if a else f"≤ {ratio}"


def _bound(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:.2f}"


def basis(
    facts: Mapping[str, object], seeds: Sequence[int], searches: Sequence[int], trials: str
) -> str:
    """What a verdict rests on, and which luck is in it.

    Args:
        facts: the `problem`, `better` and how it `ended`.
        seeds: of each method.
        searches: of each method.
        trials: of each search.
    """
    searched = "one search" if max(searches) == 1 else f"{_range(searches)} searches"
    return (
        f"On {facts['problem']}; {facts['better']}. Each method was tuned in {searched} of "
        f"{trials} and trained on {_range(seeds)} fresh seeds{facts['ended']}. "
        f"{luck(max(searches))}"
    )


def luck(searches: int) -> str:
    """Which luck is in a verdict after so many searches of each method."""
    if searches == 1:
        return (
            "The luck of a search is not in it: another search may find another winner, and so "
            "decide otherwise (protocol.searches=auto makes several)."
        )
    return "The luck of seeds and of searches is in it."


def _range(numbers: Sequence[int]) -> str:
    """Their least and most; one number if these are the same."""
    least, most = min(numbers), max(numbers)
    return f"{most}" if least == most else f"{least} to {most}"
