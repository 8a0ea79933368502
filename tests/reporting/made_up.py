"""Made-up comparisons: what `src.compare` leaves, without training anything."""

import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

RATES = {"adam": 1e-3, "nesterov": 0.1, "momentum": 0.08, "sgd": 0.5}
METHODS = tuple(RATES)
HOSTILE = (
    "<script>alert(1)</script>",
    '"onload="alert(2)',
    "${alert(3)} `x` {{7*7}}",
    r"\input{x} 100% & $5_6^7 # ~ {}",
    "_hidden | a\nb\u202e",
)


def comparison(
    methods: tuple[str, ...] = METHODS, seeds: int = 10, trials: int = 16, searches: int = 1
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A whole comparison: its facts and its runs. Later methods are a little worse."""
    generator = np.random.default_rng(7)
    runs = [
        run(generator, name, place, kind, search, seed)
        for place, name in enumerate(methods)
        for kind in ("tuned", "default")
        for search in range(searches if kind == "tuned" else 1)
        for seed in range(seeds)
    ]
    found = [
        a_search(generator, name, place, search, trials)
        for place, name in enumerate(methods)
        for search in range(searches)
    ]
    table = [row(name, kind, runs) for kind in ("tuned", "default") for name in methods]
    facts = {
        "name": "mnist-four",
        "created": "2026-01-02T03:04:05+00:00",
        "hash": "3f2a9c0d1e",
        "metric": "test_loss",
        "direction": "minimize",
        "selection_metric": "val_loss",
        "sentence": f"{methods[0]} is better than {methods[-1]} by 0.012 in test loss.",
        "withheld": [],
        "reference": methods[-1],
        "target": {"metric": "val_loss", "value": 0.14},
        "timing": {"valid": False, "text": "runs were made 2 at a time."},
        "protocol": {"n_trials": trials, "searches": searches, "seeds": seeds, "epochs": 2},
        "environment": {"python": "3.11", "packages": {"torch": "2.15.0"}, "cpu": "a CPU"},
        "ledger": [
            {"time": "2026-01-02T03:00:00+00:00", "event": "search", "detail": f"{name}: done"}
            for name in methods
        ],
        "methods": list(methods),
        "table": table,
        "pairs": [pair(a, b, seeds) for a, b in combinations(methods, 2)],
        "searches": found,
        "runs": "runs.jsonl",
    }
    return facts, runs


def run(generator: Any, name: str, place: int, kind: str, search: int, seed: int) -> dict[str, Any]:
    """One run of 20 evaluations."""
    floor = 0.08 * (1 + 0.15 * place) * (1 if kind == "tuned" else 1.5)
    floor *= math.exp(0.05 * generator.normal())
    steps = np.arange(1, 21) * 47
    losses = floor + 2.2 * np.exp(-steps / (90 + 25 * place)) + 0.002 * generator.random(20)
    rows = [
        {
            "step": int(step),
            "samples": int(step) * 128,
            "train_seconds": float(step) * 0.004 * (1 + 0.02 * seed),
            "val_loss": float(loss),
            "val_accuracy": float(1 - 0.3 * loss),
        }
        for step, loss in zip(steps, losses, strict=True)
    ]
    first = next((one for one in rows if one["val_loss"] <= 0.14), None)
    return {
        "method": name,
        "kind": kind,
        "search": search,
        "seed": seed,
        "status": "completed",
        "params": {"optimizer.lr": RATES.get(name, 0.01)},
        "test_loss": float(losses[-1] * 1.03),
        "test_accuracy": float(1 - 0.3 * losses[-1]),
        "steps": 940,
        "train_seconds": rows[-1]["train_seconds"],
        "steps_to_target": first and first["step"],
        "seconds_to_target": first and first["train_seconds"],
        "area": float(losses.mean()),
        "rows": rows,
    }


def a_search(generator: Any, name: str, place: int, search: int, count: int) -> dict[str, Any]:
    trials = []
    for number in range(count):
        rate = 10 ** generator.uniform(-5, 0)
        momentum = float(generator.uniform(0, 0.99))
        off = math.log10(rate / RATES.get(name, 0.01))
        state = "diverged" if off > 1.4 else "pruned" if off < -2.5 else "complete"
        cost = 0.08 * (1 + 0.15 * place) * math.exp(0.9 * off**2 + 0.2 * momentum)
        trials.append(
            {
                "number": number,
                "state": state,
                "value": None if state == "diverged" else min(cost, 2.3),
                "params": {"optimizer.lr": rate, "optimizer.momentum": momentum},
                "seconds": 3.5,
                "steps": 940,
            }
        )
    return {
        "method": name,
        "search": search,
        "study": f"{name}-{search}",
        "space": {
            "optimizer.lr": {"low": 1e-5, "high": 1.0, "log": True},
            "optimizer.momentum": {"low": 0.0, "high": 0.99, "log": False},
        },
        "importance": {"optimizer.lr": 0.91, "optimizer.momentum": 0.09},
        "trials": trials,
    }


def row(name: str, kind: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    chosen = [one for one in runs if (one["method"], one["kind"]) == (name, kind)]
    keys = ("test_loss", "test_accuracy", "steps_to_target", "seconds_to_target", "area")
    found: dict[str, Any] = {"method": name, "kind": kind, "n": len(chosen)}
    found["diverged"] = sum(one["status"] == "diverged" for one in chosen)
    for key in keys:
        values = [one[key] for one in chosen if one[key] is not None]
        mean = float(np.mean(values)) if values else None
        std = float(np.std(values, ddof=1)) if len(values) > 1 else None
        found[key] = {"mean": mean, "std": std}
        if "target" in key:
            found[key]["reached"] = len(values)
    return found


def pair(a: str, b: str, seeds: int) -> dict[str, Any]:
    close = {a, b} == {"nesterov", "momentum"}
    return {
        "a": a,
        "b": b,
        "n": seeds,
        "difference": -0.002 if close else -0.012,
        "low": -0.006 if close else -0.016,
        "high": 0.001 if close else -0.009,
        "p": 0.2 if close else 0.002,
        "p_holm": 0.2 if close else 0.012,
        "effect": -0.4 if close else -2.1,
        "detectable": 0.005,
        "seeds_to_settle": 34 if close else None,
        "verdict": "undecided" if close else "better",
    }


def write(folder: Path, facts: dict[str, Any], runs: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.json").write_text(json.dumps(facts), encoding="utf-8")
    lines = "".join(json.dumps(one) + "\n" for one in runs)
    (folder / "runs.jsonl").write_text(lines, encoding="utf-8")
    return folder
