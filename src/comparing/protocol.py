"""The protocol of a comparison: what it does in the same way for every method."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from statistics import fmean
from typing import Annotated, Any

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, ValidationError, model_validator

from src.comparing import refused
from src.comparing.sequential import fewest_seeds
from src.composing import check_choices, chosen_by_sweep, problem_name, slug
from src.config import (
    CONF,
    Auto,
    Config,
    Section,
    count_or_auto,
    first_error,
    flatten,
    job_config,
    parse,
)
from src.errors import InputError
from src.launching.choices import LOCAL, kind_of
from src.metrics import Direction, direction_of, quantity
from src.overrides import override, parsed
from src.results import digest
from src.results.identity import STARTED, settings
from src.sweeping.template import Template

COMPARISON_KEYS = ("methods", "protocol", "dry_run", "detach", "n_jobs")
NAME_BYTES = 255  # of a folder's name, on common file systems
FIRST_SEARCHES = 3  # of each method with searches=auto
MORE_SEARCHES = 3  # of each open method, where searches differ more than seeds
UNNAMED = re.compile(r"[^\w.+=-]+")  # what can't stand in a folder's name
MARGIN = re.compile(r"(\d+(?:\.\d*)?|\.\d+)%")
EXAMPLE = "{adam: {eps: 1e-3}}"
# What a run of a comparison has unless it is given: the last row counts, because the last weights
# are tested; every trial is trained to its end, because a pruner judges by early rows, and some
# methods begin slowly.
USUAL = ("objective.row=last", "pruner=none")


class Protocol(Section):
    """The settings of `conf/protocol`."""

    name: str | None
    n_trials: Annotated[int, Field(ge=1)]
    searches: Annotated[int | Auto, count_or_auto(1)]
    first_search: Annotated[int, Field(ge=0)]
    seeds: Annotated[int | Auto, count_or_auto(2)]
    looks: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]
    seconds: Annotated[float, Field(gt=0)] | None
    margin: str | float
    first_seed: Annotated[int, Field(ge=100, lt=2**31)]
    metric: str
    reference: str | None
    target: float | None
    n_jobs: Annotated[int, Field(ge=1)]
    max_bad: Annotated[float, Field(gt=0, le=1)]
    widen: Annotated[int, Field(ge=0, le=5)]

    @model_validator(mode="before")
    @classmethod
    def _choose_searches(cls, values: Any) -> Any:
        """What is decided as it goes on takes the luck of searches in; a fixed size has one."""
        if not isinstance(values, dict) or values.get("searches", 1) is not None:
            return values
        return {**values, "searches": "auto" if values.get("seeds") == "auto" else 1}

    @property
    def numbers_of_seeds(self) -> tuple[int, ...]:
        """After how many seeds there is a look; one number where it was given."""
        return tuple(self.looks) if self.seeds == "auto" else (self.seeds,)

    @property
    def first_searches(self) -> int:
        """Searches of each method at the first look."""
        return FIRST_SEARCHES if self.searches == "auto" else self.searches

    @property
    def more_searches(self) -> int:
        """Searches of each open method that a look may add."""
        return MORE_SEARCHES if self.searches == "auto" else 0

    @property
    def last_looks(self) -> list[tuple[int, int]]:
        """The numbers of searches and seeds at which it ends at the latest: each look but the last
        may add searches instead of seeds."""
        looks, more = self.numbers_of_seeds, self.more_searches
        count = len(looks) if more else 1
        return [(self.first_searches + more * added, looks[-1 - added]) for added in range(count)]

    @property
    def most_searches(self) -> int:
        """Searches of each method, if every look but the last adds some."""
        return self.last_looks[-1][0]

    @property
    def most_runs(self) -> int:
        """Runs of each tuned method, if no look settles anything."""
        return max(searches * seeds for searches, seeds in self.last_looks)

    def margin_of(self, metric: str, values: Sequence[float]) -> float:
        """The margin in the metric's units; a share is one of the mean value, or of its error.

        Args:
            metric: a loss, an accuracy or another.
            values: of it, one or more.
        """
        if isinstance(self.margin, str):
            costs = [1 - value if quantity(metric) == "accuracy" else value for value in values]
            return float(self.margin.removesuffix("%")) / 100 * abs(fmean(costs))
        return self.margin


class Request(Section):
    """The contents of `conf/compare.yaml`."""

    methods: list[Any]  # names, and settings by name
    problems: list[str]  # one is given as problem=NAME; see src.comparing.problems
    protocol: Protocol
    dry_run: bool
    detach: bool


@dataclass(frozen=True)
class Method:
    """A method of a comparison: a file of sweeps/, and settings that its search leaves alone."""

    name: str
    sweeps: str
    fixed: tuple[str, ...] = ()

    @classmethod
    def of(cls, item: Any) -> "Method":
        """`adam`, or `{adam: {eps: 1e-3}}`, which is called adam-eps=0.001 unless it has a name."""
        if isinstance(item, str):
            return cls(item, item)
        if not isinstance(item, dict) or len(item) != 1:
            raise InputError(f"methods: {item}: must be a name, or one with settings, {EXAMPLE}")
        [(sweeps, given)] = item.items()
        if not isinstance(sweeps, str) or not isinstance(given, dict):
            raise InputError(f"methods: {item}: must be a name, or one with settings, {EXAMPLE}")
        own = {key: value for key, value in given.items() if key != "name"}
        if not own:
            raise InputError(f"methods: {item}: must have a setting, as in {EXAMPLE}")
        words = (re.sub(UNNAMED, "_", f"{key}={value}") for key, value in own.items())
        name = str(given.get("name") or "-".join([sweeps, *words]))
        keys = {key if "." in key else f"optimizer.{key}": value for key, value in own.items()}
        return cls(name, sweeps, tuple(override(key, value) for key, value in keys.items()))


@dataclass(frozen=True)
class Launcher:
    """Where a comparison's workers run, composed; see `launching.make.make_workers`."""

    kind: str
    config: DictConfig
    loader: ConfigLoader


