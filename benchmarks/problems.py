"""What AdamW reaches on each built-in problem, at its defaults and tuned, over 10 seeds.

    python benchmarks/problems.py                # all that need no download
    python benchmarks/problems.py wine text      # these, the others as they were measured before

Writes docs/problems.json, from which `python -m src.problems` takes its figures, and the table of
docs/problems.md. A tuned AdamW has the learning rate, of eight, whose runs with three other seeds
had the best mean objective. Losses are exact; seconds are the processor's, on one core.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hydra import compose, initialize_config_dir  # noqa: E402

from src.composing import register  # noqa: E402
from src.config import CONF, Config, parse  # noqa: E402
from src.problems import kinds  # noqa: E402
from src.training.build import Parts, assemble  # noqa: E402
from src.training.device import set_threads  # noqa: E402
from src.training.evaluation import Evaluator  # noqa: E402
from src.training.loop import Position, train  # noqa: E402

JSON, PAGE = ROOT / "docs" / "problems.json", ROOT / "docs" / "problems.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
TUNING_SEEDS = (1000, 1001, 1002)
SETS = ("train", "val", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="in conf/problem; none measures all")
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    known = json.loads(JSON.read_text()) if JSON.is_file() else {}
    every = sorted(path.stem for path in (CONF / "problem").glob("*.yaml"))
    register()
    for name in arguments.names or [name for name in every if needs_no_download(name)]:
        known[name] = measured(name, arguments.seeds)
        known = {key: known[key] for key in every if key in known}
        JSON.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{name}: {json.dumps(known[name])}", flush=True)
    if PAGE.is_file():
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + table(known) + END + rest.partition(END)[2], "utf-8")


def composed(name: str, *overrides: str) -> Config:
    with initialize_config_dir(str(CONF)):
        config = compose("config", [f"problem={name}", "optimizer=adamw", *overrides])
    return parse(config)


def needs_no_download(name: str) -> bool:
    return "root" not in composed(name).data.source


def measured(name: str, seeds: int) -> dict[str, Any]:
    """A problem's sizes and what AdamW reaches."""
    first = composed(name)
    described = sizes(first, assemble(first))
    searched = {rate: [run(name, seed, rate) for seed in TUNING_SEEDS] for rate in RATES}
    cost = {rate: sum(each["cost"] for each in runs) for rate, runs in searched.items()}
    best = min(cost, key=lambda rate: cost[rate])
    default = [run(name, seed, None) for seed in range(seeds)]
    tuned = [run(name, seed, best) for seed in range(seeds)]
    seconds = statistics.median(each["seconds"] for each in default)
    return {
        **described,
        "seconds": float(f"{seconds:.2g}"),
        "default": reached(default),
        "tuned": reached(tuned),
    }


def sizes(config: Config, parts: Parts) -> dict[str, Any]:
    shapes = parts.data.shapes
    return {
        "rows": [len(getattr(parts.data, each)) for each in SETS],
        "input": list(shapes.input),
        "vocabulary": shapes.vocabulary,
        "target": list(shapes.target),
        "classes": shapes.classes,
        "model": config.model["_target_"].rpartition(".")[2],
        "parameters": sum(each.numel() for each in parts.model.parameters()),
        "loss": config.loss["_target_"].rpartition(".")[2],
        "batch_size": config.data.batch_size,
        "epochs": config.trainer.epochs,
        "metric": config.objective.metric,
    }


def run(name: str, seed: int, rate: float | None) -> dict[str, Any]:
    """A run's objective as a cost, the row that has it, the last row, and processor seconds."""
    given = [] if rate is None else [f"optimizer.lr={rate}"]
    config = composed(
        name, f"seed={seed}", "trainer.device=cpu", "trainer.threads=1",
        "trainer.evaluate=[train,val,test]", *given,
    )  # fmt: skip
    parts = assemble(config)
    set_threads(config, parts.model, None)
    started = time.process_time()
    rows = list(train(
        parts.model, parts.loss, parts.optimizer, parts.schedule, parts.batches,
        Evaluator(parts, SETS), Position(), seed=seed, epochs=config.trainer.epochs,
        evaluate_every=config.trainer.evaluate_every,
    ))  # fmt: skip
    metric, sign = config.objective.metric, 1 if config.objective.direction == "minimize" else -1
    best = min(rows, key=lambda row: sign * row[metric] if row[metric] == row[metric] else 1e300)
    return {
        "lr": config.optimizer["lr"],
        "cost": sign * best[metric],
        "best": best,
        "last": rows[-1],
        "seconds": time.process_time() - started,
    }


def reached(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, of each metric that tells something."""
    kinds = [key for key in runs[0]["best"] if key.startswith("test_")]
    values = {key: [each["best"][key] for each in runs] for key in kinds}
    values["train_loss"] = [each["last"]["train_loss"] for each in runs]
    return {"lr": runs[0]["lr"]} | {
        key: [float(f"{number:.4g}") for number in (statistics.mean(each), statistics.stdev(each))]
        for key, each in values.items()
    }


def table(known: dict[str, Any]) -> str:
    """As it stands in docs/problems.md."""
    head = ("problem", "train, val, test", "input → target", "parameters", "loss", "batch, epochs",
            "seconds", "AdamW as it is", "AdamW, tuned")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, facts in known.items():
        cells = (
            f"`{name}`", ", ".join(f"{each:,}" for each in facts["rows"]),
            kinds(facts["input"], facts["vocabulary"], facts["target"], facts["classes"]),
            f"{facts['parameters']:,}", facts["loss"],
            f"{facts['batch_size']}, {facts['epochs']}", f"{facts['seconds']:g}",
            shown(facts["default"]), f"{shown(facts['tuned'])} (lr {facts['tuned']['lr']:g})",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def shown(values: dict[str, Any]) -> str:
    """The test loss, and the accuracy if there is one."""
    mean, deviation = values["test_loss"]
    text = f"{mean:.4g} ± {deviation:.2g}"
    if "test_accuracy" in values:
        text += f"; {100 * values['test_accuracy'][0]:.1f} %"
    return text


if __name__ == "__main__":
    main()
