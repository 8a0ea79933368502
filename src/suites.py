"""The problems and suites of conf/, and what was measured of them."""

import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from src.cli import nearest
from src.config import CONF, PROJECT
from src.errors import InputError

MEASURED = PROJECT / "docs" / "problems.json"  # benchmarks/problems.py writes it


def problems() -> dict[str, str]:
    """What each problem's file says it is, by name."""
    return _described("problem")


def suites() -> dict[str, str]:
    """What each suite's file says it is, by name."""
    return _described("suite")


def suite(name: str) -> list[str]:
    """The problems of a suite, in its order.

    Raises:
        InputError: there is no such suite, or its file isn't a list of problems, each once.
    """
    if name not in suites():
        raise InputError(f"suite={name}: no such suite{nearest(name, suites())}")
    path = _file("suite", name)
    try:
        listed = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error
    names = listed.get("problems") if isinstance(listed, dict) else None
    if not isinstance(names, list) or not names or len({*map(str, names)}) < len(names):
        raise InputError(f"{path}: must be problems: [NAME, ...], each once")
    for problem in names:
        check_problem(str(problem), f"{path}: ")
    return [str(problem) for problem in names]


def check_problem(name: str, where: str = "") -> None:
    """Raise InputError, with the nearest name, if there is no such problem."""
    if name not in problems():
        raise InputError(f"{where}problem={name}: no such problem{nearest(name, problems())}")


def measured() -> dict[str, Any]:
    """Sizes, seconds and AdamW's losses of the problems that were measured."""
    known: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return known


def _described(group: str) -> dict[str, str]:
    files = sorted((CONF / group).glob("*.yaml"))
    return {path.stem: _comment(path) for path in files}


def _comment(path: Path) -> str:
    """The first line of a file's comment, without the one that is for Hydra."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = [line[1:].strip() for line in lines if line.startswith("#")]
    return next((line for line in comments if not line.startswith("@package")), "")


def _file(group: str, name: str) -> Path:
    return CONF / group / f"{name}.yaml"