@dataclass(frozen=True)
class Plan:
    """A comparison to make.

    Args:
        methods: names of files in sweeps/.
        overrides: each method's, from the command line.
        configs: each method's composed config, `hydra` included.
        spaces: each method's search space.
        sweeps: each method's file of sweeps/.
        dry_run: whether only the plan is asked for.
        detach: whether a process in the background makes it.
        launcher: starts workers; None for processes of this machine.
    """

    methods: tuple[str, ...]
    protocol: Protocol
    overrides: dict[str, tuple[str, ...]]
    configs: dict[str, DictConfig]
    spaces: dict[str, refused.Space]
    sweeps: dict[str, str]
    dry_run: bool = False
    detach: bool = False
    launcher: Launcher | None = None

    @property
    def name(self) -> str:
        parts = [*self.methods, problem_name(self.configs[self.methods[0]])]
        name = self.protocol.name
        return slug("-".join(parts)) if name is None else name

    @property
    def directions(self) -> dict[str, str]:
        """Which way all that the loss measures is better, by its name without a set."""
        from src.training.build import build_loss  # torch takes seconds to import

        return build_loss(parse(self.job(self.methods[0]))).directions()

    @property
    def direction(self) -> Direction:
        """Which way the verdict's metric is better."""
        return direction_of(self.protocol.metric, directions=self.directions)

    @property
    def problem(self) -> str:
        """What is trained, in words."""
        config = self.configs[self.methods[0]]
        choices = config.hydra.runtime.choices
        if choices.get("problem"):
            return problem_name(config)
        loss = choices.get("loss")
        other = "" if loss == "cross_entropy" else f" and {loss}"
        return f"{choices.data} with {choices.model}{other}"

    @property
    def pruner(self) -> str:
        """What stops trials early; empty where every trial is trained to its end."""
        choice = self.configs[self.methods[0]].hydra.runtime.choices.get("pruner")
        return "" if choice in (None, "none") else str(choice)

    def settings(self) -> dict[str, Any]:
        """Everything that makes two comparisons the same one, flat."""
        shared = self._shared(self.methods[0])
        protocol = self.protocol.model_dump(exclude={"name", "n_jobs"})
        if protocol["first_search"] == 0:  # comparisons of before there was a choice don't tell it
            del protocol["first_search"]
        by_method = {name: self.method_settings(name) for name in self.methods}
        schedules = {name: self.job(name).scheduler for name in self.methods}
        if any(schedule != schedules[self.methods[0]] for schedule in schedules.values()):
            shared = settings(shared, ("scheduler",))
            for name, schedule in schedules.items():
                by_method[name]["scheduler"] = OmegaConf.to_container(schedule, resolve=True)
        values = {"methods": list(self.methods), "protocol": protocol, "method": by_method}
        return flatten(values) | shared

    def _shared(self, method: str) -> dict[str, Any]:
        """The settings of a method's runs but for its own, flat; methods may differ in schedule."""
        config = OmegaConf.to_container(self.job(method), resolve=True)
        assert isinstance(config, dict)
        return settings(config, (*STARTED, "optimizer", "search", "sweeps", "data.root"))

    def method_settings(self, method: str) -> dict[str, Any]:
        """A method's settings and its search space."""
        config = self.configs[method]
        masked = OmegaConf.masked_copy(config, ["optimizer", "search"])
        settings = OmegaConf.to_container(masked, resolve=True)
        assert isinstance(settings, dict)
        return {**settings, "space": OmegaConf.to_container(config.hydra.sweeper.params)}

    def hash(self) -> str:
        return digest(self.settings())

    @cached_property
    def _jobs(self) -> dict[str, DictConfig]:
        return {name: job_config(config) for name, config in self.configs.items()}

    def job(self, method: str) -> DictConfig:
        """A method's config without the `hydra` node; not to be changed."""
        return self._jobs[method]

    @cached_property
    def _templates(self) -> dict[tuple[str, ...], Template]:
        return {}

    def filled(self, method: str, values: Mapping[str, Any]) -> tuple[Config, str]:
        """A method's config with these values, which may add keys, and as resolved YAML."""
        key = (method, *values)
        if key not in self._templates:
            self._templates[key] = Template(self.job(method), values)
        config, _, resolved = self._templates[key].fill(values)
        return config, resolved

    def search_seed(self, search: int) -> int:
        """The seed of a search, by its number."""
        return self.protocol.first_search + search

    def study(self, method: str, search: int) -> str:
        """The name of a search's study; other comparisons with the same search share it.

        It says nothing of the number of trials: a longer search begins as a shorter one does.
        """
        seed = self.search_seed(search)
        alike = self._shared(method) | {"own": self.method_settings(method), "search": seed}
        return slug(f"{method}-{problem_name(self.configs[method])}-{digest(alike)[:8]}")


