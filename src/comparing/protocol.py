"""What a comparison promises to do alike for every method."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, ValidationError

from src.config import CONF, PROJECT, Config, Metric, Section, job_config, parse
from src.errors import InputError
from src.results import digest

OWN = ("methods", "protocol")
# What a comparison sets itself, and where it takes it from.
RESERVED = {
    "n_trials": "protocol.n_trials",
    "n_jobs": "protocol.n_jobs",
    "study": "protocol.name",
    "seed": "protocol.first_seed",
    "sweeps": "methods",
    "hydra.sweeper.n_trials": "protocol.n_trials",
    "hydra.sweeper.n_jobs": "protocol.n_jobs",
    "hydra.sweeper.study_name": "protocol.name",
    **dict.fromkeys(("trial", "resume", "hydra.run.dir", "hydra.sweep.dir"), ""),
}


class Protocol(Section):
    """The settings of `conf/protocol`."""

    name: str | None
    n_trials: Annotated[int, Field(ge=1)]
    searches: Annotated[int, Field(ge=1)]
    seeds: Annotated[int, Field(ge=2)]
    first_seed: Annotated[int, Field(ge=100, lt=2**31)]
    metric: Metric
    reference: str | None
    target: float | None
    n_jobs: Annotated[int, Field(ge=1)]
    max_bad: Annotated[float, Field(gt=0, le=1)]
    widen: Annotated[int, Field(ge=0, le=5)]


@dataclass(frozen=True)
class Plan:
    """A comparison as it was asked for.

    Args:
        methods: names of files in sweeps/.
        overrides: of every run, as given on the command line.
        configs: each method's composed config, `hydra` included.
    """

    methods: tuple[str, ...]
    protocol: Protocol
    overrides: tuple[str, ...]
    configs: dict[str, DictConfig]

    @property
    def name(self) -> str:
        choices = self.configs[self.methods[0]].hydra.runtime.choices
        parts = [*self.methods, str(choices.data), str(choices.model)]
        return self.protocol.name or "-".join(parts).replace("/", "-")

    def settings(self) -> dict[str, Any]:
        """Everything that makes two comparisons the same one, flat."""
        from src.sweeping.study import flatten

        shared = OmegaConf.to_container(self.job(self.methods[0]), resolve=True)
        assert isinstance(shared, dict)
        for own in ("optimizer", "search", "trial", "resume", "logger", "sweeps"):
            shared.pop(own, None)
        shared["data"].pop("root", None)
        how = self.protocol.model_dump(exclude={"name", "n_jobs"})
        theirs = {name: self.own(name) for name in self.methods}
        return flatten({"methods": list(self.methods), "protocol": how, **shared, "method": theirs})

    def own(self, method: str) -> dict[str, Any]:
        """What is a method's own: its settings and its search space."""
        config = self.configs[method]
        own = OmegaConf.masked_copy(config, ["optimizer", "search"])
        settings = OmegaConf.to_container(own, resolve=True)
        assert isinstance(settings, dict)
        return {**settings, "space": OmegaConf.to_container(config.hydra.sweeper.params)}

    def hash(self) -> str:
        return digest(self.settings())

    def job(self, method: str) -> DictConfig:
        """A method's config without Hydra's own."""
        return job_config(self.configs[method])

    def study(self, method: str, search: int) -> str:
        """The name of a search's study: other comparisons that search alike use it too."""
        alike = {
            key: value
            for key, value in self.settings().items()
            if key.split(".")[0] not in (*OWN, "method")
        }
        alike |= {"own": self.own(method), "n_trials": self.protocol.n_trials, "search": search}
        choices = self.configs[method].hydra.runtime.choices
        parts = (method, choices.data, choices.model, digest(alike)[:8])
        return "-".join(str(part) for part in parts).replace("/", "-")


def plan(arguments: Sequence[str]) -> Plan:
    """Read the command line: overrides of the comparison, and those of every run.

    Raises:
        InputError: a setting of the protocol, or a method, is not what it must be.
    """
    parsed = OverridesParser.create().parse_overrides(list(arguments))
    own: list[str] = []
    rest: list[str] = []
    for override in parsed:
        key = override.key_or_group
        if key in RESERVED:
            instead = f"; use {RESERVED[key]}" if RESERVED[key] else ""
            raise InputError(f"{override.input_line}: a comparison sets {key} itself{instead}")
        (own if key.split(".")[0] in OWN else rest).append(str(override.input_line))
    with initialize_config_dir(str(CONF)):
        top = compose("compare", overrides=own)
        methods = _methods(OmegaConf.to_container(top.methods))
        protocol = _protocol(OmegaConf.to_container(top.protocol))
        if protocol.reference is not None and protocol.reference not in methods:
            raise InputError(f"protocol.reference={protocol.reference}: must be one of the methods")
        configs = {
            name: compose(
                "config",
                overrides=[f"sweeps={name}", *run_overrides(rest)],
                return_hydra_config=True,
            )
            for name in methods
        }
    made = Plan(methods, protocol, tuple(run_overrides(rest)), configs)
    given = {override.key_or_group for override in parsed}
    for name in methods:
        _check_selection(parse(made.job(name)))
        if given >= set(made.own(name)["space"]):
            raise InputError(f"{name}: there is nothing left to search; {sorted(given)} are given")
    return made


def _check_selection(config: Config) -> None:
    """Winners are chosen by validation data; the test set is for the end."""
    metric, sets = config.objective.metric, config.trainer.evaluate
    if not metric.startswith("val_"):
        raise InputError(f"objective.metric={metric}: must be val_loss or val_accuracy here")
    direction = "maximize" if metric.endswith("accuracy") else "minimize"
    if config.objective.direction != direction:
        given = config.objective.direction
        raise InputError(f"objective.direction={given}: must be {direction} for {metric}")
    if "val" not in sets or "test" in (*sets, *config.trainer.evaluate_at_end):
        raise InputError(
            f"trainer.evaluate={list(sets)} trainer.evaluate_at_end="
            f"{list(config.trainer.evaluate_at_end)}: must hold val and not test here, because "
            "searches must not see the test set"
        )


def run_overrides(rest: Sequence[str]) -> list[str]:
    """What every run is told: the last row counts, since it is the last weights that are tested."""
    given = [line for line in rest if line.startswith("objective.row=")]
    return [*rest] if given else [*rest, "objective.row=last"]


def _methods(names: Any) -> tuple[str, ...]:
    known = sorted(path.stem for path in (PROJECT / "sweeps").glob("*.yaml"))
    if not isinstance(names, list) or len(names) < 2 or len(set(names)) != len(names):
        raise InputError(f"methods={names}: must be two different methods or more")
    for name in names:
        if name not in known:
            raise InputError(
                f"methods: {name}: no such file in sweeps/; there are {', '.join(known)}"
            )
    return tuple(names)


def _protocol(values: Any) -> Protocol:
    try:
        protocol = Protocol.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"protocol.{key}={first['input']}: {first['msg'].lower()}") from error
    if protocol.name is not None and not re.fullmatch(r"[\w+=-][\w.+=-]*", protocol.name):
        raise InputError(
            f"protocol.name={protocol.name}: must be letters, digits and any of - _ . + =, not "
            "beginning with a dot, because it names a folder"
        )
    return protocol
