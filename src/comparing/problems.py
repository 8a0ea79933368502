"""A comparison over several problems: what is asked for, and what is there of it.

On each problem it is a comparison like any other, in a folder of its own below this one's.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from src.comparing import outlook
from src.comparing.overall import Overall
from src.comparing.overall_verdict import judge, refusal
from src.comparing.place import check
from src.comparing.protocol import COMPARISON_KEYS, Plan, check_folder, plan
from src.comparing.record import FILE as COMPARISON
from src.comparing.record import Comparison, read
from src.comparing.words import metric_name
from src.composing import slug
from src.config import CONF
from src.errors import InputError
from src.files import write_whole
from src.overrides import override, parsed
from src.results import digest

FILE = "problems.json"
KEYS = ("suite", "problems")


@dataclass(frozen=True)
class Several:
    """A comparison over several problems.

    Args:
        named: its own name, or none.
        suite: where the problems' names come from; None if they were listed.
        plans: for each problem.
    """

    named: str | None
    suite: str | None
    plans: dict[str, Plan]

    @property
    def dry_run(self) -> bool:
        return next(iter(self.plans.values())).dry_run

    @property
    def detach(self) -> bool:
        return next(iter(self.plans.values())).detach

    @property
    def methods(self) -> tuple[str, ...]:
        return next(iter(self.plans.values())).methods

    @cached_property
    def name(self) -> str:
        if self.named is not None:
            return self.named
        names = [*self.plans]
        problems = self.suite or f"{len(names)}-problems-{digest(names)[:6]}"
        return slug("-".join([*self.methods, problems]))

    def settings(self) -> dict[str, Any]:
        """What `problems.json` holds; each problem's settings lie in its own folder."""
        return {"methods": [*self.methods], "problems": {name: slug(name) for name in self.plans}}


def several(arguments: Sequence[str]) -> Several | None:
    """Read a command line that asks for several problems; None if it doesn't.

    Raises:
        InputError: as `plan` does, for any of the problems; or the problems can't be compared.
    """
    items = parsed(arguments)
    if not any(_group(item) in KEYS for item in items):
        return None
    own = [item for item in items if _group(item) in (*COMPARISON_KEYS, *KEYS)]
    search_path = [line for line in arguments if line.startswith("hydra.searchpath=")]
    with initialize_config_dir(str(CONF)):
        lines = [str(item.input_line) for item in own]
        asked = OmegaConf.to_container(
            compose("compare", overrides=[*lines, *search_path], return_hydra_config=True)
        )
        assert isinstance(asked, dict)
        names = _names(asked["problems"] or (asked.get("suite") or {}).get("problems"), search_path)
    for item in items:
        if _group(item) == "problem":
            raise InputError(f"{item.input_line}: give problem, or suite or problems, not both")
    others = [str(item.input_line) for item in items
              if _group(item) not in KEYS and item.key_or_group != "protocol.name"]  # fmt: skip
    if (asked.get("protocol") or {}).get("searches", 1) is None:
        # Each problem has searches, and so luck, of its own.
        others.append(override("protocol.searches", 1))
    plans = {name: plan([*others, override("problem", name), override("protocol.name", slug(name))])
             for name in names}  # fmt: skip
    suite = None if "problems" in [_group(item) for item in items] else _choice(asked)
    result = Several(asked["protocol"]["name"], suite, plans)
    check_folder("protocol.name", result.name)
    return result


def _group(item: Override) -> str:
    return str(item.key_or_group).split(".")[0]


def _choice(asked: dict[Any, Any]) -> str | None:
    choice = asked["hydra"]["runtime"]["choices"].get("suite")
    return None if choice is None else str(choice)


def _names(problems: Any, search_path: Sequence[str]) -> list[str]:
    """The problems' names, each of which has a file."""
    listed = isinstance(problems, list) and all(isinstance(name, str) for name in problems)
    if not listed or len({*problems}) < 2 or len({*problems}) < len(problems):
        raise InputError(
            f"problems={problems}: must be a list of two different problems or more; one is "
            "problem=NAME"
        )
    loader = GlobalHydra.instance().config_loader()
    available = loader.get_group_options("problem", config_name="config", overrides=[*search_path])
    for name in problems:
        if name not in available:
            raise InputError(
                f"problems: {name}: no such file in problem/; there are {', '.join(available)}"
            )
    return [*problems]


def lines(several: Several) -> Iterator[str]:
    """What will be made, before anything is."""
    plans = [*several.plans.values()]
    trials = outlook.amount(outlook.trials(plans[0]), "trial", times=len(plans))
    runs = outlook.amount(outlook.runs(plans[0]), "run", times=len(plans))
    yield (
        f"{len(several.methods)} methods on {len(plans)} problems, on each with the same budget: "
        f"{trials} and {runs} on fresh seeds in all."
    )
    metrics = {name: plan.protocol.metric for name, plan in several.plans.items()}
    own = len({*metrics.values()}) > 1
    named = (f"{name} ({metric_name(metric)})" if own else name for name, metric in metrics.items())
    yield f"problems: {', '.join(named)}; on each:"
    yield from outlook.lines(plans[0], plans[1:])
    if reason := refusal(len(several.methods), len(plans)):
        yield f"About other problems nothing will be said: {reason}."


def begin(several: Several, folder: Path) -> None:
    """Make the folder, or find it as it was left.

    Raises:
        InputError: it holds another comparison.
    """
    path = folder / FILE
    mine = json.loads(json.dumps(several.settings()))
    way = "choose another protocol.name"
    if (folder / "protocol.json").exists():
        raise InputError(f"{folder} holds a comparison on one problem; {way}")
    theirs = _asked(folder)["problems"] if path.is_file() else mine["problems"]
    if theirs != mine["problems"]:
        raise InputError(f"{folder} holds a comparison over {', '.join(theirs)}; {way}")
    for name, each in several.plans.items():
        check(folder / slug(name), each.settings())
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(mine, indent=1).encode())


def is_several(folder: Path) -> bool:
    """Whether a folder holds a comparison over several problems."""
    return (folder / FILE).is_file()


def _asked(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    try:
        asked = dict(json.loads(path.read_text(encoding="utf-8")))
        if not all(isinstance(name, str) for name in (*asked["problems"].values(),)):
            raise TypeError("problems: must be names of folders")
    except (OSError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path} can't be read: {error}") from error
    return asked


def judged(folder: Path) -> Overall:
    """The verdict on what is finished in a folder.

    Raises:
        InputError: a file is broken.
    """
    folders = {name: slug(sub) for name, sub in _asked(folder)["problems"].items()}
    finished = dict(_finished(folder, folders))
    return judge(folder.resolve().name, finished, folders, datetime.now())


def _finished(folder: Path, folders: dict[str, str]) -> Iterator[tuple[str, Comparison]]:
    for name, sub in folders.items():
        if (folder / sub / COMPARISON).is_file():
            comparison = read(folder / sub)
            if not comparison.missing:
                yield name, comparison
