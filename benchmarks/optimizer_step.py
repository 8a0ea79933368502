"""Each method's step() beside its twin's in torch.optim, at each of torch's settings.

All forms of a method take turns, in bursts of about a millisecond, and each form's time is the
lower decile of its bursts: what it takes when the machine is left alone for that long. The median
would measure whatever else runs.

    python benchmarks/optimizer_step.py [--methods adam lion] [--seconds 4]
"""

import argparse
import itertools
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from src import optimizers

SIZES = {"MLP 784-100-10": (784, 100, 10), "10 M parameters": (784, 2400, 2400, 1000, 10)}
FORMS = {"for-loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
BURST = 1e-3
LIMITS = {"best": 1.5, "for-loop": 1.1}


class MuonAndAdamW(torch.optim.Muon):
    """Two of torch's optimizers stepped as one."""

    def __init__(self, params: list[Tensor], **form: bool) -> None:
        super().__init__([p for p in params if p.ndim == 2])
        self.rest = torch.optim.AdamW([p for p in params if p.ndim != 2], **form)

    def step(self, closure: None = None) -> None:
        super().step()
        self.rest.step()


# method -> (ours, settings, twin, settings)
METHODS: dict[str, tuple[type, dict, type | None, dict]] = {
    "sgd": (optimizers.SGD, {}, torch.optim.SGD, {}),
    "momentum": (optimizers.Momentum, {}, torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (optimizers.Nesterov, {}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (optimizers.Adam, {}, torch.optim.Adam, {}),
    "adagrad": (optimizers.AdaGrad, {}, torch.optim.Adagrad, {}),
    "rmsprop": (optimizers.RMSProp, {}, torch.optim.RMSprop, {}),
    "rmsprop centred": (
        optimizers.RMSProp,
        {"centered": True},
        torch.optim.RMSprop,
        {"centered": True},
    ),
    "adadelta": (optimizers.AdaDelta, {}, torch.optim.Adadelta, {}),
    "adamax": (optimizers.AdaMax, {}, torch.optim.Adamax, {}),
    "amsgrad": (optimizers.AMSGrad, {}, torch.optim.Adam, {"amsgrad": True}),
    "adamw": (optimizers.AdamW, {}, torch.optim.AdamW, {}),
    "nadam": (optimizers.NAdam, {}, torch.optim.NAdam, {}),
    "radam": (optimizers.RAdam, {}, torch.optim.RAdam, {}),
    "lion": (optimizers.Lion, {}, None, {}),
    "cautious_adamw": (optimizers.CautiousAdamW, {}, None, {}),
    "cautious_lion": (optimizers.CautiousLion, {}, None, {}),
    "lamb": (optimizers.LAMB, {}, None, {}),
    "muon": (optimizers.Muon, {}, MuonAndAdamW, {}),
}


def parameters(sizes: tuple[int, ...]) -> list[Tensor]:
    """The weights and biases of a network of linear layers, with gradients."""
    shapes = [s for i, o in itertools.pairwise(sizes) for s in ((o, i), (o,))]
    params = [torch.randn(shape) for shape in shapes]
    for param in params:
        param.grad = torch.empty_like(param).normal_(std=0.01)
    return params


def forms(method: str, params: list[Tensor]) -> dict[str, torch.optim.Optimizer]:
    """The method's optimizer and every form of its twin that torch has."""
    ours, settings, twin, twin_settings = METHODS[method]

    def copies() -> list[Tensor]:
        clones = [param.clone() for param in params]
        for clone, param in zip(clones, params, strict=True):
            clone.grad = param.grad
        return clones

    built = {"ours": ours(copies(), **settings)}
    if "fused" in built["ours"].defaults:
        built["ours, plain rule"] = ours(copies(), **settings, fused=False)
    for name, form in FORMS.items() if twin else ():
        try:
            built[name] = twin(copies(), **twin_settings, **form)
        except TypeError:
            continue
    return built


def seconds(step: Callable[[], object], repeats: int) -> float:
    """Mean time of one call."""
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


def measure(
    built: dict[str, torch.optim.Optimizer], grads: list[Tensor], budget: float
) -> dict[str, list[float]]:
    """Times per step of every form, burst by burst, until the budget in seconds is spent."""
    for optimizer in built.values():
        optimizer.step()
    repeats = {name: max(1, round(BURST / seconds(built[name].step, 1))) for name in built}
    times: dict[str, list[float]] = {name: [] for name in built}
    end = time.perf_counter() + budget
    while time.perf_counter() < end or len(times["ours"]) < 10:
        if len(times["ours"]) % 10 == 0:
            for grad in grads:  # shared by all; a constant one would make a variance of 0
                grad.normal_(std=0.01)
        for name, optimizer in built.items():
            times[name].append(seconds(optimizer.step, repeats[name]))
    return times


def row(method: str, times: dict[str, list[float]]) -> str:
    """One line of the table: microseconds, then the ratios."""
    low = {name: statistics.quantiles(values, n=10)[0] for name, values in times.items()}
    columns = ["ours", "ours, plain rule", *FORMS]
    cells = [f"{1e6 * low[name]:11.1f}" if name in low else " " * 10 + "-" for name in columns]
    twins = [low[name] for name in FORMS if name in low]
    if not twins:
        return f"{method:16}" + "".join(cells) + "   no twin"
    found = {"best": low["ours"] / min(twins), "for-loop": low["ours"] / low["for-loop"]}
    over = [name for name, limit in LIMITS.items() if found[name] > limit]
    cells += [f"{value:11.2f}" for value in found.values()]
    cells += [f"   over the limit: {', '.join(over)}"] if over else []
    return f"{method:16}" + "".join(cells)


def table(methods: Iterable[str], budget: float) -> Iterable[str]:
    """The lines, as they are measured."""
    head = ["ours", "plain rule", *FORMS, "/ best", "/ for-loop"]
    yield f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"
    yield f"µs per step: lower decile of bursts within {budget} s for all forms of a method"
    for title, sizes in SIZES.items():
        params = parameters(sizes)
        grads = [param.grad for param in params]
        yield f"\n{title} ({sum(param.numel() for param in params):,} parameters)"
        yield f"{'':16}" + "".join(f"{name:>11}" for name in head)
        for method in methods:
            yield row(method, measure(forms(method, params), grads, budget))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seconds", type=float, default=4.0, help="per method and model")
    chosen = parser.parse_args()
    for line in table(chosen.methods, chosen.seconds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
