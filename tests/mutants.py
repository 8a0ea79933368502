"""Mutants: one deliberate mistake each, which the tests of the optimizers must catch.

    python -m tests.mutants [NAME ...]

Each is made in a copy of the sources; the tests then run there until the first failure. The copy
is first tested as it is, since tests that always fail would catch everything.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("src", "conf", "tests", "docs", "pyproject.toml")


@dataclass(frozen=True)
class Mutant:
    """What is replaced by what, where; ``tests`` says which tests run (pytest's -k)."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = [
    Mutant("momentum: mul for mul_", "momentum", "buffer.mul_(", "buffer.mul(", "momentum"),
    Mutant("nesterov: steps by v", "nesterov", "-lr, ahead", "-lr, buffer", "nesterov"),
    Mutant(
        "nesterov: looks ahead twice",
        "nesterov",
        "(grad, mu, buffer)",
        "(buffer, mu, buffer)",
        "nesterov",
    ),
    Mutant(
        "adam: first bias correction missing", "adam", "lr / (1 - power(beta1, step))", "lr", "adam"
    ),
    Mutant(
        "adam: second bias correction missing",
        "adam",
        "cast(1 - power(beta2, step), param)",
        "1.0",
        "adam",
    ),
    Mutant(
        "adam: corrections count from 0",
        "adam",
        "1 - power(beta2, step)",
        "1 - power(beta2, step + 1)",
        "adam",
    ),
    Mutant(
        "adam: epsilon inside the root",
        "adam",
        ".sqrt_().add_(epsilon(eps, param))",
        ".add_(epsilon(eps, param)).sqrt_()",
        "adam",
    ),
    Mutant(
        "adam: betas swapped",
        "adam",
        "exp_avg.lerp_(grad, cast(1 - beta1, param))",
        "exp_avg.lerp_(grad, cast(1 - beta2, param))",
        "adam",
    ),
    Mutant(
        "adam: kernel ignores the decay",
        "adam",
        'weight_decay=group["weight_decay"],\n        eps',
        "weight_decay=0.0,\n        eps",
        "adam",
    ),
    Mutant(
        "adamw: decay in the gradient",
        "adamw",
        "beta2, eps, 0.0)",
        "beta2, eps, weight_decay)",
        "adamw",
    ),
    Mutant(
        "adamw: decay not times lr", "adamw", "1 - lr * weight_decay", "1 - weight_decay", "adamw"
    ),
    Mutant(
        "amsgrad: maximum forgotten",
        "amsgrad",
        "(max_exp_avg_sq, exp_avg_sq, out",
        "(exp_avg_sq, exp_avg_sq, out",
        "amsgrad",
    ),
    Mutant(
        "adagrad: averages instead of summing",
        "adagrad",
        "total.addcmul_(size, size)",
        "total.mul_(0.9).addcmul_(size, size)",
        "adagrad",
    ),
    Mutant(
        "adagrad: decay counts from 1",
        "adagrad",
        "(step - 1) * lr_decay",
        "step * lr_decay",
        "adagrad",
    ),
    Mutant("rmsprop: centred by adding", "rmsprop", "value=-1", "value=1", "rmsprop"),
    Mutant("rmsprop: variance may be negative", "rmsprop", ".relu_()", "", "rmsprop"),
    Mutant(
        "rmsprop: overflow subtracted",
        "rmsprop",
        "mean.clamp_(-bound, bound)",
        "pass",
        "multiply_add",
    ),
    Mutant(
        "adadelta: steps not remembered",
        "adadelta",
        "average_square_(acc_delta, delta, rho)",
        "average_square_(acc_delta, grad, rho)",
        "adadelta",
    ),
    Mutant(
        "adadelta: epsilon outside the root",
        "adadelta",
        "(square_avg + eps).sqrt_()",
        "(square_avg.sqrt() + eps)",
        "adadelta",
    ),
    Mutant("adamax: sum for maximum", "adamax", "torch.maximum(", "torch.add(", "adamax"),
    Mutant(
        "nadam: momentum without warm-up",
        "nadam",
        "1 - 0.5 * power(0.96, step * momentum_decay)",
        "1 - 0.5 * power(0.96, momentum_decay)",
        "nadam",
    ),
    Mutant(
        "nadam: this momentum for the next",
        "nadam",
        "momentum_at(step + 1,",
        "momentum_at(step,",
        "nadam",
    ),
    Mutant("radam: rectified from 4 on", "radam", "length > 5:", "length > 4:", "radam"),
    Mutant(
        "radam: rectification missing",
        "radam",
        "rectification(length, beta2) * root",
        "root",
        "radam",
    ),
    Mutant(
        "lion: memory updated before the step",
        "lion",
        "exp_avg.lerp(grad",
        "exp_avg.lerp_(grad",
        "lion",
    ),
    Mutant(
        "lion: one beta for both",
        "lion",
        "cast(1 - beta2, param)",
        "cast(1 - beta1, param)",
        "lion",
    ),
    Mutant(
        "muon: wide matrices not turned",
        "muon",
        "x = x.T if tall else x\n    x.div_",
        "x.div_",
        "muon",
    ),
    Mutant(
        "muon: not normalized",
        "muon",
        "x.div_(x.norm().clamp(min=max(eps, SMALLEST)))",
        "pass",
        "muon",
    ),
    Mutant(
        "muon: rate not adjusted", "muon", "mul_(lr).reshape", 'mul_(group["lr"]).reshape', "muon"
    ),
    Mutant(
        "all: infinities subtracted",
        "base",
        "avg.mul_(beta).addcmul_(size, size, value=1 - beta)",
        "avg.lerp_(size * size, 1 - beta)",
        "adam or rmsprop",
    ),
    Mutant(
        "all: zero times infinity",
        "base",
        "modulus(grad), not_zero(beta, avg)",
        "modulus(grad), beta",
        "adam or rmsprop",
    ),
    Mutant(
        "all: complex square without conjugate",
        "base",
        "grad.abs() if grad.is_complex()",
        "grad.real if grad.is_complex()",
        "complex",
    ),
    Mutant(
        "all: scalars rounded too early",
        "base",
        "scalar.to(device=param.device, dtype",
        "scalar.bfloat16().to(device=param.device, dtype",
        "trials",
    ),
    Mutant(
        "all: powers of a vector by torch",
        "base",
        "powers = [b**e for b, e in",
        "powers = [float(torch.tensor(b) ** e) for b, e in",
        "trials or power",
    ),
    Mutant(
        "all: last block missing",
        "base",
        "for piece in zip(*pieces, strict=False):",
        "for piece in list(zip(*pieces, strict=False))[:-1]:",
        "blocks",
    ),
    Mutant(
        "all: gradient negated in place",
        "base",
        '-grad if group["maximize"]',
        'grad.neg_() if group["maximize"]',
        "gradients or maximize",
    ),
    Mutant(
        "all: decay spoils the gradient",
        "base",
        "return add_scaled(grad, weight_decay, param)",
        "add_scaled_(grad, weight_decay, param)\n    return grad",
        "gradients",
    ),
    Mutant(
        "all: kernel given scattered memory",
        "base",
        "if not tensor.is_contiguous() or",
        "if",
        "contiguous",
    ),
    Mutant("all: kernel's steps not counted", "base", 'state["step"] += 1', "pass", "twins"),
    Mutant(
        "all: groups share the defaults",
        "base",
        "self.update_all(params, grads, states, group)",
        "self.update_all(params, grads, states, self.defaults)",
        "groups",
    ),
    Mutant(
        "all: closure without gradients",
        "base",
        "with torch.enable_grad():",
        "with torch.no_grad():",
        "closure",
    ),
]


