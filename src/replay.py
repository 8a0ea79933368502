"""Entry point: `python -m src.replay RUN` trains again from a run's folder and compares.

Of a comparison's folder it trains a random sample of the runs again.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from src.cli import one_line_errors
from src.config import OUTPUTS, parse
from src.errors import InputError
from src.results.folder import load_config, load_json
from src.results.identity import Difference, config_digest, environment, threads
from src.results.status import ENDED, Status

SAMPLE = 3  # runs of a comparison that are trained again
COMPARISON = "comparison.json"
TIMES = ("train_seconds", "wall_seconds")  # of a row; no two runs share them


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.replay", description=__doc__)
    parser.add_argument("run", type=Path, help="the run's folder, or a comparison's")
    parser.add_argument("--sample", type=int, default=SAMPLE, metavar="N",
                        help=f"how many runs of a comparison (default: {SAMPLE})")  # fmt: skip
    parser.add_argument("--into", type=Path, help="where to train (default: outputs/replays/...)")
    parser.add_argument("--data-root", help="where the data set is now (default: where it was)")
    parser.add_argument("--data-path", help="where the data's file is now (default: where it was)")
    arguments = parser.parse_args()
    moved = {"root": arguments.data_root, "path": arguments.data_path}
    with one_line_errors():
        folder = arguments.run.absolute()
        if (folder / COMPARISON).is_file():
            identical = replay_comparison(folder, arguments.sample, arguments.into, moved)
        else:
            identical = replay(folder, arguments.into, moved)
    sys.exit(0 if identical else 1)


def replay(
    folder: Path, into: Path | None = None, moved: Mapping[str, str | None] | None = None
) -> bool:
    """Train again in a new folder, print what differs; return whether rows and weights are equal.

    Args:
        folder: the run's; nothing is written there.
        into: the new folder; None makes one in `outputs/replays/`.
        moved: where the data are now, by `root` or `path`; None takes them from where they were.

    Raises:
        InputError: the folder holds no run that can be repeated.
    """
    from omegaconf import OmegaConf

    from src.results import claim
    from src.training.rehearsal import check
    from src.training.run import run, snapshot

    cfg = OmegaConf.create({**load_config(folder), "trial": None, "resume": None, "logger": {}})
    for key, place in (moved or {}).items():
        if place is not None and key not in cfg.data:
            raise InputError(f"--data-{key}={place}: the run's data have no data.{key}")
        if place is not None:
            OmegaConf.update(cfg, f"data.{key}", place)
    config, recorded = parse(cfg), _read(folder)
    if not recorded["rows"] and not recorded["result"]:
        raise InputError(f"{folder}: the run left no row and no result to compare with")
    check(config)  # so that a mistake leaves no folder
    new = claim(into or _new_folder(folder), exact=into is not None)
    print(f"training again in {new}")
    # A run that was cut short, a pruned trial say, ends here at the row where it ended there.
    finished = recorded["result"].get("status") in set(ENDED) - {Status.PRUNED}
    rows, last = count(1), None if finished else len(recorded["rows"])
    had = threads(recorded["provenance"])
    run(
        config,
        snapshot(cfg),
        new,
        stop=lambda row: next(rows) == last,
        quiet=True,
        keep_last=False,
        threads=had,
    )
    return _compare(recorded, _read(new))


def replay_comparison(
    folder: Path,
    sample: int,
    into: Path | None = None,
    moved: Mapping[str, str | None] | None = None,
) -> bool:
    """Train some runs of a comparison again, chosen at random; return whether all are the same.

    Args:
        folder: the comparison's, wherever it was moved to.
        sample: how many runs.
        into: a folder for the new ones; None makes one in `outputs/replays/`.
        moved: where the data are now, as of `replay`.

    Raises:
        InputError: there is no such number of runs, or one can't be repeated.
    """
    runs = sorted(path.parent for path in folder.glob("runs/*/result.json"))
    if sample < 1 or not runs:
        raise InputError(f"{folder}: --sample={sample}: must be from 1 to its {len(runs)} runs")
    chosen = random.Random().sample(runs, min(sample, len(runs)))
    into = into or _new_folder(folder)
    same = []
    for run in chosen:
        print(f"{run.name}: ", end="", flush=True)
        same.append(replay(run, into / run.name, moved))
    print(f"{sum(same)} of {len(same)} runs, drawn from {len(runs)}, came out the same to the bit")
    return all(same)


def _new_folder(folder: Path) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d-%H-%M-%S")
    return OUTPUTS / "replays" / f"{stamp}-{folder.name}"


def _read(folder: Path) -> dict[str, Any]:
    """A run's rows, result and provenance; empty if the run left none."""
    from omegaconf import OmegaConf

    from src.results import read_rows

    config = parse(OmegaConf.create(load_config(folder)))
    try:
        rows = read_rows(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: metrics.jsonl: {error}") from error
    return {
        "rows": rows,
        "result": load_json(folder, "result.json") or {},
        "provenance": load_json(folder, "provenance.json") or {},
        "config_sha256": config_digest(config),
    }


def _compare(recorded: dict[str, Any], replayed: dict[str, Any]) -> bool:
    """Print 'identical', or a table of what differs."""
    from rich.table import Table
    from rich.text import Text

    from src.console import stdout

    differences = list(_differences(recorded, replayed))
    if not differences:
        rows = len(recorded["rows"])
        ended = recorded["result"].get("status") in ENDED
        print(
            f"identical: {rows} rows{' and the weights' if ended else ' (it was never finished)'}"
        )
        return True
    table = Table("what", "recorded", "replayed", title="different", title_justify="left")
    surroundings = environment(recorded["provenance"], replayed["provenance"])
    for line in (*differences, *surroundings, *_altered(recorded)):
        table.add_row(*(Text(str(cell)) for cell in line))  # never markup
    stdout().print(table)
    return False


def _differences(recorded: dict[str, Any], replayed: dict[str, Any]) -> Iterator[Difference]:
    """The first row that differs, and the weights of a run that was finished."""
    for number, row in enumerate(recorded["rows"]):
        other = replayed["rows"][number] if number < len(replayed["rows"]) else {}
        names = [name for name in {**row, **other} if name not in TIMES]
        keys = [name for name in names if row.get(name, "absent") != other.get(name, "absent")]
        for key in keys:
            yield f"row {number + 1}, {key}", row.get(key, "absent"), other.get(key, "absent")
        if keys:
            break
    result, other = recorded["result"], replayed["result"]
    if result.get("status") in ENDED:
        counts = len(recorded["rows"]), len(replayed["rows"])
        if counts[0] != counts[1]:
            yield "rows", *counts
        for key in ("status", "weights_sha256"):
            if result.get(key) != other.get(key):
                yield key, result.get(key), other.get(key)


def _altered(recorded: dict[str, Any]) -> Iterator[Difference]:
    """The digests of config.yaml now and when the result was made, if they differ."""
    made_with, now = recorded["result"].get("config_sha256"), recorded["config_sha256"]
    if made_with not in (None, now):
        yield "config.yaml's digest", made_with, now


if __name__ == "__main__":
    main()
