"""Generated data: the same to the bit everywhere, and what they say they are."""

import importlib
import json
import os
import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch

from src.config import PROJECT
from src.data import generated, mnist1d, spirals
from src.data.dataset import Dataset, check
from src.data.generated import Draws

DIGESTS = {
    "linear_map": "fb54b3041f43",
    "linear_regression": "25d204ee34f6",
    "low_rank": "8c185241d351",
    "mnist1d": "7e0545790e35",
    "modular": "7d07974d956a",
    "quadratic": "bbe74bcbff80",
    "spirals": "0a4744a96b63",
    "teacher": "b5b48d3ba9fc",
}
DIGEST_OF_ALL = """
import importlib, json, sys, torch
torch.set_num_threads(2)
names = sys.argv[1:]
sources = {name: importlib.import_module(f"src.data.{name}") for name in names}
print(json.dumps({name: source.load().digest() for name, source in sources.items()}))
"""
# What the instructions of older processors compute: none but those that all have, and other
# kernels for products of matrices, on two threads.
OLD = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX2 FMA3 AVX512F AVX512_SKX AVX512_ICL",
    "OPENBLAS_CORETYPE": "Nehalem",
    "OMP_NUM_THREADS": "2",
    "OPENBLAS_NUM_THREADS": "2",
}


def load(source: str, **settings: Any) -> Dataset:
    module = importlib.import_module(f"src.data.{source}")
    loaded: Dataset = module.load(**settings)
    return loaded


