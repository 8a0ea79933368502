"""Errors on the command line: one line each, no traceback."""

import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.config import CONF, PROJECT
from src.errors import InputError, Terminated
from src.overrides import again, override


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Say a user's mistake in one line and leave with status 1 (2 for the command line's form).

    `HYDRA_FULL_ERROR=1` shows the traceback instead. Ctrl-C leaves with status 130.
    """
    given = os.environ.get("HYDRA_FULL_ERROR", "0")
    full = given == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as src/__init__.py leaves it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    hook = sys.unraisablehook
    sys.unraisablehook = partial(_once_more, hook)
    try:
        yield
    except Terminated:
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        sys.exit(130)
    except (HydraException, OmegaConfBaseException, InputError) as error:
        _leave(error, full)
    except SystemExit as leaving:
        if not isinstance(leaving.__cause__, InputError):
            raise
        _leave(leaving.__cause__, full)
    except Exception as error:  # Hydra's own for a group set to a number, say; ours are bugs
        if not _raised_in_hydra(error):
            raise
        _leave(error, full)
    finally:
        os.environ["HYDRA_FULL_ERROR"] = given
        sys.unraisablehook = hook


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def _once_more(otherwise: Callable[[Any], object], lost: Any) -> None:
    """Send a signal again that arrived inside a finalizer, from which Python raises nothing."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        otherwise(lost)
        return
    number = signal.SIGTERM if issubclass(lost.exc_type, Terminated) else signal.SIGINT
    main = threading.main_thread().ident
    assert main is not None
    again = threading.Timer(0.01, signal.pthread_kill, [main, number])  # after the finalizer
    again.daemon = True
    again.start()


def _leave(error: Exception, full: bool) -> None:
    if full:
        raise error
    print(f"error: {describe(error)}", file=sys.stderr)
    sys.exit(2 if isinstance(error, OverrideParseException) else 1)


def _raised_in_hydra(error: BaseException) -> bool:
    frames = list(traceback.walk_tb(error.__traceback__))
    return str(frames[-1][0].f_globals.get("__name__")).startswith(("hydra.", "omegaconf."))


def describe(error: BaseException) -> str:
    """A config error in one line, with the nearest allowed name where one was misspelt."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, choice, nested = _choice(error.missing_cfg_file)
        options = [*(error.options or []), *nested]
        return f"{group}={choice}: no such choice{nearest(choice, options)}"
    if isinstance(error, OverrideParseException):
        return _form(error)
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        parent, key = cause.parent_node, str(cause.key)
        if cause.full_key == f"hydra.sweeper.{key}":
            return f"{cause.full_key}: no such key; only a search, -m sweeps=NAME, has {key}"
        names = [str(name) for name in parent] if isinstance(parent, DictConfig) else []
        if cause.full_key == key:  # at the top, groups that add no key of their own count too
            names += _at_the_top(parent)
        reason = "no such key" if key not in names else str(cause).splitlines()[0]
        return f"{cause.full_key}: {reason}{nearest(key, names)}"
    told = " ".join(str(error).split())
    return told or f"this can't be composed ({type(error).__name__} in Hydra): {again()}"


def _form(error: OverrideParseException) -> str:
    """Why Hydra's grammar can't read an override, and how it can be quoted."""
    line = " ".join(str(error.override).split())
    key, equals, value = line.partition("=")
    if not equals:
        return f"{line}: must be KEY=VALUE"
    if error.__cause__ is not None:  # a function of the grammar was called wrongly
        return f"{line}: {' '.join(str(error.__cause__).split())}"
    *_, reason, caret, _ = ["", *str(error).splitlines()]
    if "\n" in error.override:
        why = "a line break needs quotes"
    elif caret.strip() == "^":
        unread = reason[len(caret) - 1 : len(caret)]
        if len(caret) - 1 <= reason.index("=") or not unread:
            return f"{line}: {key} is no key; keys are letters, digits, _ and -, with dots between"
        why = f"{unread!r} needs quotes"
    else:
        why = f"{caret}; signs that mean something to Hydra need quotes"
    return f"{line}: {why}: {shlex.quote(override(key, value))}"


def _at_the_top(config: Any) -> list[str]:
    """Groups and short names, which are no keys of the config."""
    groups = [path.name for path in CONF.iterdir() if path.is_dir()]
    short = OmegaConf.select(config, "hydra.aliases", default={})
    return [*groups, "sweeps", *(str(name) for name in short)]


def _choice(missing: str) -> tuple[str, str, list[str]]:
    """The group and the choice as they were typed, and the group's choices in subfolders."""
    group, _, choice = missing.partition("/")
    folder = PROJECT / group if group == "sweeps" else CONF / group
    if choice and group != "hydra" and folder.is_dir():
        files = folder.glob("*/*.yaml")
        return group, choice, [f"{path.parent.name}/{path.stem}" for path in files]
    group, _, choice = missing.rpartition("/")
    return group or "--config-name", choice, []


def nearest(name: str, allowed: Iterable[str]) -> str:
    """What a message says of a name that isn't allowed: the one that was meant, and all."""
    allowed = sorted({*allowed} - {"hydra", "protocol", "suite"})  # of comparisons
    near = min(allowed, key=lambda other: distance(name, other), default="")
    hint = f"; did you mean {near}?" if distance(name, near) <= max(1, len(near) // 3) else ""
    return f"{hint} (allowed: {', '.join(allowed)})" if allowed else hint


def distance(a: str, b: str) -> int:
    """Letters to insert, drop, change or swap with their neighbour on the way from a to b."""
    rows = [list(range(len(b) + 1))]
    for i, letter in enumerate(a, 1):
        rows.append([i])
        for j, other in enumerate(b, 1):
            change = rows[i - 1][j - 1] + (letter != other)
            best = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, change)
            if i > 1 and j > 1 and (letter, a[i - 2]) == (b[j - 2], other):
                best = min(best, rows[i - 2][j - 2] + 1)
            rows[i].append(best)
    return rows[-1][-1]