def plan(arguments: Sequence[str]) -> Plan:
    """Read the command line: overrides of the comparison and of every run.

    Raises:
        InputError: a setting of the protocol, a search or a method is not what it must be, or a
            comparison doesn't take it.
    """
    items = parsed(list(arguments))
    comparison: list[Override] = []
    launch: list[Override] = []
    runs: list[Override] = []
    for item in items:
        refused.check_override(item)
        is_comparison = item.key_or_group.split(".")[0] in COMPARISON_KEYS
        others = launch if refused.is_of_launcher(item) else runs
        (comparison if is_comparison else others).append(item)
    search_paths = tuple(line for line in _lines(runs) if line.startswith("hydra.searchpath="))
    with initialize_config_dir(str(CONF)):
        request = _request(compose("compare", overrides=_lines(comparison)))
        methods = _methods(request)
        _check_methods([method.sweeps for method in methods.values()], search_paths)
        plain = {name: _plain(method.sweeps, search_paths) for name, method in methods.items()}
        taken = {name: _taken(methods[name].sweeps, plain[name], runs) for name in methods}
        _check_taken(runs, taken)
        lines = {
            name: (*USUAL, *_lines(taken[name]), *method.fixed) for name, method in methods.items()
        }
        configs = {name: _compose(methods[name].sweeps, lines[name]) for name in methods}
        storage = str(configs[next(iter(methods))].hydra.sweeper.storage)
        launcher = _launcher(launch, search_paths, storage)
    protocol = request.protocol
    for name, config in configs.items():
        refused.check_choices(config)
        check_choices(config)
        job = parse(job_config(config))
        protocol = _with_metric(protocol, job)
        refused.check_selection(job, protocol.metric)
        refused.check_method(name, config, str(plain[name].optimizer._target_))
    varied = [item for item in runs if item.key_or_group.split(".")[0] != "hydra"]
    given = {name: [*varied, *parsed([*method.fixed])] for name, method in methods.items()}
    spaces = refused.check_searches(request.protocol.n_trials, configs, given)
    sweeps = {name: method.sweeps for name, method in methods.items()}
    plan = Plan(
        (*methods,), protocol, lines, configs, spaces, sweeps,
        dry_run=request.dry_run, detach=request.detach, launcher=launcher,
    )  # fmt: skip
    _check_name(plan)
    return plan


def _with_metric(protocol: Protocol, config: Config) -> Protocol:
    """The protocol with the metric that it is about: unless given, the problem's, on the test set.

    Args:
        config: of a method's runs; all have the same objective.
    """
    if protocol.metric != "auto":
        return protocol
    return protocol.model_copy(update={"metric": f"test_{quantity(config.objective.metric)}"})


