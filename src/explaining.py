"""What `--help` says of each key: the comment beside it in `conf/`."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

KEY = re.compile(r"( *(?:- )?)([\w/]+):")
COMMENTED = re.compile(r"[^:]*: *(.*?) +# +(.*)")  # value, comment
WIDTH = 28  # of a key and its value, behind which comments stand in one column


def explained(config: DictConfig, files: Iterable[tuple[str, Path]]) -> str:
    """A config as YAML with comments.

    Args:
        config: composed.
        files: what it is composed of, each with the key that its own stand below ("" at the top).
    """
    texts: dict[str, str] = {}
    for group, file in files:
        texts |= {f"{group}.{key}".lstrip("."): text for key, _, text in commented(file)}
    lines = []
    for key, line in keys(OmegaConf.to_yaml(config)):
        text = texts.get(key) or texts.get(f"defaults.{key}")
        lines.append(beside(line, text) if text else line)
    return "\n".join(lines)


def beside(line: str, text: str) -> str:
    """A line and its comment."""
    return f"{line:<{WIDTH}}  # {text}"


def commented(file: Path) -> Iterator[tuple[str, str, str]]:
    """The dotted keys of a YAML file that have a comment beside them, with value and comment."""
    for key, line in keys(file.read_text(encoding="utf-8")):
        match = COMMENTED.match(line)
        if key and match:
            yield key, match[1], match[2]


def keys(text: str) -> Iterator[tuple[str, str]]:
    """Each line of a YAML text after the dotted key that begins on it, which may be none."""
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = KEY.match(line)
        if match is None:
            yield "", line
            continue
        indent = len(match[1])
        above = [*((depth, name) for depth, name in above if depth < indent), (indent, match[2])]
        yield ".".join(name for _, name in above), line
