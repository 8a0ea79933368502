"""Made-up comparisons over several problems."""

from datetime import datetime
from itertools import combinations
from typing import Any

import numpy as np

from src.comparing.overall import Overall
from src.comparing.overall_verdict import judge
from src.comparing.record import Comparison

METHODS = ("muon", "soap", "ademamix", "cautious_adamw", "adamw", "schedule_free_adamw", "prodigy",
           "lion", "nadamw", "momentum", "sgd", "adagrad")  # fmt: skip
PROBLEMS = ("digits_mlp", "digits_logreg", "wine", "breast_cancer", "diabetes", "quadratic",
            "linear_regression", "spirals", "autoencoder", "teacher_student", "modular_addition",
            "char_transformer")  # fmt: skip
NOW = datetime(2026, 1, 2, 3, 4, 5)


def comparisons(
    methods: tuple[str, ...] = METHODS, problems: tuple[str, ...] = PROBLEMS, seeds: int = 8
) -> dict[str, Comparison]:
    """Later methods are a little worse, more so on some problems; some end in accuracies."""
    generator = np.random.default_rng(7)
    return {name: _problem(generator, number, methods, seeds)
            for number, name in enumerate(problems)}  # fmt: skip


def _problem(generator: Any, number: int, methods: tuple[str, ...], seeds: int) -> Comparison:
    maximized = number % 3 == 2
    scale = 10.0 ** generator.integers(-2, 2)
    floors = 5 + generator.normal(0, 1.5, len(methods)) + 0.6 * np.arange(len(methods))
    runs, means = [], {}
    for method, floor in zip(methods, floors, strict=True):
        rate = 3 + 2 * generator.random() + 0.4 * methods.index(method)
        finals = floor + generator.normal(0, 1, seeds)
        means[method] = finals.mean()
        for seed, final in enumerate(finals):
            losses = scale * (final + 10 * np.exp(-np.arange(1, 21) / rate))
            value = 0.9 - 0.01 * final if maximized else losses[-1]
            rows = [{"step": 50 * n, "samples": n, "val_loss": loss}
                    for n, loss in enumerate(losses.tolist(), 1)]  # fmt: skip
            runs.append({"method": method, "seed": 1000 + seed, "status": "completed",
                         "value": value, "rows": rows})  # fmt: skip
    pairs = [{"a": a, "b": b, "verdict": _verdict(means[b] - means[a])}
             for a, b in combinations(methods, 2)]  # fmt: skip
    doubt = {"check": "edge", "method": methods[-1], "text": f"{methods[-1]}: at the edge"}
    return Comparison.model_validate({
        "name": "one", "methods": methods, "runs": runs, "pairs": pairs,
        "metric": "test_accuracy" if maximized else "test_loss",
        "direction": "maximize" if maximized else "minimize",
        "target": {"metric": "val_loss", "value": scale * 9},
        "withheld": [doubt] if number == 1 else [],
        "sentence": f"{methods[0]} is best.",
    })  # fmt: skip


def _verdict(gain: float) -> str:
    if abs(gain) < 1:
        return "undecided" if abs(gain) > 0.5 else "equivalent"
    return "better" if gain > 0 else "worse"


def overall(methods: tuple[str, ...] = METHODS, problems: tuple[str, ...] = PROBLEMS) -> Overall:
    folders = {name: name for name in problems}
    return judge("twelve", comparisons(methods, problems), folders, NOW)
