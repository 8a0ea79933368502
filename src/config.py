"""The schema behind every config group, the resolvers, and where configs are found."""

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, TypeVar

from hydra.core.config_store import ConfigStore
from hydra.plugins.config_source import ConfigLoadError
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from src.errors import InputError

PROJECT = Path(__file__).resolve().parents[1]
CONF = PROJECT / "conf"
# Where runs, sweeps and comparisons are kept: on a cluster, a scratch file system, say. Empty is
# as good as not set.
OUTPUTS = Path(os.environ.get("FAIRSTEP_OUTPUTS") or PROJECT / "outputs").expanduser().absolute()

# The security boundary: a config may name only classes below these. To use another package's
# optimizer, add its module here, or call `allow` before `main` in a script of your own; config
# alone can never widen this list.
ALLOWED_TARGETS = [
    "src.optimizers.*",
    "src.models.*",
    "src.training.schedules.*",
    "src.run.Check",
    "src.loggers.*",
    "src.sweeping.samplers.*",
    "torch.optim.*",
    "optuna.samplers.*",
    "optuna.pruners.*",
]

T = TypeVar("T")
Set = Literal["train", "val", "test"]
Metric = Literal[
    "train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy"
]


class Section(BaseModel):
    """A config group: types are exact, unknown keys are refused, numbers are finite."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Data(Section):
    name: str
    root: str | None = None
    batch_size: Annotated[int, Field(ge=1)]
    validation_fraction: Annotated[float, Field(ge=0, lt=1)]
    split_seed: Annotated[int, Field(ge=0, lt=2**32)]
    mean: float
    std: Annotated[float, Field(gt=0)]


class EarlyStopping(Section):
    patience: Annotated[int, Field(ge=1)] | None
    min_delta: Annotated[float, Field(ge=0)]


class Trainer(Section):
    epochs: Annotated[int, Field(ge=1)]
    evaluate_every: Annotated[int, Field(ge=1)]
    evaluate: list[Set]
    evaluate_at_end: list[Set]
    early_stopping: EarlyStopping
    checkpoint_every: Annotated[float, Field(ge=0)] | None
    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: Annotated[int, Field(ge=1, le=1024)] | None
    deterministic: bool


class Objective(Section):
    metric: Metric
    direction: Literal["minimize", "maximize"]
    row: Literal["best", "last"]


class Config(Section):
    """One run.

    `optimizer`, `scheduler`, `model`, `sampler` and `pruner` are open groups: the schema behind
    them is the signature and the checks of the class that their `_target_` names.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    search: dict[str, float]
    trial: Annotated[int, Field(ge=0)] | None
    resume: str | None
    logger: dict[str, dict[str, Any]] = {}  # logger=[] leaves no node at all
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    model: dict[str, Any]
    data: Data
    trainer: Trainer
    objective: Objective
    sampler: dict[str, Any]
    pruner: dict[str, Any]


def allow(pattern: str) -> None:
    """Let configs name the classes of a module of your own, such as `my_methods.*`."""
    ALLOWED_TARGETS.append(pattern)


def register() -> None:
    """Make resolvers and the configs outside `conf/` known to Hydra, from any directory.

    `${outputs:}` is where everything is kept, `${run_name:}` and `${study_name:}` name what is
    trained and searched, and `${one_minus:x}` turns a searched 1-beta into beta. `sweeps=NAME` is
    a file of `sweeps/`; `experiment=STUDY/best` is what a finished sweep left.
    """
    OmegaConf.register_resolver("outputs", lambda: str(OUTPUTS), replace=True)
    OmegaConf.register_resolver("run_name", _run_name, replace=True)
    OmegaConf.register_resolver("study_name", _study_name, replace=True)
    OmegaConf.register_resolver("one_minus", lambda value: 1 - value, replace=True)
    for path in sorted((PROJECT / "sweeps").glob("*.yaml")):
        _store("sweeps", path.stem, path)
    for path in sorted((OUTPUTS / "sweeps").glob("*/best.yaml")):
        _store(f"experiment/{path.parent.name}", "best", path)


def _run_name(*, _root_: DictConfig) -> str:
    choices = _root_.hydra.runtime.choices
    return _slug(f"{_optimizer_name(_root_)}-{choices.get('data')}")


def _study_name(*, _root_: DictConfig) -> str:
    """A file of sweeps/ may search another optimizer than its own, chosen beside it."""
    choices, optimizer = _root_.hydra.runtime.choices, _slug(_optimizer_name(_root_))
    sweep = choices.get("sweeps") or optimizer
    method = sweep if sweep.startswith(optimizer) else f"{sweep}-{optimizer}"
    return _slug(f"{method}-{choices.get('data')}-{choices.get('model')}")


def _optimizer_name(root: DictConfig) -> str:
    """The choice, or the class where a config says it without one."""
    choice = root.hydra.runtime.choices.get("optimizer")
    return str(choice or OmegaConf.select(root, "optimizer._target_"))


def _slug(name: str) -> str:
    return name.replace("/", "-")


def _store(group: str, name: str, path: Path) -> None:
    node = OmegaConf.load(path)
    ConfigStore.instance().store(
        group=group, name=name, node=node, package="_global_", replace=True
    )


