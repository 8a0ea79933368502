"""Whether two runs are the same experiment: what may differ in config and environment."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from src.config import Config, flatten
from src.errors import InputError
from src.results.record import digest

STARTED = ("trial", "resume", "logger")  # how a run was started
SEARCHED = ("sampler", "pruner", "search")  # how its settings were searched
WHERE = ("data.root", "trainer.threads", "trainer.checkpoint_every")  # where it ran, and how fast
# What may be given when a run is resumed; any other change makes it another run.
CHANGEABLE = ("trainer.epochs", "trainer.checkpoint_every", "trainer.stack", "data.root",
              "data.path", "logger")  # fmt: skip
# Provenance that says nothing about the numbers.
PROCESS = {"command", "working_directory", "resumed", "node", "job", "shared", "together", "alone"}
Difference = tuple[str, Any, Any]  # what, recorded, now
ABSENT, ANY = object(), object()


# Settings that came later, at the values that change nothing, which may be any, and what was called
# otherwise: records of before and after name the same experiment.
SINCE: dict[str, dict[str, Any]] = {
    "data": {"drop_last": False, "shuffle": True},
    "trainer": {"clip_norm": None, "accumulate": 1, "stack": ANY},
    "sampler": {"batch": 1},
    "loss": {"class_weights": None, "label_smoothing": 0.0},
}
NAMED = ("digits", "mnist", "fashion_mnist", "kmnist")  # by `data.name`


def canonical(config: Mapping[Any, Any]) -> dict[Any, Any]:
    """A config as versions of before wrote it, if they could have made the run."""
    values = dict(config)
    for group, since in SINCE.items():
        if isinstance(node := values.get(group), Mapping):
            values[group] = {
                key: value
                for key, value in node.items()
                if key not in since or not _changes_nothing(value, since[key])
            }
    if values.get("loss") == {"_target_": "src.losses.CrossEntropy"}:
        del values["loss"]
    data = values.get("data")
    if isinstance(data, Mapping) and (name := _name(data.get("_target_"))):
        others = {key: value for key, value in data.items() if key != "_target_"}
        values["data"] = {"name": name, "root": None, **others}
    return values


def _changes_nothing(value: object, since: object) -> bool:
    return since is ANY or (value == since and type(value) is type(since))


def _name(target: object) -> str | None:
    return next((name for name in NAMED if target == f"src.data.{name}.load"), None)


def config_digest(config: Config) -> str:
    """The digest of a run's settings, however it was taken up."""
    return digest(canonical({**config.model_dump(), "resume": None}))


def settings(config: Mapping[Any, Any], without: Iterable[str]) -> dict[str, Any]:
    """A config, flat, without some of its keys and the keys below them."""
    return _without(flatten(canonical(config)), without)


def _without(values: Mapping[str, Any], without: Iterable[str]) -> dict[str, Any]:
    left_out = tuple(without)
    below = tuple(f"{key}." for key in left_out)
    return {
        key: value
        for key, value in values.items()
        if key not in left_out and not key.startswith(below)
    }


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`KEY was X, is Y` for each setting that differs."""
    return [
        f"{key} was {old.get(key, 'absent')}, is {new.get(key, 'absent')}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]


def check_config(recorded: Config, now: Config) -> None:
    """Refuse settings other than those that a checkpoint was made with.

    Args:
        recorded: the checkpoint's config.
        now: the config of config.yaml and the overrides beside `resume`.

    Raises:
        ValueError: the configs differ in more than may be given beside `resume`.
    """
    if reason := another_length(recorded, now.trainer.epochs):
        raise ValueError(reason)
    old, new = (
        _without(flatten(config.model_dump()), (*CHANGEABLE, *STARTED))
        for config in (recorded, now)
    )
    for key in sorted({*old, *new}):
        _check_setting(key, old.get(key, ABSENT), new.get(key, ABSENT))


def follows_length(optimizer: Mapping[str, Any]) -> bool:
    """Whether a method gets the run's number of steps: its config leaves `total_steps` open."""
    return "total_steps" in optimizer and optimizer["total_steps"] is None


def of_length(optimizer: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """The settings of a method in a run of so many steps."""
    return {**optimizer, **({"total_steps": steps} if follows_length(optimizer) else {})}


def another_length(recorded: Config, epochs: object) -> str | None:
    """Why a run can't be lengthened to `epochs`; None if it can."""
    old = recorded.trainer.epochs
    if type(epochs) is not int or epochs < old:
        return f"trainer.epochs={epochs}: a resumed run can only grow from its {old}"
    scheduler, method = (
        str(settings.get("_target_")).split(".")[-1]
        for settings in (recorded.scheduler, recorded.optimizer)
    )
    depends = [] if scheduler in ("Constant", "Step") else [f"the {scheduler} schedule"]
    depends += [f"the warm-up of {method}"] if follows_length(recorded.optimizer) else []
    if epochs > old and depends:
        return (
            f"trainer.epochs={epochs}: {depends[0]} of this run depends on its length "
            f"({old} epochs), so a longer one is another run"
        )
    return None


def check_group(
    settings: Mapping[str, Any], saved: Mapping[str, Any], group: Mapping[str, Any]
) -> None:
    """Check a checkpoint that holds no config, by the settings of its optimizer.

    Args:
        settings: the optimizer's, of config.yaml.
        saved: a group of its parameters in the checkpoint.
        group: the same as config.yaml builds it.
    """
    old = {**saved, "lr": saved.get("initial_lr", saved.get("lr"))}  # a schedule changes lr
    for key in sorted(settings.keys() & group.keys() & old.keys()):
        _check_setting(f"optimizer.{key}", old[key], group[key])


def _check_setting(key: str, old: object, new: object) -> None:
    if old == new:
        return
    says = f"lacks {key}" if new is ABSENT else f"says {key}={_shown(new)}"
    origin = "without it" if old is ABSENT else f"with {_shown(old)}"
    raise ValueError(f"config.yaml {says}, they were made {origin}")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def threads(recorded: Mapping[str, Any]) -> int | None:
    """The number of threads in a run's provenance, 1 to 1024; None where there is none."""
    had = recorded.get("threads")
    return had if type(had) is int and 1 <= had <= 1024 else None


def check_environment(folder: Path, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warn of each difference that could make a resumed run another one.

    Args:
        folder: of the run.
        recorded: its provenance; empty where the run was killed before it wrote any.
        now: the provenance of this process.

    Raises:
        InputError: the data have changed.
    """
    if not recorded:
        return
    was, are = recorded.get("data_sha256"), now["data_sha256"]
    if was != are:
        raise InputError(f"{folder}: the data have changed: their SHA-256 is {are}, it was {was}")
    changed = [f"{key}: {old} -> {new}" for key, old, new in environment(recorded, now)]
    if changed:
        print(
            f"warning: not as when the run began, so it may end otherwise than it would have: "
            f"{'; '.join(changed)}",
            file=sys.stderr,
        )


def environment(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """The differences in provenance, except for those that every process has."""
    old, new = flatten(recorded), flatten(now)
    for key in sorted({*old, *new} - PROCESS):
        if old.get(key) != new.get(key):
            yield key, old.get(key, "absent"), new.get(key, "absent")
