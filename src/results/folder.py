"""Read a run's folder with care: it may come from somebody else."""

import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from src.config import parse
from src.errors import InputError

OWN_FOLDERS = ("checkpoints", ".hydra")


def load_config(folder: Path) -> dict[str, Any]:
    """The resolved config of a run's folder, checked.

    Raises:
        InputError: there is no config, it is damaged, or it isn't resolved: an interpolation in a
            file from somebody else could read this machine's environment. Or the folder holds a
            link that leads out of it.
    """
    _refuse_links(folder)
    try:
        loaded = OmegaConf.load(folder / "config.yaml")
        config = OmegaConf.to_container(loaded, resolve=False)
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no run is there (it has no config.yaml)") from error
    except (OSError, ValueError, YAMLError, OmegaConfBaseException, RecursionError) as error:
        raise InputError(f"{folder}: config.yaml: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise InputError(f"{folder}: config.yaml is not a config")
    if "${" in json.dumps(config, default=str):
        raise InputError(f"{folder}: config.yaml holds an interpolation; a run's is resolved")
    try:
        parse(OmegaConf.create({**config, "resume": None}))
    except InputError as error:
        raise InputError(f"{folder}: config.yaml: {error}") from error
    return {str(key): value for key, value in config.items()}


def _refuse_links(folder: Path) -> None:
    """Refuse links out of the folder: a run reads and writes within it, whoever made it."""
    for parent in (folder, *(folder / name for name in OWN_FOLDERS)):
        for path in sorted(parent.iterdir()) if parent.is_dir() else ():
            if not path.resolve().is_relative_to(folder.resolve()):
                raise InputError(f"{path} is a link that leads out of the run's folder")
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise InputError(f"{path} is neither a file nor a folder")


def load_json(folder: Path, name: str) -> dict[str, Any] | None:
    """The contents of result.json or provenance.json; None where there is no such file.

    Raises:
        InputError: the file is damaged.
    """
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder}: {name}: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{folder}: {name}: not what a run leaves there")
    return value
