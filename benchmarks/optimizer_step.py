"""Each method's step() beside its twin's in torch.optim, at each of torch's settings, or beside
other packages' for a method that torch has not.

All forms of a method take turns, in bursts of about a millisecond, and each form's time is the
lower decile of its bursts: what it takes when the machine is left alone for that long. The median
would measure whatever else runs.

    python benchmarks/optimizer_step.py [--methods adam lion] [--seconds 4] [--device cuda]

On a GPU a burst ends when the device is done.
"""

import argparse
import itertools
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import prodigyopt
import pytorch_optimizer
import schedulefree
import timm.optim
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from src import optimizers
from src.training.weights import training

SIZES = {"MLP 784-100-10": (784, 100, 10), "10 M parameters": (784, 2400, 2400, 1000, 10)}
FORMS = {"for-loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
BURST = 1e-3
BURSTS = 10  # at least
LIMITS = {"best": 1.5, "for-loop": 1.1, "packages": 1.2}
Twin = tuple[type, dict]


class MuonAndAdamW(torch.optim.Muon):
    """Two of torch's optimizers stepped as one."""

    def __init__(self, params: list[Tensor], **form: bool) -> None:
        super().__init__([p for p in params if p.ndim == 2])
        self.rest = torch.optim.AdamW([p for p in params if p.ndim != 2], **form)

    def step(self, closure: None = None) -> None:
        super().step()
        self.rest.step()


# method -> (ours, settings, twin, settings)
METHODS: dict[str, tuple[type, dict, type, dict]] = {
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
    "muon": (optimizers.Muon, {}, MuonAndAdamW, {}),
}
# method -> (ours, settings, the public implementations by name), for those that torch has not
PACKAGES: dict[str, tuple[type, dict, dict[str, Twin]]] = {
    "lion": (optimizers.Lion, {}, {"timm": (timm.optim.Lion, {})}),
    "cautious_adamw": (
        optimizers.CautiousAdamW,
        {},
        {"timm": (timm.optim.AdamWLegacy, {"caution": True})},
    ),
    "cautious_lion": (optimizers.CautiousLion, {}, {"timm": (timm.optim.Lion, {"caution": True})}),
    "lamb": (
        optimizers.LAMB,
        {},
        {
            "timm": (timm.optim.Lamb, {"max_grad_norm": None}),
            "pytorch_optimizer": (pytorch_optimizer.Lamb, {}),
        },
    ),
    "adopt": (
        optimizers.ADOPT,
        {},
        {
            "timm": (timm.optim.Adopt, {"clip_exp": 0.25}),
            "pytorch_optimizer": (pytorch_optimizer.ADOPT, {}),
        },
    ),
    "mars": (
        optimizers.MARS,
        {},
        {
            "timm": (timm.optim.Mars, {"optimize_1d": True}),
            "pytorch_optimizer": (pytorch_optimizer.MARS, {"optimize_1d": True}),
        },
    ),
    "adan": (
        optimizers.Adan,
        {},
        {
            "timm": (timm.optim.Adan, {"foreach": True}),
            "pytorch_optimizer": (pytorch_optimizer.Adan, {}),
        },
    ),
    "nadamw": (
        optimizers.NAdamW,
        {},
        {
            "timm": (timm.optim.NAdamW, {"foreach": False}),
            "timm foreach": (timm.optim.NAdamW, {"foreach": True}),
        },
    ),
    "adabelief": (
        optimizers.AdaBelief,
        {},
        {
            "timm": (timm.optim.AdaBelief, {"rectify": False}),
            "pytorch_optimizer": (pytorch_optimizer.AdaBelief, {}),
        },
    ),
    "ademamix": (
        optimizers.AdEMAMix,
        {},
        {"pytorch_optimizer": (pytorch_optimizer.AdEMAMix, {})},
    ),
    "schedule_free_adamw": (
        optimizers.ScheduleFreeAdamW,
        {},
        {
            "schedulefree": (schedulefree.AdamWScheduleFree, {}),
            "schedulefree plain": (schedulefree.AdamWScheduleFree, {"foreach": False}),
        },
    ),
    "schedule_free_sgd": (
        optimizers.ScheduleFreeSGD,
        {},
        {
            "schedulefree": (schedulefree.SGDScheduleFree, {"lr": 1.0}),
            "schedulefree plain": (schedulefree.SGDScheduleFree, {"lr": 1.0, "foreach": False}),
        },
    ),
    "prodigy": (
        optimizers.Prodigy,
        {},
        {
            "prodigyopt": (prodigyopt.Prodigy, {}),
            "pytorch_optimizer": (pytorch_optimizer.Prodigy, {}),
        },
    ),
    "signum": (optimizers.Signum, {}, {"pytorch_optimizer": (pytorch_optimizer.SignSGD, {})}),
    "soap": (optimizers.SOAP, {}, {"pytorch_optimizer": (pytorch_optimizer.SOAP, {})}),
    "shampoo": (
        optimizers.Shampoo,
        {},
        {
            "pytorch_optimizer": (
                pytorch_optimizer.ScalableShampoo,
                {
                    "start_preconditioning_step": 10,
                    "preconditioning_compute_steps": 10,
                    "block_size": 1024,
                    "graft_type": 3,  # RMSProp, the nearest to Adam
                },
            )
        },
    ),
}
PERIODS = {"soap": 10, "shampoo": 10}  # steps after which the dear ones come again


def parameters(sizes: tuple[int, ...], device: str) -> list[Tensor]:
    """The weights and biases of a network of linear layers, with gradients."""
    shapes = [s for i, o in itertools.pairwise(sizes) for s in ((o, i), (o,))]
    params = [torch.randn(shape, device=device) for shape in shapes]
    for param in params:
        param.grad = torch.empty_like(param).normal_(std=0.01)
    return params


def copies(params: list[Tensor]) -> list[Tensor]:
    """Parameters that share their gradients."""
    clones = [param.clone() for param in params]
    for clone, param in zip(clones, params, strict=True):
        clone.grad = param.grad
    return clones


def forms(method: str, params: list[Tensor]) -> dict[str, torch.optim.Optimizer]:
    """The method's optimizer, and every form of its twin that torch has or every package's."""
    if method in PACKAGES:
        ours, settings, others = PACKAGES[method]
        twins = {name: cls(copies(params), **extra) for name, (cls, extra) in others.items()}
        return {"ours": ours(copies(params), **settings), **twins}
    ours, settings, twin, twin_settings = METHODS[method]
    built = {"ours": ours(copies(params), **settings)}
    if "fused" in built["ours"].defaults:
        built["ours, plain rule"] = ours(copies(params), **settings, fused=False)
    for name, form in FORMS.items():
        try:
            other = twin(copies(params), **twin_settings, **form)
            other.step()  # some say only here that they have no such form on a device
            built[name] = other
        except (TypeError, RuntimeError):
            continue
    return built


def seconds(step: Callable[[], object], repeats: int) -> float:
    """Mean time of one call."""
    wait = torch.cuda.synchronize if torch.cuda.is_initialized() else lambda: None
    wait()
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    wait()
    return (time.perf_counter() - start) / repeats


def measure(
    built: dict[str, torch.optim.Optimizer], grads: list[Tensor], budget: float, period: int
) -> dict[str, list[float]]:
    """Times per step of every form, burst by burst, until the budget in seconds is spent.

    A burst is a period or several; of long ones two are enough.
    """
    for optimizer in built.values():
        training(optimizer)
        optimizer.step()
    once = {name: period * seconds(built[name].step, period) for name in built}
    repeats = {name: period * max(1, round(BURST / once[name])) for name in built}
    times: dict[str, list[float]] = {name: [] for name in built}
    end = time.perf_counter() + budget
    least = BURSTS if sum(once.values()) * BURSTS < 10 * budget else 2
    while time.perf_counter() < end or len(times["ours"]) < least:
        if len(times["ours"]) % 10 == 0:
            for grad in grads:  # shared by all; a constant one would make a variance of 0
                grad.normal_(std=0.01)
        for name, optimizer in built.items():
            times[name].append(seconds(optimizer.step, repeats[name]))
    return times


def decile(values: list[float]) -> float:
    """The lower one."""
    return statistics.quantiles(values, n=10, method="inclusive")[0]


def package_row(method: str, low: dict[str, float]) -> str:
    """The same beside packages: the ratio is to the fastest of them."""
    others = {name: value for name, value in low.items() if name != "ours"}
    ratio = low["ours"] / min(others.values())
    cells = [f"{1e6 * low['ours']:11.1f}", f"{ratio:11.2f}", "   "]
    cells += ["  ".join(f"{name} {1e6 * value:.1f}" for name, value in others.items())]
    cells += ["   over the limit"] if ratio > LIMITS["packages"] else []
    return f"{method:20}" + "".join(cells)


def row(method: str, times: dict[str, list[float]]) -> str:
    """One line of the table: microseconds, then the ratios."""
    low = {name: decile(values) for name, values in times.items()}
    if method in PACKAGES:
        return package_row(method, low)
    columns = ["ours", "ours, plain rule", *FORMS]
    cells = [f"{1e6 * low[name]:11.1f}" if name in low else " " * 10 + "-" for name in columns]
    twins = [low[name] for name in FORMS if name in low]
    found = {"best": low["ours"] / min(twins), "for-loop": low["ours"] / low["for-loop"]}
    over = [name for name in found if found[name] > LIMITS[name]]
    cells += [f"{value:11.2f}" for value in found.values()]
    cells += [f"   over the limit: {', '.join(over)}"] if over else []
    return f"{method:20}" + "".join(cells)


def table(
    methods: Iterable[str], models: Iterable[str], budget: float, device: str
) -> Iterable[str]:
    """The lines, as they are measured."""
    head = ["ours", "plain rule", *FORMS, "/ best", "/ for-loop"]
    where = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    yield f"torch {torch.__version__}, {torch.get_num_threads()} threads, {where}"
    yield f"µs per step: lower decile of bursts within {budget} s for all forms of a method"
    for title in models:
        params = parameters(SIZES[title], device)
        grads = [param.grad for param in params]
        yield f"\n{title} ({sum(param.numel() for param in params):,} parameters)"
        yield f"{'':20}" + "".join(f"{name:>11}" for name in head)
        for method in (each for each in methods if each in METHODS):
            yield row(method, measure(forms(method, params), grads, budget, 1))
        yield f"{'':20}{'ours':>11}{'/ fastest':>11}   packages"
        for method in (each for each in methods if each in PACKAGES):
            period = PERIODS.get(method, 1)
            yield row(method, measure(forms(method, params), grads, budget, period))


def main() -> None:
    names = [*METHODS, *PACKAGES]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=names, default=names)
    parser.add_argument("--seconds", type=float, default=4.0, help="per method and model")
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    chosen = parser.parse_args()
    for line in table(chosen.methods, chosen.models, chosen.seconds, chosen.device):
        print(line, flush=True)


if __name__ == "__main__":
    main()
