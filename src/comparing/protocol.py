"""What a comparison promises to do alike for every method."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, ValidationError

from src.config import CONF, PROJECT, Metric, Section, job_config
from src.errors import InputError
from src.results import digest

OWN = ("methods", "protocol")


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
        return flatten({"methods": list(self.methods), "protocol": how, **shared})

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
            if key not in OWN and not key.startswith("protocol.")
        }
        config = self.configs[method]
        own = OmegaConf.masked_copy(config, ["optimizer", "search"])
        alike |= {
            "method": OmegaConf.to_container(own),
            "space": OmegaConf.to_container(config.hydra.sweeper.params),
            "n_trials": self.protocol.n_trials,
            "search": search,
        }
        choices = config.hydra.runtime.choices
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
        mine = override.key_or_group.split(".")[0] in OWN
        (own if mine else rest).append(str(override.input_line))
    with initialize_config_dir(str(CONF)):
        top = compose("compare", overrides=own)
        methods = _methods(OmegaConf.to_container(top.methods))
        protocol = _protocol(OmegaConf.to_container(top.protocol))
        if protocol.reference is not None and protocol.reference not in methods:
            raise InputError(f"protocol.reference={protocol.reference}: must be one of the methods")
        configs = {
            name: compose(
                "config",
                overrides=[f"sweeps={name}", *run_overrides(rest, protocol)],
                return_hydra_config=True,
            )
            for name in methods
        }
    return Plan(methods, protocol, tuple(run_overrides(rest, protocol)), configs)


def run_overrides(rest: Sequence[str], protocol: Protocol) -> list[str]:
    """What every run is told: the last row counts, since it is the last weights that are tested."""
    given = [line for line in rest if line.startswith("objective.row=")]
    return [*rest] if given else [*rest, "objective.row=last"]


def _methods(names: Any) -> tuple[str, ...]:
    known = sorted(path.stem for path in (PROJECT / "sweeps").glob("*.yaml"))
    if not isinstance(names, list) or len(names) < 2 or len(set(names)) != len(names):
        raise InputError(f"methods={names}: must be two different methods or more")
    for name in names:
        if name not in known:
            raise InputError(f"methods: {name}: no such file in sweeps/; there are {known}")
    return tuple(names)


def _protocol(values: Any) -> Protocol:
    try:
        return Protocol.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"protocol.{key}={first['input']}: {first['msg'].lower()}") from error
