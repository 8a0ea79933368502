"""Entry point: `python -m src.problems` lists problems and suites, `... NAME` describes one."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src import config as paths
from src.cli import one_line_errors
from src.console import stdout
from src.errors import InputError
from src.metrics import SETS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.problems", description=__doc__)
    parser.add_argument("name", nargs="?", help="of a problem; none lists all, and the suites")
    parser.add_argument("--out", type=Path, help="where to write the picture of its data")
    arguments = parser.parse_args()
    with one_line_errors():
        if arguments.name is None:
            list_all()
        else:
            describe(arguments.name, arguments.out)


def list_all() -> None:
    """Print a table of problems and one of suites."""
    from src.suites import measured, problems, suite, suites

    known, described = measured(), problems()
    rows = [(name, *sizes(known.get(name)), text) for name, text in described.items()]
    _print("problems: problem=NAME; seconds of a run with AdamW, on one core",
           ("problem", "train", "input → target", "parameters", "loss", "seconds", "what it is"),
           rows, right=(1, 3, 5))  # fmt: skip
    lines = []
    for name, text in suites().items():
        names = suite(name)
        times = [known[each]["seconds"] for each in names if each in known]
        unknown = len(names) - len(times)
        seconds = f"{sum(times):.1f}" + (f" and {unknown} not measured" if unknown else "")
        lines.append((name, str(len(names)), seconds, text, ", ".join(names)))
    _print("\nsuites", ("suite", "problems", "seconds", "what it is", "which"), lines, right=(1,))


def sizes(facts: dict[str, Any] | None) -> tuple[str, ...]:
    """A problem's cells of the table."""
    if facts is None:
        return ("", "", "", "", "")
    return (
        f"{facts['rows'][0]:,}",
        kinds(facts["input"], facts["vocabulary"], facts["target"], facts["classes"]),
        f"{facts['parameters']:,}",
        facts["loss"],
        f"{facts['seconds']:g}",
    )


def kinds(inputs: list[int], vocabulary: int | None, target: list[int], classes: int | None) -> str:
    """1×8×8 → 10 classes, say."""
    first = "×".join(map(str, inputs)) + (f" of {vocabulary} tokens" if vocabulary else "")
    size = "×".join(map(str, target))
    each = f"{classes} classes" if classes is not None else ""
    return f"{first} → {' of '.join(part for part in (size, each) if part) or 'a number'}"


def _print(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]
) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, name in enumerate(head):
        last = number == len(head) - 1
        table.add_column(
            name,
            justify="right" if number in right else "left",
            no_wrap=not last,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    stdout().print(table)


def describe(name: str, out: Path | None) -> None:
    """Print a problem's data, model and loss, and draw its data.

    Raises:
        InputError: there is no such problem, its data are missing, or nothing can be written.
    """
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from src.composing import register
    from src.config import CONF, parse
    from src.suites import check_problem, measured, problems

    check_problem(name)
    register()
    with initialize_config_dir(str(CONF)):
        composed = compose("config", [f"problem={name}"])
    from src.training.build import assemble  # torch takes a while to import

    config = parse(composed)
    parts = assemble(config)
    splits = [getattr(parts.data, kind) for kind in SETS]
    shapes = parts.data.shapes
    console = stdout()
    console.print(f"{name}: {problems()[name]}\n")
    rows = ", ".join(f"{len(part):,} {kind}" for part, kind in zip(splits, SETS, strict=True))
    parameters = sum(each.numel() for each in parts.model.parameters())
    metrics = ", ".join(parts.loss.directions())
    lines = {
        "rows": rows,
        "input → target": kinds(
            list(shapes.input), shapes.vocabulary, list(shapes.target), shapes.classes
        ),
        "parameters": f"{parameters:,}",
        "metrics": f"{metrics}; the objective is {config.objective.metric}",
        "data_sha256": parts.data.sha256,
        **reached(measured().get(name)),
    }
    for key, value in lines.items():
        console.print(f"  {key:<16}{value}")
    groups = OmegaConf.to_container(composed)
    assert isinstance(groups, dict)
    kept = {key: groups[key] for key in ("data", "model", "loss")}
    epochs = {"trainer": {"epochs": config.trainer.epochs}}
    console.print("\n" + OmegaConf.to_yaml(OmegaConf.create({**kept, **epochs})).rstrip())
    print(f"\npicture: {draw(name, parts.data, out)}")


def reached(facts: dict[str, Any] | None) -> dict[str, str]:
    """What was measured of a problem, in words."""
    if facts is None:
        return {}
    lines = {"seconds": f"{facts['seconds']:g} of one core, with AdamW"}
    for key, words in (("default", "AdamW as it is"), ("tuned", "AdamW, tuned")):
        mean, deviation = facts[key]["test_loss"]
        lines[words] = f"test loss {mean:.4g} ± {deviation:.2g} (lr {facts[key]['lr']:g})"
    return lines


def draw(name: str, data: Any, out: Path | None) -> Path:
    """Write the picture as png and svg; return the png's path.

    Raises:
        InputError: it can't be written.
    """
    from src.files import write_whole
    from src.reporting.data_picture import pictures

    inputs, targets = data.train.inputs.numpy(), data.train.targets.numpy()
    drawn = pictures(name, inputs, targets, data.shapes.classes, data.shapes.vocabulary)
    folder = (out or paths.OUTPUTS / "problems").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for ending, content in drawn.items():
            write_whole(folder / f"{name}.{ending}", content)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror or error}") from error
    return folder / f"{name}.png"


if __name__ == "__main__":
    main()
