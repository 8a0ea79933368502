"""Going on with a run: its own config, from its folder, and nothing else."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from src.config import CONF, Config, parse
from src.errors import InputError
from src.overrides import override, parsed

ENDED = ("completed", "early_stopped", "diverged", "pruned")
CHANGEABLE = ("trainer.epochs", "trainer.checkpoint_every", "data.root", "logger")
OWN_FOLDERS = ("checkpoints", ".hydra")
Difference = tuple[str, Any, Any]  # what, recorded, now


def load_config(folder: Path) -> dict[str, Any]:
    """The resolved config of a run's folder, checked.

    Raises:
        InputError: there is none, it is damaged, or it isn't resolved: an interpolation in a file
            from somebody else could read this machine's environment. Or the folder holds a link
            that leads out of it.
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
    """What is read and written must lie in the folder, whoever the folder is from."""
    for parent in (folder, *(folder / name for name in OWN_FOLDERS)):
        for place in sorted(parent.iterdir()) if parent.is_dir() else ():
            if not place.resolve().is_relative_to(folder.resolve()):
                raise InputError(f"{place} is a link that leads out of the run's folder")
            if place.exists() and not (place.is_file() or place.is_dir()):
                raise InputError(f"{place} is neither a file nor a folder")


def load_json(folder: Path, name: str) -> dict[str, Any] | None:
    """What result.json or provenance.json holds; None where there is no such file.

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


def prepare(config: DictConfig) -> None:
    """Turn a composed config with `resume` into that of the run to go on with.

    Raises:
        InputError: the folder holds no run, or an override would make it another one.
        SystemExit: with status 0, for a run that is complete.
    """
    folder = Path(str(config.resume)).absolute()
    own, changes = load_config(folder), _changes(config)
    recorded = parse(OmegaConf.create({**own, "resume": None}))
    epochs = _epochs(recorded, changes)
    _stop_if_complete(folder, epochs)
    if recorded.trial is not None:
        raise InputError(
            f"{folder} is trial {recorded.trial} of a sweep: starting the sweep again goes on with "
            f"the study, python -m src.replay repeats the trial"
        )
    if "logger" in changes:
        own["logger"] = OmegaConf.to_container(config.get("logger") or OmegaConf.create())
    else:
        _check_logger(folder, recorded.logger)
    own["resume"] = str(folder)
    with read_write(config), open_dict(config):
        for key in [key for key in config if key != "hydra"]:
            del config[key]
        config.merge_with(own)
        for key in CHANGEABLE[:-1]:
            if key in changes:
                OmegaConf.update(config, key, changes[key])
        config.hydra.run.dir = str(folder)
        config.hydra.output_subdir = None  # the first start's snapshot stays


def _epochs(recorded: Config, changes: Mapping[str, Any]) -> int:
    """The epochs to train in all, which lengthen the run or leave it as it is."""
    epochs = changes.get("trainer.epochs", recorded.trainer.epochs)
    if reason := _another_length(recorded, epochs):
        raise InputError(reason)
    assert isinstance(epochs, int)
    return epochs


def _another_length(recorded: Config, epochs: object) -> str | None:
    """Why a run can't be lengthened to so many epochs."""
    old = recorded.trainer.epochs
    if type(epochs) is not int or epochs < old:
        return f"trainer.epochs={epochs}: a resumed run can only grow from its {old}"
    target = str(recorded.scheduler.get("_target_")).split(".")[-1]
    if epochs > old and target not in ("Constant", "Step"):
        return (
            f"trainer.epochs={epochs}: the {target} schedule of this run depends on its length "
            f"({old} epochs), so a longer one is another run"
        )
    return None


def check_config(recorded: Config, now: Config) -> None:
    """Go on only with the settings that a checkpoint was made with.

    Args:
        recorded: in the checkpoint.
        now: what config.yaml and the overrides beside `resume` say.

    Raises:
        ValueError: they differ in more than may be given beside `resume`.
    """
    if reason := _another_length(recorded, now.trainer.epochs):
        raise ValueError(reason)
    old, new = _flat(recorded.model_dump()), _flat(now.model_dump())
    for key in sorted({*old, *new} - {*CHANGEABLE, "trial", "resume"}):
        if not key.startswith("logger."):
            _check_setting(key, old.get(key, ABSENT), new.get(key, ABSENT))