def everything(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of training and test set, one after the other."""
    parts = (data.train, data.test)
    return (
        torch.cat([part.inputs for part in parts]).numpy(),
        torch.cat([part.targets for part in parts]).numpy(),
    )


@pytest.mark.parametrize("source", DIGESTS)
def test_the_data_are_the_same_to_the_bit(source: str) -> None:
    data = load(source)
    check(data)
    assert data.digest()[:12] == DIGESTS[source]
    assert load(source, seed=1).digest() != data.digest()


def test_the_data_are_the_same_on_an_older_processor_with_two_threads() -> None:
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DIGEST_OF_ALL, *DIGESTS],
        env={**os.environ, **OLD, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    digests = json.loads(answer.stdout)
    assert {name: digest[:12] for name, digest in digests.items()} == DIGESTS


def test_draws_are_nearly_normal() -> None:
    values = Draws(3).normal(200_000)
    assert np.array_equal(values, np.rint(values * 2**12) / 2**12) and np.abs(values).max() < 6
    moments = [np.mean(values**power) for power in (1, 2, 3, 4)]
    # Of twelve uniform numbers: the excess is -6/5 over twelve.
    assert moments == pytest.approx([0, 1, 0, 2.9], abs=0.06)
    below = [np.mean(values < z) for z in (-2, -1, 0, 1, 2)]
    assert below == pytest.approx([0.0228, 0.1587, 0.5, 0.8413, 0.9772], abs=0.004)


def test_uniform_draws_and_permutations() -> None:
    draws = Draws(5)
    values = draws.uniform(100_000)
    assert values.min() >= 0 and values.max() < 1
    counts = np.histogram(values, 10, (0, 1))[0]
    assert np.abs(counts - 10_000).max() < 500  # five standard deviations
    order = draws.permutation(1000)
    assert sorted(order) == [*range(1000)] and list(order[:3]) != [0, 1, 2]
    assert [*Draws(5).uniform(2)] == [*values[:2]]


def test_the_first_bits_are_pcg64s() -> None:
    """Numbers from the generator's definition, O'Neill 2014: an XSL-RR of a 128-bit state."""
    bits = np.random.PCG64(7)
    state = bits.state["state"]
    value, mask = state["state"], 2**128 - 1
    expected = []
    for _ in range(3):
        value = (value * 0x2360ED051FC65DA44385DF649FCCF645 + state["inc"]) & mask
        turn, folded = value >> 122, (value >> 64 ^ value) & (2**64 - 1)
        expected.append((folded >> turn | folded << (64 - turn)) & (2**64 - 1))
    drawn = Draws(7)
    assert drawn.uniform(3).tolist() == [(each >> 32) / 2**32 for each in expected]


def exact(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A product of matrices in fractions, rounded once."""
    products = [
        [sum(Fraction(x) * Fraction(y) for x, y in zip(row, column, strict=True))
         for column in np.atleast_2d(matrix.T)]
        for row in rows
    ]  # fmt: skip
    rounded = np.array(products, dtype=np.float64).astype(np.float32)
    return rounded if matrix.ndim > 1 else rounded[:, 0]


class Watched(np.ndarray):
    """An array whose products with matrices must not be rounded."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(each) for each in inputs]
        result = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul:
            assert np.array_equal(exact(*plain), np.asarray(result).astype(np.float32))
            seen.append(ufunc)
        return result.view(Watched) if isinstance(result, np.ndarray) else result


seen: list[Any] = []


@pytest.mark.parametrize(
    ("source", "settings"),
    [
        ("linear_map", {"rows": 20}),
        ("linear_regression", {"rows": 20}),
        ("teacher", {"rows": 20}),
        ("low_rank", {"size": 8}),
    ],
)
def test_products_of_matrices_are_exact(
    source: str, settings: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load(source, **settings).digest()
    draw = Draws.normal
    monkeypatch.setattr(Draws, "normal", lambda self, *shape: draw(self, *shape).view(Watched))
    seen.clear()
    assert load(source, **settings).digest() == expected
    assert seen


def test_a_last_part_is_the_test_set() -> None:
    inputs = np.arange(10.0)[:, None]
    data = generated.made(inputs, np.arange(10) % 3)
    assert (len(data.train), len(data.test), data.classes) == (8, 2, 3)
    assert data.test.inputs.flatten().tolist() == [8, 9]
    assert data.shapes.input == (1,) and data.shapes.target == ()


def test_the_quadratics_places_have_no_target_but_0() -> None:
    inputs, targets = everything(load("quadratic"))
    assert inputs.shape == targets.shape == (2500, 64) and not targets.any()
    assert np.cov(inputs.T).diagonal() == pytest.approx(np.ones(64), abs=0.15)


def test_the_regression_is_as_ill_conditioned_as_it_says() -> None:
    data = load("linear_regression")
    inputs, targets = data.train.inputs.double().numpy(), data.train.targets.double().numpy()
    values = np.linalg.eigvalsh(inputs.T @ inputs / len(inputs))
    assert values[-1] / values[0] == pytest.approx(1e4, rel=1)
    scaled = inputs / inputs.std(0)  # which is what Adam can mend
    values = np.linalg.eigvalsh(scaled.T @ scaled)
    assert values[-1] / values[0] > 1e3
    residue = np.linalg.lstsq(inputs, targets)[1][0]
    assert residue / (2000 - 64) == pytest.approx(0.01**2, rel=0.1)


@pytest.mark.parametrize("source", ["linear_regression", "linear_map"])
@pytest.mark.parametrize("features", [0, 8, 12])
def test_features_are_a_power_of_4(source: str, features: int) -> None:
    with pytest.raises(ValueError, match=f"features must be a power of 4, got {features}"):
        load(source, features=features)


def test_the_linear_map_has_its_singular_values() -> None:
    inputs, targets = everything(load("linear_map"))
    matrix, residue, *_ = scipy.linalg.lstsq(inputs.astype(float), targets.astype(float))
    expected = 2 * 2.0 ** (-np.arange(16) / 2)
    assert scipy.linalg.svdvals(matrix) == pytest.approx(expected, abs=1 / 500)
    assert residue.max() < 1e-9


def test_the_low_rank_matrix_has_its_rank() -> None:
    data = load("low_rank")
    pairs, entries = everything(data)
    matrix = np.full((64, 64), np.nan)
    matrix[pairs[:, 0], pairs[:, 1] - 64] = entries
    values = np.linalg.svd(matrix, compute_uv=False)
    assert values[3] > 10 and values[4] < 1e-4
    assert len(data.train) == round(0.6 * 64**2) and data.vocabulary == 128


def test_the_spirals_are_two_and_apart() -> None:
    inputs, targets = everything(load("spirals", noise=0.0))
    radii = np.hypot(*inputs.T)
    shares = (radii - 0.1) / 0.9
    angles = 2 * np.pi * 1.75 * shares + np.pi * targets
    expected = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    assert np.abs(inputs - expected).max() < 1e-3
    assert np.mean(targets) == pytest.approx(0.5, abs=0.03)


def test_no_point_of_a_spiral_lies_where_rounding_turns() -> None:
    """A sine that differs in its last bit gives the same point."""
    units = spirals.places(Draws(0).uniform(2500), 1.75) * 2**16
    assert np.abs(units - np.floor(units) - 0.5).min() > 1e-7


def test_the_teacher_is_a_network() -> None:
    inputs, targets = everything(load("teacher", rows=50))
    draws = Draws(0)
    first, second = np.round(draws.normal(16, 16) * 64) / 256, np.round(draws.normal(16) * 64) / 128
    answers = torch.relu(torch.from_numpy(inputs).double() @ torch.from_numpy(first.T))
    expected = (answers @ torch.from_numpy(second)).numpy()
    assert np.array_equal(targets, expected.astype(np.float32))
    assert load("teacher").train.targets.std().item() == pytest.approx(1, abs=0.1)


def test_modular_addition_is_all_pairs_once() -> None:
    data = load("modular", modulus=7)
    tokens, classes = everything(data)
    assert sorted(map(tuple, tokens[:, :2])) == [(a, b) for a in range(7) for b in range(7)]
    assert np.array_equal(classes, tokens[:, :2].sum(1) % 7) and (tokens[:, 2] == 7).all()
    assert (len(data.train), data.vocabulary, data.classes) == (24, 8, 7)


@pytest.mark.parametrize(
    ("source", "settings", "text"),
    [
        ("modular", {"modulus": 1}, "modulus must be >= 2, got 1"),
        ("modular", {"observed": 1.0}, r"observed must be in \(0, 1\), got 1.0"),
        ("low_rank", {"observed": 0.0}, r"observed must be in \(0, 1\), got 0.0"),
        ("low_rank", {"rank": 3}, "rank must be a power of 4, got 3"),
        ("linear_regression", {"condition": 0.5}, r"condition must be in \[1, 1e6\], got 0.5"),
        ("mnist1d", {"rows": 15}, "rows must be a multiple of 10, got 15"),
    ],
)
def test_bad_settings(source: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        load(source, **settings)


def reference(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """MNIST-1D's published steps, a signal at a time, by SciPy, with our random numbers."""
    draws = Draws(0)
    padding, scales, shifts = draws.uniform(rows), draws.uniform(rows), draws.uniform(rows)
    correlated, own = draws.normal(rows, 72), draws.normal(rows, 72)
    slopes, order = draws.uniform(rows, 1)[:, 0], draws.permutation(rows)
    signals = []
    for row in range(rows):
        shape = np.array(mnist1d.SHAPES[row // (rows // 10)])
        shape = (shape - shape.mean()) / shape.std()
        shape = (shape - shape[0]) / 6 + 1e-8
        signal = np.concatenate([shape, np.zeros(36 + int(padding[row] * 25))])
        signal = np.interp(np.linspace(0, 1, 72), np.linspace(0, 1, len(signal)), signal)
        signal = np.roll(signal * (1 + 0.4 * (scales[row] - 0.5)), int(shifts[row] * 48))
        blurred = scipy.ndimage.gaussian_filter(0.25 * correlated[row], 2)
        signal = np.where(signal != 0, signal, blurred) + 0.02 * own[row]
        signal = signal - 0.75 * (slopes[row] - 0.5) * np.linspace(-0.5, 0.5, 72)
        signals.append(np.interp(np.linspace(0, 1, 40), np.linspace(0, 1, 72), signal))
    table = np.array(signals)
    table = (table - table.mean()) / table.std()
    return table[order], np.repeat(np.arange(10), rows // 10)[order]


def test_mnist1d_follows_the_published_steps() -> None:
    inputs, targets = everything(load("mnist1d", rows=200))
    signals, classes = reference(200)
    assert inputs.shape == (200, 1, 40) and np.array_equal(targets, classes)
    assert np.abs(inputs[:, 0] - signals).max() < 1e-4


def test_mnist1d_is_standard_and_balanced() -> None:
    inputs, targets = everything(load("mnist1d"))
    assert inputs.mean() == pytest.approx(0, abs=1e-5)
    assert inputs.std() == pytest.approx(1, abs=1e-5)
    assert np.bincount(targets).tolist() == [500] * 10
