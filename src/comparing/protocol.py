"""The protocol of a comparison: what it does in the same way for every method."""

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

COMPARISON_KEYS = ("methods", "protocol")
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


class Request(Section):
    """The contents of `conf/compare.yaml`."""

    methods: list[str]
    protocol: Protocol


@dataclass(frozen=True)
class Plan:
    """A comparison to make.

    Args:
        methods: names of files in sweeps/.
        overrides: of every run, from the command line.
        configs: each method's composed config, `hydra` included.
        spaces: each method's search space.
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
        name = self.protocol.name
        return slug("-".join(parts)) if name is None else name

    def settings(self) -> dict[str, Any]:
        """Everything that makes two comparisons the same one, flat."""
        config = OmegaConf.to_container(self.job(self.methods[0]), resolve=True)
        assert isinstance(config, dict)
        shared = settings(config, (*STARTED, "optimizer", "search", "sweeps", "data.root"))
        protocol = self.protocol.model_dump(exclude={"name", "n_jobs"})
        by_method = {name: self.method_settings(name) for name in self.methods}
        values = {"methods": list(self.methods), "protocol": protocol, "method": by_method}
        return flatten(values) | shared

    def method_settings(self, method: str) -> dict[str, Any]:
        """A method's settings and its search space."""
        config = self.configs[method]
        masked = OmegaConf.masked_copy(config, ["optimizer", "search"])
        settings = OmegaConf.to_container(masked, resolve=True)
        assert isinstance(settings, dict)
        return {**settings, "space": OmegaConf.to_container(config.hydra.sweeper.params)}

    def hash(self) -> str:
        return digest(self.settings())

    def job(self, method: str) -> DictConfig:
        """A method's config without the `hydra` node."""
        return job_config(self.configs[method])

    def study(self, method: str, search: int) -> str:
        """The name of a search's study; other comparisons with the same search share it."""
        alike = {
            key: value
            for key, value in self.settings().items()
            if key.split(".")[0] not in (*COMPARISON_KEYS, "method")
        }
        alike |= {"own": self.method_settings(method)}
        alike |= {"n_trials": self.protocol.n_trials, "search": search}
        choices = self.configs[method].hydra.runtime.choices
        parts = (method, choices.data, choices.model, digest(alike)[:8])
        return slug("-".join(str(part) for part in parts))


def plan(arguments: Sequence[str]) -> Plan:
    """Read the command line: overrides of the comparison and of every run.

    Raises:
        InputError: a setting of the protocol, a search or a method is not what it must be, or a
            comparison doesn't take it.
    """
    parsed = OverridesParser.create().parse_overrides(list(arguments))
    comparison_lines: list[str] = []
    # By default the last row counts, because the last weights are tested.
    run_lines = ["objective.row=last"]
    for item in parsed:
        refused.check_override(item)
        is_comparison = item.key_or_group.split(".")[0] in COMPARISON_KEYS
        (comparison_lines if is_comparison else run_lines).append(str(item.input_line))
    search_paths = tuple(line for line in run_lines if line.startswith("hydra.searchpath="))
    with initialize_config_dir(str(CONF)):
        request = _request(compose("compare", overrides=comparison_lines))
        _check_methods(request.methods, search_paths)
        configs = {name: _compose(name, run_lines) for name in request.methods}
        targets = {name: _target(name, search_paths) for name in request.methods}
    for name, config in configs.items():
        refused.check_choices(config)
        check_choices(config)
        refused.check_selection(parse(job_config(config)))
        refused.check_method(name, config, targets[name])
    elsewhere = (*COMPARISON_KEYS, "hydra")
    varied = [item for item in parsed if item.key_or_group.split(".")[0] not in elsewhere]
    spaces = refused.check_searches(request.protocol.n_trials, configs, varied)
    plan = Plan(tuple(request.methods), request.protocol, tuple(run_lines), configs, spaces)
    _check_name(plan)
    return plan


def _compose(method: str, overrides: Sequence[str]) -> DictConfig:
    lines = [override("sweeps", method), *overrides]
    return compose("config", overrides=lines, return_hydra_config=True)


@cache  # composing takes longer than all checks together
def _target(method: str, search_paths: tuple[str, ...]) -> str:
    """The class that a file of sweeps/ searches."""
    return str(_compose(method, search_paths).optimizer._target_)


def _request(top: DictConfig) -> Request:
    """The comparison's own settings, checked."""
    try:
        request = Request.model_validate(OmegaConf.to_container(top, resolve=True))
    except ValidationError as error:
        raise InputError(first_error(error)) from error
    methods, protocol = request.methods, request.protocol
    if len(methods) < 2 or len({slug(name) for name in methods}) != len(methods):
        raise InputError(f"methods={methods}: must be two different methods or more")
    if protocol.reference is not None and protocol.reference not in methods:
        raise InputError(f"protocol.reference={protocol.reference}: must be one of the methods")
    if protocol.first_seed < protocol.searches:
        raise InputError(
            f"protocol.first_seed={protocol.first_seed}: must be {protocol.searches} or more, for "
            f"protocol.searches={protocol.searches} take the seeds below"
        )
    return request


def _check_methods(names: Sequence[str], search_paths: Sequence[str]) -> None:
    """Refuse a name without a file in sweeps/ or a folder in it, on Hydra's search path."""
    loader = GlobalHydra.instance().config_loader()
    options = partial(loader.get_group_options, config_name="config", overrides=[*search_paths])
    available = options("sweeps")
    for folder in options("sweeps", ObjectType.GROUP):
        available += [f"{folder}/{name}" for name in options(f"sweeps/{folder}")]
    for name in names:
        if name not in available:
            raise InputError(
                f"methods: {name}: no such file in sweeps/; there are {', '.join(available)}"
            )


def _check_name(plan: Plan) -> None:
    """Refuse names of the comparison or its methods that can't be names of folders."""
    for key, name in (
        *(("methods", slug(name)) for name in plan.methods),
        ("protocol.name", plan.name),
    ):
        if not re.fullmatch(r"[\w+=-][\w.+=-]*", name):
            raise InputError(
                f"{key}={name}: must be letters, digits and any of - _ . + =, not beginning with "
                "a dot, because it names a folder"
            )
    if len(plan.name.encode()) > NAME_BYTES:
        raise InputError(f"protocol.name={plan.name}: must not be longer than {NAME_BYTES} bytes")
