"""What `trainer.stack=auto` decides, beside what was quicker: K runs at once, or one by one.

Both sides take turns. For problems and for networks of several sizes it prints seconds of the
processor for a run, the ratio (above 1: at once is quicker), and whether auto trains them at once.
The rule itself is in `src/training/stacking.py`.

    python benchmarks/stacks.py [--device cuda] [--count 16] [--cases digits h=100,b=64]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from together import configs, side

from src.config import parse
from src.training.build import assemble
from src.training.device import size
from src.training.stacking import AT_ONCE, why_alone

PROBLEMS = (
    "breast_cancer", "deep_linear", "diabetes", "digits", "digits_autoencoder", "digits_cnn",
    "linear_regression", "matrix_factorization", "mnist1d", "modular_addition", "quadratic",
    "randhie", "spirals", "teacher_student", "wine",
)  # fmt: skip
SIZES = [f"h={hidden},b={batch}" for hidden in (16, 100, 300, 1000) for batch in (16, 64, 256)]


def overrides(case: str) -> tuple[str, ...]:
    """A problem, or the digits with one hidden layer of h units and batches of b, 400 steps."""
    if not case.startswith("h="):
        return "optimizer=adam", f"problem={case}"
    hidden, batch = (int(part[2:]) for part in case.split(","))
    epochs = max(1, 400 * batch // 1150)
    sizes = f"model.hidden_sizes=[{hidden}]"
    return "optimizer=adam", sizes, f"data.batch_size={batch}", f"trainer.epochs={epochs}"


def line(case: str, count: int, device: str, rounds: int) -> str:
    cfgs = configs(overrides(case), count, device)
    config = parse(cfgs[0])
    parts = assemble(config)
    trainer = config.trainer.model_copy(update={"stack": "auto"})
    auto = config.model_copy(update={"trainer": trainer})
    steps = config.trainer.epochs * parts.batches.steps
    side(cfgs[:1], together=False)  # the first loads what all need
    turns = [(side(cfgs, together=False), side(cfgs, together=True)) for _ in range(rounds)]
    same = all(alone[0] == together[0] for alone, together in turns)
    alone, together = (min(turn[at][1] for turn in turns) for at in (0, 1))
    why = why_alone(auto, parts)
    return (
        f"{case:22}{config.data.batch_size * size(parts.model):12,}{steps:8,}"
        f"{1e3 * alone:10.1f}{1e3 * together:10.1f}{alone / together:8.2f}  "
        f"{'bits' if same else 'OTHER BITS'}  {'at once' if why is None else 'alone: ' + why}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--count", type=int, default=AT_ONCE)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=[*PROBLEMS, *SIZES])
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: no GPU is here")
    print(f"torch {torch.__version__}, {arguments.device}, K = {arguments.count}")
    print(f"{'':22}{'batch x size':>12}{'steps':>8}{'alone ms':>10}{'at once':>10}{'ratio':>8}")
    for case in arguments.cases:
        print(line(case, arguments.count, arguments.device, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
