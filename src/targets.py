"""What a config may name, and how it is built."""

import inspect
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import lru_cache
from pkgutil import resolve_name
from typing import Any, TypeVar

from src.errors import InputError

# The security boundary: a config may name only what is below these. Classes of one's own are
# allowed by the environment, FAIRSTEP_ALLOW='my_methods.*,theirs.optim.*', or by a script that
# calls `allow` before `main`; config alone can never widen this list.
ALLOWED_TARGETS = [
    "src.optimizers.*",
    "src.data.*",
    "src.models.*",
    "src.losses.*",
    "src.training.schedules.*",
    "src.hooks.Check",
    "src.loggers.*",
    "src.sweeping.samplers.*",
    "torch.optim.*",
    "torchvision.models.*",
    "optuna.samplers.*",
    "optuna.pruners.*",
]

FUNCTIONS = ("data", "model")  # groups whose `_target_` may be a function

T = TypeVar("T")


def _from_environment() -> list[str]:
    return os.environ.get("FAIRSTEP_ALLOW", "").replace(",", " ").split()


ALLOWED_TARGETS += _from_environment()


def allow(pattern: str) -> None:
    """Let configs name the classes of a module of your own, such as `my_methods.*`."""
    ALLOWED_TARGETS.append(pattern)


def build(group: str, settings: dict[str, Any], kind: type[T], *args: Any, **kwargs: Any) -> T:
    """Make the object that an open group's `_target_` names.

    Args:
        group: the group's name, for messages.
        settings: the group's config; everything but `_target_` goes to the class or function.
        kind: the class that the object must be an instance of.

    Raises:
        InputError: the target isn't allowed or makes no `kind`, or refuses a setting.
    """
    target = resolve(group, settings)
    if not (issubclass(target, kind) if isinstance(target, type) else _may_call(group, target)):
        raise InputError(_wrong(group, settings, kind, "not a"))
    with blaming(group, settings):
        given = arguments(settings)
        _check_flags(target, given)
        made = target(*args, **kwargs, **given)
    if not isinstance(made, kind):
        raise InputError(_wrong(group, settings, kind, f"returns a {type(made).__name__}, not a"))
    return made


def _may_call(group: str, function: Callable[..., Any]) -> bool:
    """Whether a function is one that makes what the group needs; here only sources of data do."""
    return group in FUNCTIONS and (
        not function.__module__.startswith("src.") or function.__name__ == "load"
    )


def resolve(group: str, settings: dict[str, Any]) -> Callable[..., Any]:
    """The class or function that a `_target_` names.

    Raises:
        InputError: it isn't allowed, or isn't there.
    """
    path = str(settings.get("_target_"))
    _check_allowed(group, path, path)
    try:
        target = _named(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{group}._target_={path}: {_reason(error)}") from error
    # Its own module and name: a path through an allowed module can lead anywhere.
    module, name = getattr(target, "__module__", "?"), getattr(target, "__qualname__", "?")
    _check_allowed(group, path, f"{module}.{name}")
    if not callable(target):
        raise InputError(f"{group}._target_={path}: neither a class nor a function")
    function: Callable[..., Any] = target
    return function


def _named(path: str) -> Any:
    """What a path names. `resolve_name` looks for files each time: where a module was imported
    that has the name, there is no need to."""
    module, _, name = path.rpartition(".")
    if module in sys.modules and path not in sys.modules and hasattr(sys.modules[module], name):
        return getattr(sys.modules[module], name)
    return resolve_name(path)


def signature(target: Callable[..., Any]) -> inspect.Signature:
    """Of a class or a function; to find it out takes as long as to build a small network."""
    try:
        return _signature(target)
    except TypeError:  # it can't be a key
        return inspect.signature(target)


_signature = lru_cache(maxsize=128)(inspect.signature)


def arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a group's config gives to its class or function."""
    return {key: value for key, value in settings.items() if key != "_target_"}


def _wrong(group: str, settings: dict[str, Any], kind: type, reason: str) -> str:
    return f"{group}._target_={settings['_target_']}: {reason} {kind.__module__}.{kind.__name__}"


def _check_flags(target: Callable[..., Any], given: dict[str, Any]) -> None:
    """Refuse a word for an argument whose default is true or false: "no" would mean yes."""
    for name, argument in signature(target).parameters.items():
        if isinstance(argument.default, bool) and isinstance(given.get(name), str):
            raise ValueError(f"{name} must be true or false, got {given[name]!r}")


@contextmanager
def blaming(group: str, settings: dict[str, Any]) -> Iterator[None]:
    """Turn what a class says against its settings into an InputError of one line."""
    try:
        yield
    except Exception as error:
        if group == "data" and isinstance(error, InputError):  # a source names the setting itself
            raise
        shown = ", ".join(f"{key}={value}" for key, value in arguments(settings).items())
        raise InputError(f"{group}: {settings['_target_']}({shown}): {_reason(error)}") from error


def _check_allowed(group: str, target: str, path: str) -> None:
    if not any(fnmatchcase(path, pattern) for pattern in ALLOWED_TARGETS):
        which = target if path == target else f"{target} (which is {path})"
        raise InputError(
            f"{group}._target_={which}: not allowed; allowed: {', '.join(ALLOWED_TARGETS)}"
            f"{_permission(path)}"
        )


def _permission(path: str) -> str:
    """How to allow a class, if its name is one: it may be from somebody else's config."""
    module, _, name = path.rpartition(".")
    if not re.fullmatch(r"\w+(\.\w+)*", module, re.ASCII) or not name.isidentifier():
        return ""
    patterns = ",".join([*_from_environment(), f"{module}.*"])
    return f"; if you trust it, begin the command with FAIRSTEP_ALLOW={shlex.quote(patterns)}"


def _reason(error: BaseException) -> str:
    """What the class said, without what Hydra wrapped around it, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join((str(error) or type(error).__name__).split())
