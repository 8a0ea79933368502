"""MNIST-1D: ten shapes of 40 points each, bent, shifted and noisy."""

import numpy as np

from src.data.dataset import Dataset
from src.data.generated import Draws, Floats, made, on_grid

# The ten digits, each drawn with twelve heights.
SHAPES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
PADDING = (36, 60)  # points of zeros behind a shape, at least and at most
POINTS = len(SHAPES[0]) + PADDING[1]  # of a signal before it is thinned out
LENGTH = 40  # of a signal
SHIFT, SCALE, SHEAR = 48, 0.4, 0.75
CORRELATED, INDEPENDENT, WIDTH = 0.25, 0.02, 2.0  # the noise's scales, and the blur of the first
BITS = 16  # behind the point, of what is returned


def load(rows: int = 5000, seed: int = 0) -> Dataset:
    """Signals of 40 points in one channel, and which of ten shapes they hold.

    Rows of equal number per class, in mixed order; the last fifth is the test set. The mean and
    the spread of all are 0 and 1.

    Args:
        rows: of training and test set together, a multiple of 10.
        seed: of the data; the run's is another.

    Raises:
        ValueError: rows is no multiple of 10.

    Reference: Greydanus and Kobak, Scaling Down Deep Learning with MNIST-1D, 2020,
    https://arxiv.org/abs/2011.14439, whose generator (https://github.com/greydanus/mnist1d, with
    its default settings) this follows step by step: pad, stretch, scale, shift, noise, shear, thin
    out. It differs in its random numbers, which are nearly normal and the same on every machine.
    """
    if rows < 10 or rows % 10:
        raise ValueError(f"rows must be a multiple of 10, got {rows}")
    draws = Draws(seed)
    classes = np.repeat(np.arange(10), rows // 10)
    signals = thinned(sheared(noisy(placed(classes, draws), draws), draws), LENGTH)
    order = draws.permutation(rows)
    return made(standard(on_grid(signals, BITS))[order][:, None], classes[order])


def placed(classes: np.ndarray, draws: Draws) -> Floats:
    """Each row's shape with zeros behind it, stretched to POINTS, scaled and shifted."""
    low, high = PADDING
    padding = low + np.floor(draws.uniform(len(classes)) * (high - low + 1)).astype(int)
    scales = 1 + SCALE * (draws.uniform(len(classes)) - 0.5)
    shifts = np.floor(draws.uniform(len(classes)) * SHIFT).astype(int)
    rows = np.zeros((len(classes), POINTS))
    shapes = heights()
    for row, (label, zeros) in enumerate(zip(classes, padding, strict=True)):
        rows[row] = thinned(np.pad(shapes[label], (0, zeros))[None], POINTS)[0]
    columns = (np.arange(POINTS) - shifts[:, None]) % POINTS
    return np.take_along_axis(rows * scales[:, None], columns, 1)


def heights() -> Floats:
    """The ten shapes, (10, 12): of standard deviation 1/6, starting near 0.

    A tiny amount sets them apart from the zeros around them, which alone get correlated noise.
    """
    shapes = np.array(SHAPES)
    centred = shapes - shapes.mean(1, keepdims=True)
    scaled = centred / shapes.std(1, keepdims=True)
    return on_grid((scaled - scaled[:, :1]) / 6, 24) + 1e-8


def noisy(signals: Floats, draws: Draws) -> Floats:
    """Blurred noise where a signal is 0, and noise of its own at every point."""
    blurred = blur(CORRELATED * draws.normal(*signals.shape))
    return np.where(signals != 0, signals, blurred) + INDEPENDENT * draws.normal(*signals.shape)


def blur(rows: Floats) -> Floats:
    """Averaged with Gaussian weights as far as four widths; mirrored at the ends."""
    reach = int(4 * WIDTH)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / WIDTH) ** 2)
    weights = on_grid(weights / weights.sum(), 24)
    padded = np.pad(rows, ((0, 0), (reach, reach)), mode="symmetric")
    shifted = [padded[:, start : start + rows.shape[1]] for start in range(len(weights))]
    total = np.zeros_like(rows)
    for weight, part in zip(weights, shifted, strict=True):
        total += weight * part
    return total


def sheared(signals: Floats, draws: Draws) -> Floats:
    """Tilted around the middle, by a slope of up to 0.75 / 2."""
    slopes = SHEAR * (draws.uniform(len(signals), 1) - 0.5)
    return signals - slopes * np.linspace(-0.5, 0.5, signals.shape[1])


def thinned(rows: Floats, length: int) -> Floats:
    """Each row at `length` places from end to end, linearly between its points."""
    places = np.linspace(0, rows.shape[1] - 1, length)
    before = np.minimum(places.astype(int), rows.shape[1] - 2)
    share = places - before
    between: Floats = rows[:, before] * (1 - share) + rows[:, before + 1] * share
    return between


def standard(signals: Floats) -> Floats:
    """With mean 0 and standard deviation 1 over all; their sums are of integers, so exact."""
    units = np.rint(signals * 2**BITS).astype(np.int64)
    mean = units.sum() / units.size
    deviation = np.sqrt(float((units**2).sum()) / units.size - mean**2)
    return on_grid((units - mean) / deviation, BITS)
