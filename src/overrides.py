"""Overrides as Hydra's grammar spells them, and commands that people can paste into a shell."""

import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hydra._internal.grammar.utils import escape_special_characters
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString

# Words that the grammar reads as text without quotes; `RESERVED` are other values.
PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.+@%-]*", re.ASCII)
RESERVED = ("null", "true", "false", "inf", "nan")
ENVIRONMENT = ("FAIRSTEP_ALLOW", "FAIRSTEP_OUTPUTS")  # without which a command is another one
PATHS = ("config-dir", "config-path", "config-name")


def override(key: str, value: Any) -> str:
    """`key=value`, which Hydra reads back as that value."""
    return f"{key}={literal(value)}"


def literal(value: Any) -> str:
    """A value as Hydra's grammar spells it: null, a number, a text, or lists and dicts of them."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and value.lower() not in RESERVED
        return value if plain else QuotedString(value, Quote.double).with_quotes()
    if isinstance(value, Mapping):
        items = (f"{_dict_key(key)}:{literal(item)}" for key, item in value.items())
        return f"{{{','.join(items)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(literal, value))}]"
    return repr(value)


def _dict_key(key: Any) -> str:
    """The grammar has no quotes for a key."""
    return escape_special_characters(key) if isinstance(key, str) else literal(key)


def command(*words: str, module: str = "src.train") -> str:
    """A command of this program, fit for a shell.

    Args:
        words: its arguments.
        module: the entry point; for `src.train`, the script that was started in its place, which
            may allow classes of its own.
    """
    return python(*_entry(module), *words)


def python(*words: str) -> str:
    """`python` with these words, fit for a shell, behind the settings of this environment."""
    given = {name: os.environ.get(name) for name in ENVIRONMENT}
    settings = [f"{name}={shlex.quote(value)}" for name, value in given.items() if value]
    return " ".join([*settings, shlex.join(["python", *words])])


def again() -> str:
    """The command that was typed."""
    module = f"src.{Path(sys.argv[0]).stem}" if _is_ours(Path(sys.argv[0])) else "src.train"
    return command(*sys.argv[1:], module=module)


def _entry(module: str) -> list[str]:
    script = Path(sys.argv[0])
    of_user = script.suffix == ".py" and script.is_file() and not _is_ours(script)
    return [str(script)] if of_user and module == "src.train" else ["-m", module]


def _is_ours(script: Path) -> bool:
    return script.absolute().parent == Path(__file__).parent


def parsed(lines: Iterable[str]) -> list[Override]:
    """Overrides as Hydra reads them."""
    return OverridesParser.create().parse_overrides([*lines])


def given_overrides() -> list[Override]:
    """The overrides of the command line."""
    given, _ = get_args_parser().parse_known_args()
    return parsed(given.overrides)


def search_path(*names: str) -> list[str]:
    """The flags of the command line that say where else configs are; all, or some."""
    given, _ = get_args_parser().parse_known_args()
    flags = {f"--{name}": getattr(given, name.replace("-", "_")) for name in names or PATHS}
    return [word for flag, value in flags.items() if value for word in (flag, value)]
