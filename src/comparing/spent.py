"""How much of the 5% the looks of a comparison have spent, as its folder tells it."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from src.comparing import checks
from src.comparing.record import Comparison, Search, read
from src.comparing.sequential import Spent
from src.errors import InputError
from src.files import write_whole
from src.results import digest

FILE = "looks.json"


def about(searches: Sequence[Search], first_searches: int, metric: str) -> str:
    """What looks are at: other methods, winners or metrics have other values.

    Args:
        first_searches: of each method at the first look.
    """
    winners = [
        [search.method, search.search, best.params if best else None]
        for search in searches
        if search.search < first_searches
        for best in [checks.best(search.trials)]
    ]
    return digest({"winners": winners, "metric": metric})


def shares(folder: Path, about_now: str) -> dict[tuple[int, int], float]:
    """The shares of looks that were made at these runs, by their numbers of searches and seeds."""
    return _kept(folder).get(about_now, {})


def keep(folder: Path, about_now: str, spent: Spent) -> None:
    """Keep what looks have spent, beside what others have that were about something else."""
    every = {**_kept(folder), about_now: {**spent}}
    lines = {
        name: [
            {"searches": searches, "seeds": seeds, "share": share}
            for (searches, seeds), share in sorted(of_one.items())
        ]
        for name, of_one in every.items()
    }
    write_whole(folder / FILE, json.dumps(lines).encode())


def take_over(folder: Path, searches: int) -> bool:
    """Keep what the looks have spent that the record tells, where the file is missing or broken.

    So it is in a comparison of before looks were kept, or were kept by their seeds alone. Whoever
    goes on with one does this first, because the record is then written anew.

    Args:
        searches: of each method at the first look, if nothing tells it.

    Returns:
        Whether anybody was shown a look.
    """
    if _kept(folder):
        return True
    by_seeds = _by_seeds(folder)
    for name, of_one in by_seeds.items():
        keep(folder, name, {(searches, seeds): share for seeds, share in of_one.items()})
    with suppress(InputError):  # there is none: nobody was shown a look
        comparison = read(folder)
        looks, made = comparison.looks, comparison.searches
        first = looks[0].searches if looks else 1 + max((it.search for it in made), default=0)
        of_record = {(look.searches, look.seeds): look.share for look in looks}
        of_record = of_record or ({} if by_seeds else _only_look(comparison, first))
        name = about(made, first, comparison.metric)
        if of_record:
            told = {seeds for _, seeds in of_record}
            before = shares(folder, name).items()
            more = {place: share for place, share in before if place[1] not in told}
            keep(folder, name, {**more, **of_record})
    return bool(_kept(folder))


def _by_seeds(folder: Path) -> dict[str, dict[int, float]]:
    """What a file holds that was written when looks were told by their seeds alone."""
    try:
        kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {kept["about"]: {int(seeds): float(it) for seeds, it in kept["shares"].items()}}
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        return {}


def _kept(folder: Path) -> dict[str, dict[tuple[int, int], float]]:
    """What the file holds, by what the looks were at; nothing if it is missing or broken."""
    try:
        return {
            name: {(each["searches"], each["seeds"]): float(each["share"]) for each in lines}
            for name, lines in json.loads((folder / FILE).read_text(encoding="utf-8")).items()
        }
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        return {}


def _only_look(comparison: Comparison, searches: int) -> dict[tuple[int, int], float]:
    """Of a record without looks: its pairs were judged once, with the whole of the 5%."""
    seeds = [pair.n for pair in comparison.pairs if pair.n]
    return {(searches, max(seeds)): 1.0} if seeds else {}
