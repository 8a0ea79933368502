"""Entry point: `python -m src.trajectories` draws the methods' paths on classic test functions."""

import argparse
from pathlib import Path
from typing import Any

from src.cli import one_line_errors
from src.config import CONF, OUTPUTS
from src.errors import InputError

METHODS = ("sgd", "momentum", "adam", "lion", "adan", "prodigy", "schedule_free_adamw", "sam")
RATES = 26  # learning rates tried for each method, log-uniform in [1e-4, 10]


def surfaces() -> list[Any]:
    """The test functions: Rosenbrock, Beale, Himmelblau, a saddle, a ravine."""
    from src.reporting.trajectories import Surface

    peaks = ((3, 2), (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126))
    return [
        Surface(
            "Rosenbrock",
            "(1−x)² + 100 (y−x²)²",
            lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
            (-1.4, 1.6),
            ((1, 1),),
            (-2, 2, -0.8, 2.6),
        ),
        Surface(
            "Beale",
            "(1.5−x+xy)² + (2.25−x+xy²)² + (2.625−x+xy³)²",
            lambda x, y: (
                (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2
            ),
            (-1.5, 1.5),
            ((3, 0.5),),
            (-3, 4.2, -2, 2.2),
        ),
        Surface(
            "Himmelblau",
            "(x²+y−11)² + (x+y²−7)²",
            lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
            (0.2, -4.2),
            peaks,
            (-5.2, 5.2, -5.2, 5.2),
        ),
        Surface(
            "Saddle",
            "x² − y² (no minimum: the way out is along y)",
            lambda x, y: x**2 - y**2,
            (1.8, 0.001),
            (),
            (-2.2, 2.2, -2.2, 2.2),
        ),
        Surface(
            "Ravine",
            "(x² + 50 y²) / 2",
            lambda x, y: (x**2 + 50 * y**2) / 2,
            (-3.6, 1.2),
            ((0, 0),),
            (-4.2, 1.6, -1.6, 1.6),
        ),
    ]


def follow(settings: dict[str, Any], surface: Any, steps: int) -> Any:
    """The points of `steps` steps in float64, (steps + 1, 2), cut where they leave all bounds.

    Of a method that trains at other points than it is judged by, the latter.

    Args:
        settings: of the optimizer, as its config group has them.
        surface: what to descend, from its start.
    """
    import torch

    from src.results.identity import of_length
    from src.targets import build
    from src.training.loop import stepper
    from src.training.weights import judged, training

    point = torch.nn.Parameter(torch.tensor(surface.start, dtype=torch.float64))
    holder = torch.nn.ParameterList([point])
    optimizer = build("optimizer", of_length(settings, steps), torch.optim.Optimizer, [point])
    points = [point.detach().clone()]

    training(optimizer)
    step = stepper(optimizer, lambda: surface.value(point[0], point[1]))
    for _ in range(steps):
        step()
        with judged(holder, optimizer):
            here = point.detach().clone()
        if not torch.isfinite(here).all() or here.abs().max() > 1e3:
            break
        points.append(here)
    return torch.stack(points).numpy()


def tuned(name: str, surface: Any, steps: int) -> tuple[float, Any]:
    """The learning rate with the lowest path, and that path; the first of equals."""
    from omegaconf import OmegaConf

    path = CONF / "optimizer" / f"{name}.yaml"
    if not path.is_file():
        files = (CONF / "optimizer").rglob("*.yaml")
        known = ", ".join(sorted(f"{file.relative_to(CONF / 'optimizer')}"[:-5] for file in files))
        raise InputError(f"{name}: no such method; there are: {known}")
    settings: Any = OmegaConf.to_container(OmegaConf.load(path))
    rates = [10 ** (-4 + 5 * number / (RATES - 1)) for number in range(RATES)]
    tried = [(rate, follow({**settings, "lr": rate}, surface, steps)) for rate in rates]
    return min(tried, key=lambda pair: cost(pair[1], surface, steps))


def cost(points: Any, surface: Any, steps: int) -> float:
    """How low a path runs, all its steps counted alike: the mean log of the height.

    Infinite for a path that was cut, or that leaves the picture where there is a minimum in it.
    On the saddle, which has none, the mean height within the picture.
    """
    import numpy as np

    low_x, high_x, low_y, high_y = surface.frame
    low, high = np.array([low_x, low_y]), np.array([high_x, high_y])
    if not surface.minima:
        points = np.clip(points, low, high)
        heights = np.full(steps + 1, float(surface.value(*points[-1])))
        heights[: len(points)] = surface.value(*points.T)
        return float(heights.mean())
    if len(points) <= steps or (points < low).any() or (points > high).any():
        return np.inf
    return float(np.log(surface.value(*points.T) + 1e-6).mean())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.trajectories", description=__doc__)
    parser.add_argument("methods", nargs="*", default=METHODS, help="names in conf/optimizer")
    parser.add_argument("--steps", type=int, default=150, help="optimizer steps (default 150)")
    parser.add_argument(
        "--out",
        type=Path,
        default=OUTPUTS / "trajectories",
        help="where to write NAME.html, NAME.png, NAME.svg and NAME.pdf",
    )
    arguments = parser.parse_args()
    with one_line_errors():
        if arguments.steps < 1:
            raise InputError(f"--steps={arguments.steps}: must be an integer >= 1")
        draw_all(arguments.methods, arguments.steps, arguments.out)
        print(f"drawn: {arguments.out}.html, and as .png, .svg, .pdf")


def draw_all(methods: list[str], steps: int, out: Path) -> None:
    """Follow every method on every function and draw them."""
    from src.files import write_whole
    from src.reporting.page import Page, Section, render
    from src.reporting.report import save
    from src.reporting.trajectories import Path2D, figure

    panels = [
        (surface, [Path2D(name, *tuned(name, surface, steps)) for name in methods])
        for surface in surfaces()
    ]
    settings = (
        f"{steps} steps in float64, full gradients. lr: of {RATES} values, log-uniform in [1e-4, "
        "10], the one whose path stays in the picture and runs lowest there: mean log height over "
        "all steps (mean height on the saddle). All else: the defaults of conf/optimizer."
    )
    drawn = figure(panels, settings, out.name)
    sections = [Section("paths", "Paths", "Paths", figure=drawn)]
    try:
        save([drawn], out.parent)
        page = render(Page("Trajectories", [f"{steps} steps"], sections))
        write_whole(out.parent / f"{out.name}.html", page.encode())
    except OSError as error:
        raise InputError(f"--out={out}: {error.strerror}") from error


if __name__ == "__main__":
    main()
