"""Matrices of several runs at once have the bits that each has alone."""

import pytest
import torch

from src.optimizers.matrices import add_product, norm, product

# Below and above the size from which torch leaves a product to oneDNN, and across it: the product
# of all eight is beyond it where that of one isn't.
SHAPES = [(2, 3), (7, 5), (3, 50), (10, 12), (16, 16), (17, 17), (10, 64), (50, 30)]
DTYPES = [torch.bfloat16, torch.float32, torch.float64]
RUNS = 8


def drawn(shape: tuple[int, int], seed: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(RUNS, *shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("rows_and_columns", SHAPES, ids=str)
def test_products_to_the_bit(rows_and_columns: tuple[int, int]) -> None:
    """In bfloat16, in many draws: sums of few numbers agree by chance."""
    for seed in range(40):
        x = drawn(rows_and_columns, seed)
        gram = product(x, x.mT)
        made = add_product(x, add_product(gram, gram, gram, -4.7, 2.0), x, 3.4)
        for one, its_gram, its_made in zip(x, gram, made, strict=True):
            expected = one @ one.T
            assert torch.equal(its_gram, expected)
            inner = torch.addmm(expected, expected, expected, beta=-4.7, alpha=2.0)
            assert torch.equal(its_made, torch.addmm(one, inner, one, beta=3.4))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows_and_columns", SHAPES, ids=str)
def test_norms_to_the_bit(rows_and_columns: tuple[int, int], dtype: torch.dtype) -> None:
    x = drawn(rows_and_columns, 0, dtype)
    assert norm(x).shape == (RUNS, 1, 1)
    assert torch.equal(norm(x).flatten(), torch.stack([norm(each) for each in x]))
    exact = x.double().square().sum((1, 2)).sqrt()
    assert torch.allclose(norm(x).flatten().double(), exact, rtol=4 * torch.finfo(dtype).eps)
