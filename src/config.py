"""The schema behind every config group, the resolvers, and where configs are found."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from src.errors import InputError
from src.metrics import SETS, Set, is_metric, part

PROJECT = Path(__file__).resolve().parents[1]
CONF = PROJECT / "conf"
# The folder of runs, sweeps and comparisons: on a cluster, a scratch file system, say. An empty
# variable counts as unset.
OUTPUTS = Path(os.environ.get("FAIRSTEP_OUTPUTS") or PROJECT / "outputs").expanduser().absolute()


Auto = Literal["auto"]


class Section(BaseModel):
    """A config group: types are exact, unknown keys are refused, numbers are finite."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def count_or_auto(least: int) -> Any:
    """Checks a whole number from `least` on, or auto."""

    def check(value: Any) -> Any:
        if value == "auto" or (type(value) is int and value >= least):
            return value
        raise PydanticCustomError("count", f"must be a whole number from {least} on, or auto")

    # No PlainValidator: pydantic calls Python code to write its values, in which a signal is lost.
    return BeforeValidator(check)


class Data(Section, extra="allow"):
    """How data are split and batched; the other keys are the source's, `_target_` among them."""

    batch_size: Annotated[int, Field(ge=1)]
    validation_fraction: Annotated[float, Field(ge=0, lt=1)]
    split_seed: Annotated[int, Field(ge=0, lt=2**32)]
    drop_last: bool = False
    shuffle: bool = True

    @model_validator(mode="before")
    @classmethod
    def _take_names(cls, values: Any) -> Any:
        """Configs before there were functions named one of the four sets of then."""
        name = values.get("name") if isinstance(values, dict) else None
        target = f"src.data.{name}.load"
        if name is None or values.get("_target_", target) != target:
            return values
        left_out = ("name", "root") if name == "digits" else ("name",)  # its root did nothing
        others = {key: value for key, value in values.items() if key not in left_out}
        return {**others, "_target_": target}

    @property
    def source(self) -> dict[str, Any]:
        """The function that reads the data, and its settings."""
        return dict(self.model_extra or {})


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
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    accumulate: Annotated[int, Field(ge=1)] = 1
    stack: Annotated[int | Auto, count_or_auto(1)] = "auto"


class Objective(Section):
    metric: str
    direction: Literal["minimize", "maximize"]
    row: Literal["best", "last"]


class Config(Section):
    """The config of a run.

    `optimizer`, `scheduler`, `model`, `loss`, `sampler` and `pruner` are open groups: the schema
    behind them is the signature and the checks of the class that their `_target_` names.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    search: dict[str, float]
    trial: Annotated[int, Field(ge=0)] | None
    resume: str | None
    logger: dict[str, dict[str, Any]] = {}  # logger=[] leaves no node at all
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    model: dict[str, Any]
    loss: dict[str, Any] = {  # of configs from before there were others
        "_target_": "src.losses.CrossEntropy",
        "class_weights": None,
        "label_smoothing": 0.0,
    }
    data: Data
    trainer: Trainer
    objective: Objective
    sampler: dict[str, Any]
    pruner: dict[str, Any]


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
    return check(plain(cfg))


def plain(cfg: DictConfig, *, resolve: bool = True) -> Any:
    """The values of a config.

    Args:
        resolve: interpolate them.

    Raises:
        InputError: a value is missing, or an interpolation can't be resolved.
    """
    try:
        return OmegaConf.to_container(cfg, resolve=resolve, throw_on_missing=resolve)
    except MissingMandatoryValue as error:
        key = error.full_key
        raise InputError(f"{key} is missing: {key}=...") from None
    except OmegaConfBaseException as error:
        raise InputError(str(error).splitlines()[0]) from error


def check(values: Any) -> Config:
    """Check the values of a config.

    Raises:
        InputError: naming the key, the value and what is allowed.
    """
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise InputError(first_error(error)) from error
    _check_objective(config)
    return config


def flatten(value: Any, key: str = "") -> dict[str, Any]:
    """A nested mapping as a flat one, with dotted keys."""
    if not isinstance(value, Mapping):
        return {key: value}
    items: dict[str, Any] = {}
    for name, item in value.items():
        items |= flatten(item, f"{key}.{name}" if key else str(name))
    return items


def first_error(error: ValidationError) -> str:
    """The first error, in a line that names key and value."""
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
    if not is_metric(metric):
        raise InputError(
            f"objective.metric={metric}: must be SET_NAME, of a set ({', '.join(SETS)}) and a name "
            "that the loss has for what it measures (loss, accuracy, ...)"
        )
    if len({*evaluated}) < len(evaluated):
        raise InputError(f"trainer.evaluate={evaluated}: names a set twice")
    if part(metric) not in evaluated:
        raise InputError(
            f"objective.metric={metric}: trainer.evaluate={evaluated} does not evaluate that set"
        )
    if "val" in evaluated and config.data.validation_fraction == 0:
        raise InputError(
            f"trainer.evaluate={evaluated}: data.validation_fraction=0 leaves no validation set"
        )