def check_group(
    settings: Mapping[str, Any], saved: Mapping[str, Any], group: Mapping[str, Any]
) -> None:
    """The same for a checkpoint that holds no config: by what its optimizer was given.

    Args:
        settings: the optimizer's, of config.yaml.
        saved: a group of its parameters in the checkpoint.
        group: the same as config.yaml builds it.
    """
    old = {**saved, "lr": saved.get("initial_lr", saved.get("lr"))}  # a schedule changes lr
    for key in sorted(settings.keys() & group.keys() & old.keys()):
        _check_setting(f"optimizer.{key}", old[key], group[key])


ABSENT = object()


def _check_setting(key: str, old: object, new: object) -> None:
    if old == new:
        return
    says = f"lacks {key}" if new is ABSENT else f"says {key}={_shown(new)}"
    made = "without it" if old is ABSENT else f"with {_shown(old)}"
    raise ValueError(f"config.yaml {says}, they were made {made}")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _changes(config: DictConfig) -> dict[str, Any]:
    """The overrides beside `resume`, all of which must be harmless."""
    lines = [*config.hydra.overrides.task, *config.hydra.overrides.hydra]
    changes = {}
    for given in parsed(lines):
        key = given.key_or_group
        if key == "resume":
            continue
        if key not in CHANGEABLE and not key.startswith("logger."):
            raise InputError(
                f"{given.input_line}: a resumed run keeps its own config and folder; only "
                f"{', '.join(CHANGEABLE)} can be given with it"
            )
        changes["logger" if key.startswith("logger") else key] = given.value()
    return changes


def _check_logger(folder: Path, logger: Mapping[str, Mapping[str, Any]]) -> None:
    """Let nobody's config choose where this machine's rows are sent or written.

    Raises:
        InputError: MLflow's place is not this project's, and the command line doesn't agree to it.
    """
    usual = OmegaConf.load(CONF / "logger" / "mlflow.yaml").mlflow.tracking_uri
    for name, settings in logger.items():
        place = settings.get("tracking_uri", usual)
        if place != usual:
            agreed = override("logger", [name]), override(f"logger.{name}.tracking_uri", place)
            raise InputError(
                f"{folder}: config.yaml logs to {place}; to go on doing so, say "
                f"{shlex.join(agreed)}, or logger=none"
            )


def _stop_if_complete(folder: Path, epochs: int) -> None:
    result = load_json(folder, "result.json") or {}
    status, final = result.get("status"), result.get("final")
    trained = final.get("epoch") if isinstance(final, dict) else None
    lengthened = isinstance(trained, int) and epochs > trained
    if status not in ENDED or (status == "completed" and lengthened):
        return
    print(f"{folder} is complete ({status}): nothing to do")
    raise SystemExit(0)


def threads(recorded: Mapping[str, Any]) -> int | None:
    """The number of threads in a run's provenance, 1 to 1024; None where there is none."""
    had = recorded.get("threads")
    return had if type(had) is int and 1 <= had <= 1024 else None


def check_environment(folder: Path, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warn of whatever could make a resumed run another one.

    Args:
        folder: of the run.
        recorded: its provenance; empty where it was killed before it left any.
        now: that of this process.

    Raises:
        InputError: the data are other data.
    """
    if not recorded:
        return
    was, are = recorded.get("data_sha256"), now["data_sha256"]
    if was != are:
        raise InputError(f"{folder}: the data have changed: their SHA-256 is {are}, it was {was}")
    changed = [f"{what}: {old} -> {new}" for what, old, new in environment(recorded, now)]
    if changed:
        print(
            f"warning: not as when the run began, so it may end otherwise than it would have: "
            f"{'; '.join(changed)}",
            file=sys.stderr,
        )


def environment(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """What differs in the provenance, but for what differs every time."""
    old, new = _flat(recorded), _flat(now)
    for key in sorted({*old, *new} - {"command", "working_directory", "resumed"}):
        if old.get(key) != new.get(key):
            yield key, old.get(key, "absent"), new.get(key, "absent")


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    items: dict[str, Any] = {}
    for key, item in value.items():
        nested = isinstance(item, Mapping)
        items |= _flat(item, f"{prefix}{key}.") if nested else {f"{prefix}{key}": item}
    return items