def _methods(request: Request) -> dict[str, Method]:
    """The methods by name, checked as far as names go, and the protocol beside them."""
    methods = [Method.of(item) for item in request.methods]
    names, protocol = [method.name for method in methods], request.protocol
    if len(names) < 2 or len({slug(name) for name in names}) != len(names):
        raise InputError(f"methods={names}: must be two different methods or more")
    if protocol.reference is not None and protocol.reference not in names:
        raise InputError(f"protocol.reference={protocol.reference}: must be one of the methods")
    fewest = fewest_seeds(len(names) * (len(names) - 1) // 2)
    if protocol.seeds == "auto" and protocol.looks[-1] < fewest:
        raise InputError(
            f"protocol.looks={protocol.looks}: the last must be {fewest} or more, because fewer "
            f"seeds can't decide between {len(names)} methods"
        )
    return {method.name: method for method in methods}


def _compose(sweeps: str, overrides: Sequence[str]) -> DictConfig:
    lines = [override("sweeps", sweeps), *overrides]
    return compose("config", overrides=lines, return_hydra_config=True)


def _launcher(
    launch: Sequence[Override], search_paths: Sequence[str], storage: str
) -> Launcher | None:
    """The launcher that was asked for; None for the default.

    Raises:
        InputError: there is none of that name, or the database doesn't serve its hosts.
    """
    if not launch:
        return None
    from src.sweeping.storage import absolute, refuse_one_host  # Optuna takes long to import

    lines = [*search_paths, *_lines(launch)]
    config = compose("config", overrides=lines, return_hydra_config=True)
    kind = kind_of(config)
    refuse_one_host(kind, config.hydra.launcher, absolute(storage))
    if kind == LOCAL:
        return None
    return Launcher(kind, config, GlobalHydra.instance().config_loader())


@cache  # composing takes longer than all checks together
def _plain(method: str, search_paths: tuple[str, ...]) -> DictConfig:
    """What a file of sweeps/ says, without anything of the command line."""
    return _compose(method, search_paths)


def _lines(items: Sequence[Override]) -> list[str]:
    return [str(item.input_line) for item in items]


def _taken(method: str, plain: DictConfig, items: Sequence[Override]) -> list[Override]:
    """The overrides that a method takes.

    Where its file of sweeps/ chooses the schedule, which so belongs to the method, it takes only
    settings that this schedule has.
    """
    if "scheduler" not in chosen_by_sweep(plain, method):
        return [*items]

    def fits(item: Override) -> bool:
        key = item.key_or_group.removeprefix("hydra.sweeper.params.").replace("\\.", ".")
        group, _, name = key.partition(".")
        return group != "scheduler" or name in plain.scheduler

    return [item for item in items if fits(item)]


def _check_taken(items: Sequence[Override], taken: Mapping[str, Sequence[Override]]) -> None:
    """Refuse an override that no method takes."""
    for item in items:
        if not any(item in several for several in taken.values()):
            raise InputError(
                f"{item.input_line}: the files of sweeps/ choose the schedule of each of "
                f"{', '.join(taken)}"
            )


def _request(top: DictConfig) -> Request:
    """The comparison's own settings, checked."""
    try:
        request = Request.model_validate(OmegaConf.to_container(top, resolve=True))
    except ValidationError as error:
        raise InputError(first_error(error)) from error
    protocol = request.protocol
    if list(protocol.looks) != sorted({*protocol.looks}):
        raise InputError(f"protocol.looks={protocol.looks}: must be growing numbers of seeds")
    _check_margin(protocol.margin)
    if protocol.first_seed < (end := protocol.first_search + protocol.most_searches):
        raise InputError(
            f"protocol.first_seed={protocol.first_seed}: must be {end} or more, for "
            f"protocol.searches={protocol.searches} may take the {protocol.most_searches} seeds "
            f"from protocol.first_search={protocol.first_search} on"
        )
    return request


def _check_margin(margin: str | float) -> None:
    if not MARGIN.fullmatch(margin) if isinstance(margin, str) else margin < 0:
        raise InputError(
            f"protocol.margin={margin}: must be a share of the reference's mean, as 5%, or a "
            "difference of the metric, as 0.02, and not below 0"
        )


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
    for name in plan.methods:
        check_folder("methods", slug(name))
    check_folder("protocol.name", plan.name)


def check_folder(key: str, name: str) -> None:
    """Refuse what can't be a folder's name; `key` is where it comes from."""
    if not re.fullmatch(r"[\w+=-][\w.+=-]*", name):
        raise InputError(
            f"{key}={name}: must be letters, digits and any of - _ . + =, not beginning with "
            "a dot, because it names a folder"
        )
    if len(name.encode()) > NAME_BYTES:
        raise InputError(f"{key}={name}: must not be longer than {NAME_BYTES} bytes")