def tested(mutant: Mutant | None) -> tuple[bool, str]:
    """Whether the tests pass on a copy with this mutant, and what pytest said last."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        if mutant:
            mutate(copy / "src" / "optimizers" / f"{mutant.file}.py", mutant)
        chosen = ["-k", mutant.tests] if mutant else []
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=line"]
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", *chosen, "tests/optimizers"],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in (0, 1):  # 2 to 5: nothing ran, or not to the end
        raise SystemExit(f"{mutant}: pytest ended with {done.returncode}\n{done.stdout[-2000:]}")
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    return done.returncode == 0, failed[-1] if failed else ""


def mutate(path: Path, mutant: Mutant) -> None:
    """Replace the one place."""
    text = path.read_text()
    if text.count(mutant.old) != 1:
        raise SystemExit(
            f"{mutant.name}: {mutant.old!r} is {text.count(mutant.old)} times in {path.name}"
        )
    path.write_text(text.replace(mutant.old, mutant.new))


def main() -> int:
    parser = argparse.ArgumentParser(description="Break the rules on purpose.")
    parser.add_argument("names", nargs="*", help="parts of the mutants' names; all by default")
    names = parser.parse_args().names
    chosen = [m for m in MUTANTS if not names or any(name in m.name for name in names)]
    if not names and not tested(None)[0]:
        print("the tests fail without any mutant")
        return 1
    survivors = 0
    for mutant in chosen:
        start = time.perf_counter()
        survived, line = tested(mutant)
        survivors += survived
        caught_by = line.removeprefix("FAILED tests/optimizers/").split(" - ")[0]
        result = "SURVIVED" if survived else f"caught by {caught_by}"
        print(f"{mutant.name:42} {result}  ({time.perf_counter() - start:.0f} s)", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return 1 if survivors or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