def check_choices(config: DictConfig) -> None:
    """An experiment that says what a group is may not stand beside another choice of the group.

    Its values would win over those of the choice that names the run.

    Args:
        config: composed, its `hydra` node included.

    Raises:
        InputError: both were chosen.
    """
    chosen = config.hydra.runtime.choices
    for kind in ("experiment", "sweeps"):
        found = _find(config, kind, chosen.get(kind))
        expected = _overridden(found.pop("defaults", []))
        for group, node in found.items():
            whole = isinstance(node, dict) and ("_target_" in node or "name" in node)
            if whole and group in chosen and chosen[group] != expected.get(group):
                raise InputError(
                    f"{group}={chosen[group]}: {kind}={chosen[kind]} says itself what the {group} "
                    f"is; give values beside it ({group}.KEY=VALUE), or leave {kind}= out"
                )


def _overridden(defaults: list[Any]) -> dict[str, str | None]:
    """The groups that a defaults list chooses for."""
    items = [item for each in defaults if isinstance(each, dict) for item in each.items()]
    return {str(key).removeprefix("override /"): choice for key, choice in items}


def _find(config: DictConfig, group: str, name: str | None) -> dict[str, Any]:
    """A file of a group, as it stands there; empty where there is none."""
    if not isinstance(name, str):
        return {}
    for source in config.hydra.runtime.config_sources:
        file = Path(source.path) / group / f"{name}.yaml"
        if source.schema == "file" and file.is_file():
            return _plain(OmegaConf.load(file))
    try:
        return _plain(ConfigStore.instance().load(f"{group}/{name}.yaml").node)
    except ConfigLoadError:
        return {}


def _plain(loaded: Any) -> dict[str, Any]:
    values = OmegaConf.to_container(loaded)
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}


def job_config(config: DictConfig) -> DictConfig:
    """A composed config without its `hydra` node."""
    job = config.copy()
    with read_write(job), open_dict(job):
        job.pop("hydra", None)
    return job


def parse(cfg: DictConfig) -> Config:
    """Check a composed config (without its `hydra` node).

    Raises:
        InputError: naming the key, the value and what is allowed.
    """
    try:
        config = Config.model_validate(OmegaConf.to_container(cfg, resolve=True))
    except OmegaConfBaseException as error:
        raise InputError(str(error).splitlines()[0]) from error
    except ValidationError as error:
        raise InputError(first_error(error)) from error
    _check_objective(config)
    return config


def first_error(error: ValidationError) -> str:
    """The first of them, in a line that names key and value."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{key} is missing"
    if first["type"] == "extra_forbidden":
        return f"{key}={first['input']}: there is no such key"
    return f"{key}={first['input']}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _check_objective(config: Config) -> None:
    """Refuse a metric that no row of the run will hold."""
    evaluated, metric = config.trainer.evaluate, config.objective.metric
    if len({*evaluated}) < len(evaluated):
        raise InputError(f"trainer.evaluate={evaluated}: names a set twice")
    if metric.split("_")[0] not in evaluated:
        raise InputError(
            f"objective.metric={metric}: trainer.evaluate={evaluated} does not evaluate that set"
        )
    if "val" in evaluated and config.data.validation_fraction == 0:
        raise InputError(
            f"trainer.evaluate={evaluated}: data.validation_fraction=0 leaves no validation set"
        )


def build(group: str, settings: dict[str, Any], kind: type[T], *args: Any, **kwargs: Any) -> T:
    """Make the object that an open group's `_target_` names.

    Args:
        group: the group's name, for messages.
        settings: the group's config; everything but `_target_` goes to the class.
        kind: the class that the object must be an instance of.

    Raises:
        InputError: the target isn't allowed or isn't a `kind`, or the class refuses a setting.
    """
    target = str(settings.get("_target_"))
    _check_allowed(group, target, target)
    given = {key: value for key, value in settings.items() if key != "_target_"}
    try:
        found = resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{group}._target_={target}: {_reason(error)}") from error
    # Where it really lives: a path through an allowed module can lead anywhere.
    module, name = getattr(found, "__module__", "?"), getattr(found, "__qualname__", "?")
    _check_allowed(group, target, f"{module}.{name}")
    if not isinstance(found, type) or not issubclass(found, kind):
        raise InputError(f"{group}._target_={target}: not a {kind.__module__}.{kind.__name__}")
    with blaming(group, settings):
        _check_flags(found, given)
        return found(*args, **kwargs, **given)


def _check_flags(found: type, given: dict[str, Any]) -> None:
    """Refuse a word for an argument whose default is true or false: "no" would mean yes."""
    for name, argument in inspect.signature(found).parameters.items():
        if isinstance(argument.default, bool) and isinstance(given.get(name), str):
            raise ValueError(f"{name} must be true or false, got {given[name]!r}")


@contextmanager
def blaming(group: str, settings: dict[str, Any]) -> Iterator[None]:
    """Turn what a class says against its settings into an InputError of one line."""
    try:
        yield
    except Exception as error:
        shown = ", ".join(f"{key}={value}" for key, value in settings.items() if key != "_target_")
        raise InputError(f"{group}: {settings['_target_']}({shown}): {_reason(error)}") from error


def _check_allowed(group: str, target: str, place: str) -> None:
    if not any(fnmatchcase(place, pattern) for pattern in ALLOWED_TARGETS):
        which = target if place == target else f"{target} (which is {place})"
        raise InputError(
            f"{group}._target_={which}: not allowed; allowed: {', '.join(ALLOWED_TARGETS)} "
            "(ALLOWED_TARGETS in src/config.py)"
        )


def _reason(error: BaseException) -> str:
    """What the class said, without what Hydra wrapped around it, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join((str(error) or type(error).__name__).split())
