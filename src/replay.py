"""Entry point: `python -m src.replay RUN` trains again from a run's folder and compares."""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from src.cli import one_line_errors
from src.config import OUTPUTS, parse, register
from src.errors import InputError
from src.resume import ENDED, load_config, load_result

TIMES = ("train_seconds", "wall_seconds")  # of a row; no two runs share them
Difference = tuple[str, Any, Any]  # what, recorded, replayed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.replay", description=__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument(
        "--config-only", action="store_true", help="print the command that would repeat it"
    )
    parser.add_argument("--into", type=Path, help="where to train (default: outputs/replays/...)")
    arguments = parser.parse_args()
    identical = True
    with one_line_errors():
        register()
        if arguments.config_only:
            print(command(arguments.run))
        else:
            identical = replay(arguments.run.absolute(), arguments.into)
    sys.exit(0 if identical else 1)


def replay(folder: Path, into: Path | None = None) -> bool:
    """Train again in a new folder, print what differs, and tell whether nothing that counts does.

    Raises:
        InputError: the folder holds no run that can be repeated.
    """
    import torch
    from omegaconf import OmegaConf

    from src.results import claim
    from src.run import run, snapshot

    cfg = OmegaConf.create({**load_config(folder), "trial": None, "resume": None, "logger": {}})
    config, recorded = parse(cfg), _read(folder)
    threads = recorded["provenance"].get("threads")
    if config.trainer.threads is None and type(threads) is int and threads > 0:
        torch.set_num_threads(threads)  # another number of threads adds up in another order
    stamp = datetime.now().strftime("%Y-%m-%d-%H-%M-%S")
    default = OUTPUTS / "replays" / f"{stamp}-{folder.name}"
    place = claim(into or default, exact=into is not None)
    # A trial that was pruned ended because of other trials: here it ends at the same row.
    status, rows = recorded["result"].get("status"), count(1)
    last = len(recorded["rows"]) if status == "pruned" else None
    run(config, snapshot(cfg), place, lambda row: next(rows) == last)
    return _compare(recorded, _read(place), place)


def _read(folder: Path) -> dict[str, Any]:
    """A run's rows, result and provenance; empty where it left none."""
    from src.files import inside
    from src.results import read_rows

    try:
        place = inside(folder, "provenance.json")
        provenance = json.loads(place.read_text()) if place.is_file() else {}
        rows = read_rows(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: {error}") from error
    return {"rows": rows, "result": load_result(folder) or {}, "provenance": provenance}


def _compare(recorded: dict[str, Any], replayed: dict[str, Any], place: Path) -> bool:
    """Print the verdict; where it isn't 'identical', what differs first."""
    from rich.console import Console
    from rich.table import Table

    differences = list(_differences(recorded, replayed))
    print(f"replayed in {place}")
    if not differences:
        rows = len(recorded["rows"])
        ended = recorded["result"].get("status") in ENDED
        print(
            f"identical: {rows} rows{' and the weights' if ended else ' (it was never finished)'}"
        )
        return True
    table = Table("what", "recorded", "replayed", title="different", title_justify="left")
    for what, was, now in (*differences, *_environment(recorded, replayed)):
        table.add_row(what, str(was), str(now))
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=160)).print(table)
    return False


def _differences(recorded: dict[str, Any], replayed: dict[str, Any]) -> Iterator[Difference]:
    """The first row that differs, and the weights of a run that was finished."""
    for number, row in enumerate(recorded["rows"]):
        other = replayed["rows"][number] if number < len(replayed["rows"]) else {}
        keys = [key for key in row if key not in TIMES and row[key] != other.get(key)]
        if keys:
            for key in keys:
                yield f"row {number + 1}, {key}", row[key], other.get(key, "absent")
            break
    result, other = recorded["result"], replayed["result"]
    if result.get("status") in ENDED:
        counts = len(recorded["rows"]), len(replayed["rows"])
        if counts[0] != counts[1]:
            yield "rows", *counts
        for key in ("status", "weights_sha256"):
            if result.get(key) != other.get(key):
                yield key, result.get(key), other.get(key)


def _environment(recorded: dict[str, Any], replayed: dict[str, Any]) -> Iterator[Difference]:
    """What differs in the provenance, but for what differs every time."""
    old, new = (_flat(one["provenance"]) for one in (recorded, replayed))
    for key in sorted({*old, *new} - {"command", "working_directory"}):
        if old.get(key) != new.get(key):
            yield key, old.get(key, "absent"), new.get(key, "absent")


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    items: dict[str, Any] = {}
    for key, item in value.items():
        nested = isinstance(item, Mapping)
        items |= _flat(item, f"{prefix}{key}.") if nested else {f"{prefix}{key}": item}
    return items


def command(folder: Path) -> str:
    """The command line that repeats the run, whatever has changed in the defaults since.

    Raises:
        InputError: the folder holds no run.
    """
    from omegaconf import OmegaConf

    epochs = load_config(folder)["trainer"]["epochs"]  # a resumed run may have been lengthened
    try:
        hydra = OmegaConf.load(folder / ".hydra" / "hydra.yaml").hydra
        overrides = OmegaConf.to_container(OmegaConf.load(folder / ".hydra" / "overrides.yaml"))
    except OSError as error:
        raise InputError(f"{folder}: its .hydra folder is missing") from error
    assert isinstance(overrides, list)
    sources = [
        source.path for source in hydra.runtime.config_sources if source.provider == "command-line"
    ]
    given = [item for path in sources for item in ("--config-dir", path)]
    dropped = ("trial=", "trainer.epochs=")
    kept = [str(item) for item in overrides if not str(item).startswith(dropped)]
    return shlex.join(["python", "-m", "src.train", *given, *kept, f"trainer.epochs={epochs}"])


if __name__ == "__main__":
    main()
