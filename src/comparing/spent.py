"""How much of the 5% the looks of a comparison have spent, as its folder tells it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.comparing import checks
from src.comparing.record import Comparison, Search, read
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


def shares(folder: Path, about_now: str) -> dict[int, float]:
    """The shares of looks that were made at these runs, by numbers of seeds."""
    kept = _kept(folder) or {}
    if kept.get("about") != about_now:
        return {}
    return {int(seeds): float(share) for seeds, share in kept["shares"].items()}


def keep(folder: Path, about_now: str, spent: Mapping[int, float]) -> None:
    """Keep what looks have spent."""
    ordered = {str(seeds): share for seeds, share in sorted(spent.items())}
    write_whole(folder / FILE, json.dumps({"about": about_now, "shares": ordered}).encode())


def take_over(folder: Path) -> None:
    """Keep what the looks have spent that the record tells, where the file is missing or broken.

    So it is in a comparison of before looks were kept. Whoever goes on with one does this first,
    because the record is then written anew.
    """
    if _kept(folder) is not None:
        return
    try:
        comparison = read(folder)
    except InputError:  # there is none: nobody was shown a look
        return
    looks, searches = comparison.looks, comparison.searches
    made = {look.seeds: look.share for look in reversed(looks)} or _only_look(comparison)
    first = looks[0].searches if looks else 1 + max((it.search for it in searches), default=0)
    if made:
        keep(folder, about(searches, first, comparison.metric), made)


def _kept(folder: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):
        return None


def _only_look(comparison: Comparison) -> dict[int, float]:
    """Of a record without looks: its pairs were judged once, with the whole of the 5%."""
    seeds = [pair.n for pair in comparison.pairs if pair.n]
    return {max(seeds): 1.0} if seeds else {}
