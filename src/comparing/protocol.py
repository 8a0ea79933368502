"""What a comparison promises to do alike for every method."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, ValidationError

from src.comparing import refused
from src.composing import check_choices, slug
from src.config import CONF, Section, first_error, flatten, job_config, parse
from src.errors import InputError
from src.metrics import Metric
from src.overrides import override
from src.results import digest
from src.results.identity import STARTED, settings

OWN = ("methods", "protocol")
NAME_BYTES = 255  # of a folder's name, on common file systems


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


class Asked(Section):
    """What `conf/compare.yaml` holds."""

    methods: list[str]
    protocol: Protocol


@dataclass(frozen=True)
class Plan:
    """A comparison as it was asked for.

    Args:
        methods: names of files in sweeps/.
        overrides: of every run, as given on the command line.
        configs: each method's composed config, `hydra` included.
        spaces: what each method's search searches.
    """

    methods: tuple[str, ...]
    protocol: Protocol
    overrides: tuple[str, ...]
    configs: dict[str, DictConfig]
    spaces: dict[str, refused.Space]

    @property
    def name(self) -> str:
        choices = self.configs[self.methods[0]].hydra.runtime.choices
        parts = [*self.methods, str(choices.data), str(choices.model)]
        given = self.protocol.name
        return slug("-".join(parts)) if given is None else given

    def settings(self) -> dict[str, Any]:
        """Everything that makes two comparisons the same one, flat."""
        shared = OmegaConf.to_container(self.job(self.methods[0]), resolve=True)
        assert isinstance(shared, dict)
        alike = settings(shared, (*STARTED, "optimizer", "search", "sweeps", "data.root"))
        how = self.protocol.model_dump(exclude={"name", "n_jobs"})
        theirs = {name: self.own(name) for name in self.methods}
        return flatten({"methods": list(self.methods), "protocol": how, "method": theirs}) | alike

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
        return slug("-".join(str(part) for part in parts))


def plan(arguments: Sequence[str]) -> Plan:
    """Read the command line: overrides of the comparison, and those of every run.

    Raises:
        InputError: a setting of the protocol, a search or a method is not what it must be, or
            is none that a comparison takes.
    """
    parsed = OverridesParser.create().parse_overrides(list(arguments))
    own: list[str] = []
    # The last row counts unless somebody says otherwise: it is the last weights that are tested.
    rest = ["objective.row=last"]
    for each in parsed:
        refused.check_override(each)
        mine = each.key_or_group.split(".")[0] in OWN
        (own if mine else rest).append(str(each.input_line))
    found_in = tuple(line for line in rest if line.startswith("hydra.searchpath="))
    with initialize_config_dir(str(CONF)):
        asked = _asked(compose("compare", overrides=own))
        _check_methods(asked.methods, found_in)
        configs = {name: _compose(name, rest) for name in asked.methods}
        targets = {name: _target(name, found_in) for name in asked.methods}
    for name, config in configs.items():
        refused.check_choices(config)
        check_choices(config)
        refused.check_selection(parse(job_config(config)))
        refused.check_method(name, config, targets[name])
    given = [one for one in parsed if one.key_or_group.split(".")[0] not in (*OWN, "hydra")]
    spaces = refused.check_searches(asked.protocol.n_trials, configs, given)
    made = Plan(tuple(asked.methods), asked.protocol, tuple(rest), configs, spaces)
    _check_name(made)
    return made


def _compose(method: str, overrides: Sequence[str]) -> DictConfig:
    given = [override("sweeps", method), *overrides]
    return compose("config", overrides=given, return_hydra_config=True)


@cache  # composing costs more than all checks together
def _target(method: str, found_in: tuple[str, ...]) -> str:
    """The class that a file of sweeps/ searches."""
    return str(_compose(method, found_in).optimizer._target_)


def _asked(top: DictConfig) -> Asked:
    """The comparison's own settings, checked."""
    try:
        asked = Asked.model_validate(OmegaConf.to_container(top, resolve=True))
    except ValidationError as error:
        raise InputError(first_error(error)) from error
    methods, protocol = asked.methods, asked.protocol
    if len(methods) < 2 or len({slug(name) for name in methods}) != len(methods):
        raise InputError(f"methods={methods}: must be two different methods or more")
    if protocol.reference is not None and protocol.reference not in methods:
        raise InputError(f"protocol.reference={protocol.reference}: must be one of the methods")
    if protocol.first_seed < protocol.searches:
        raise InputError(
            f"protocol.first_seed={protocol.first_seed}: must be {protocol.searches} or more, for "
            f"protocol.searches={protocol.searches} take the seeds below"
        )
    return asked


def _check_methods(names: Sequence[str], found_in: Sequence[str]) -> None:
    """Each is a file of sweeps/ or of a folder in it, here or where the command line says."""
    loader = GlobalHydra.instance().config_loader()
    options = partial(loader.get_group_options, config_name="config", overrides=[*found_in])
    known = options("sweeps")
    for folder in options("sweeps", ObjectType.GROUP):
        known += [f"{folder}/{name}" for name in options(f"sweeps/{folder}")]
    for name in names:
        if name not in known:
            raise InputError(
                f"methods: {name}: no such file in sweeps/; there are {', '.join(known)}"
            )


def _check_name(made: Plan) -> None:
    """It names a folder, and so do the methods."""
    for key, name in (
        *(("methods", slug(name)) for name in made.methods),
        ("protocol.name", made.name),
    ):
        if not re.fullmatch(r"[\w+=-][\w.+=-]*", name):
            raise InputError(
                f"{key}={name}: must be letters, digits and any of - _ . + =, not beginning with "
                "a dot, because it names a folder"
            )
    if len(made.name.encode()) > NAME_BYTES:
        raise InputError(f"protocol.name={made.name}: must not be longer than {NAME_BYTES} bytes")
