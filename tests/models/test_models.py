"""The models: gradients by finite differences, and each beside what defines it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from src.models.autoencoder import Autoencoder
from src.models.cnn import CNN
from src.models.deep_linear import DeepLinear
from src.models.factorization import Factorization
from src.models.mlp import MLP
from src.models.quadratic import Quadratic
from src.models.resnet import ResNet
from src.models.transformer import Block, Transformer

Model = Callable[[], nn.Module]


def tokens(*shape: int) -> Tensor:
    return torch.randint(0, 5, shape)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


MODELS: dict[str, tuple[Model, Callable[[], Tensor], tuple[int, ...]]] = {
    "mlp": (lambda: MLP(3, 2, (4,)), lambda: numbers(5, 3), (5, 2)),
    "cnn of pictures": (lambda: CNN((1, 4, 4), 3, (2, 2)), lambda: numbers(3, 1, 4, 4), (3, 3)),
    "cnn of signals": (
        lambda: CNN((2, 9), 3, (3,), batch_norm=False),
        lambda: numbers(3, 2, 9),
        (3, 3),
    ),
    "resnet": (lambda: ResNet((2, 4, 4), 3, 1, (2, 3)), lambda: numbers(3, 2, 4, 4), (3, 3)),
    "autoencoder": (lambda: Autoencoder(4, 4, (3, 2)), lambda: numbers(3, 2, 2), (3, 4)),
    "deep linear": (lambda: DeepLinear(3, 2, 3, 4), lambda: numbers(4, 3), (4, 2)),
    "factorization": (lambda: Factorization(5, 3), lambda: tokens(6, 2), (6, 1)),
    "quadratic": (lambda: Quadratic(4, 100.0), lambda: numbers(3, 4), (3, 4)),
    "transformer": (lambda: Transformer(5, 4, (4, 3), width=4, heads=2, depth=2),
                    lambda: tokens(2, 4), (2, 4, 3)),
    "transformer's end": (lambda: Transformer(5, 4, (3,), width=4, heads=2, depth=1),
                          lambda: tokens(2, 4), (2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    make, draw, shape = MODELS[name]
    model, inputs = make().double(), draw()
    names = [each for each, _ in model.named_parameters()]

    def outputs(*values: Tensor) -> Any:
        return functional_call(model, dict(zip(names, values, strict=True)), (inputs,))

    # Away from the start, where GPT-2's small weights leave small gradients.
    values = [value.detach() + 0.3 * torch.randn_like(value) for value in model.parameters()]
    assert outputs(*values).shape == shape
    assert torch.autograd.gradcheck(outputs, [value.requires_grad_() for value in values])


def test_the_quadratic_is_its_formula_and_least_at_the_mean() -> None:
    model = Quadratic(16, 1e4).double()
    places = np.random.default_rng(0).normal(size=(7, 16))
    vectors = model.root.numpy() / np.linalg.norm(model.root.numpy(), axis=1, keepdims=True)
    hessian = vectors.T @ np.diag(10.0 ** np.linspace(0, -4, 16)) @ vectors
    assert np.allclose(np.linalg.eigvalsh(hessian)[[0, -1]], [1e-4, 1])
    assert np.allclose(np.abs(vectors), 0.25)  # every coordinate has a part in each eigenvector
    away = model.point.detach().numpy() - places
    losses = model(torch.from_numpy(places)).square().mean(1).detach().numpy()
    assert np.allclose(losses, np.einsum("ni,ij,nj->n", away, hessian, away) / 16)

    model.point.data = torch.from_numpy(places.mean(0))
    model(torch.from_numpy(places)).square().mean().backward()
    assert model.point.grad is not None and model.point.grad.abs().max() < 1e-12


def test_deep_linear_is_the_product_of_its_matrices() -> None:
    model, x = DeepLinear(3, 2, 4, 5), torch.randn(6, 3)
    product = np.linalg.multi_dot([each.detach().numpy() for each in model.parameters()][::-1])
    assert np.allclose(model(x).detach().numpy(), x.numpy() @ product.T, atol=1e-6)


def test_factorization_is_the_entry_of_a_product() -> None:
    model = Factorization(7, 3)  # 4 rows, 3 columns
    left, right = np.split(model.vectors.weight.detach().numpy(), [4])
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4, 7))
    assert np.allclose(model(pairs).detach().numpy().reshape(4, 3), left @ right.T, atol=1e-6)


def test_the_autoencoder_is_a_mirror() -> None:
    sizes = [tuple(each.shape) for each in Autoencoder(9, 9, (6, 4, 2)).parameters()][::2]
    assert sizes == [(6, 9), (4, 6), (2, 4), (4, 2), (6, 4), (9, 6)]


def test_a_transformers_block_is_torchs() -> None:
    """Its encoder layer with the norm first, given the same weights and a causal mask."""
    torch.manual_seed(0)
    ours = Block(8, 2, 0.0)
    three = (ours.queries, ours.keys, ours.values)
    theirs = nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    pairs = {
        "self_attn.in_proj_weight": torch.cat([each.weight for each in three]),
        "self_attn.in_proj_bias": torch.randn(24),
        "self_attn.out_proj.weight": ours.mix.weight,
        "self_attn.out_proj.bias": ours.mix.bias,
        "linear1.weight": ours.widen.weight,
        "linear1.bias": ours.widen.bias,
        "linear2.weight": ours.narrow.weight,
        "linear2.bias": ours.narrow.bias,
    }
    with torch.no_grad():
        for layer, bias in zip(three, pairs["self_attn.in_proj_bias"].split(8), strict=True):
            layer.bias.copy_(bias)
    theirs.load_state_dict(theirs.state_dict() | {name: each.data for name, each in pairs.items()})
    x = torch.randn(3, 5, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    assert torch.allclose(ours(x), theirs(x, mask, is_causal=True), atol=1e-6)


def test_a_transformer_does_not_see_what_comes_later() -> None:
    torch.manual_seed(0)
    model = Transformer(5, 6, (6, 5), width=8, heads=2, depth=2)
    before = tokens(1, 6)
    after = before.clone()
    after[0, 4] = (after[0, 4] + 1) % 5
    changed = (model(before) != model(after)).any(2)[0].tolist()
    assert changed == [False] * 4 + [True] * 2


def test_a_transformer_starts_like_gpt_2() -> None:
    torch.manual_seed(0)
    model = Transformer(90, 64, (64, 90), width=64, heads=4, depth=3)
    for name, value in model.named_parameters():
        ends = name.endswith(("mix.weight", "narrow.weight"))
        if "norm" not in name and "before" not in name and value.ndim > 1:
            expected = 0.02 / 6**0.5 if ends else 0.02
            assert value.std().item() == pytest.approx(expected, rel=0.05), name
        elif name.endswith("bias"):
            assert not value.any(), name


def test_a_resnet_has_the_papers_size() -> None:
    """0.27 million parameters in 20 layers and 0.46 million in 32: table 6."""
    counts = {blocks: sum(each.numel() for each in ResNet((3, 32, 32), 10, blocks).parameters())
              for blocks in (3, 5)}  # fmt: skip
    assert counts == {3: 269_722, 5: 464_154}
    weights = [each for each in ResNet((3, 32, 32), 10, 3).parameters() if each.ndim > 1]
    assert len(weights) == 20


def test_a_resnet_halves_with_each_stage_but_the_first() -> None:
    for channels in ((2, 4, 8), (4, 4, 4)):
        x, sizes = torch.rand(2, channels[0], 8, 8), []
        for block in ResNet((1, 8, 8), 3, 2, channels).blocks:
            x = block(x)
            sizes.append(x.shape[2:])
        assert sizes == [(8, 8), (8, 8), (4, 4), (4, 4), (2, 2), (2, 2)]


def test_a_resnets_block_adds_what_went_in() -> None:
    model = ResNet((2, 8, 8), 3, 1, (2, 4))
    block, inputs = model.blocks[1], torch.rand(1, 2, 8, 8)
    nn.init.zeros_(block.second_norm.weight)  # type: ignore[union-attr,arg-type]
    expected = torch.zeros(1, 4, 4, 4)
    expected[:, :2] = inputs[:, :, ::2, ::2]
    assert torch.equal(block(inputs), expected)


def test_batch_norm_and_dropout_are_settings() -> None:
    kinds = [type(each).__name__ for each in CNN((1, 8), 2, (4,), dropout=0.5).modules()]
    assert "BatchNorm1d" in kinds and "Dropout" in kinds
    plain = CNN((1, 8), 2, (4,), batch_norm=False, dropout=0.9)
    assert "BatchNorm1d" not in [type(each).__name__ for each in plain.modules()]
    x = torch.randn(3, 1, 8)
    assert not torch.equal(plain(x), plain(x))
    assert torch.equal(plain.eval()(x), plain(x))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: CNN((64,), 2), r"\(channels, length\) .* got \(64,\)"),
        (lambda: CNN((1, 4, 4), 2, (8, 8, 8)), r"3 blocks halve inputs of shape \(1, 4, 4\)"),
        (lambda: CNN((1, 8), 2, (0,)), r"channels .* \[0\]"),
        (lambda: CNN((1, 8), 2, ()), r"channels .* \[\]"),
        (lambda: CNN((1, 8), 2, dropout=1.0), r"dropout .* 1.0"),
        (lambda: ResNet((64,), 2), r"\(channels, height, width\), got \(64,\)"),
        (lambda: ResNet((1, 8, 8), 2, 0), "blocks .* 0"),
        (lambda: ResNet((1, 8, 8), 2, 1, (8, 4)), r"fewer, got \[8, 4\]"),
        (lambda: ResNet((1, 8, 8), 2, 1, ()), r"channels .* \[\]"),
        (lambda: Autoencoder(4, 4, ()), r"hidden_sizes .* \[\]"),
        (lambda: DeepLinear(4, 4, 0), "depth .* 0"),
        (lambda: DeepLinear(4, 4, 2, 0), "width .* 0"),
        (lambda: Factorization(4, 0), "rank .* 0"),
        (lambda: Quadratic(12), r"2\^k features, got 12"),
        (lambda: Quadratic(4, 0.5), "condition .* 0.5"),
        (lambda: Transformer(4, 4, (4,), width=6, heads=4), "multiple of heads=4, got 6"),
        (lambda: Transformer(4, 4, (3, 4)), r"\(4, values\), not \(3, 4\)"),
        (lambda: Transformer(4, 4, (4,), depth=0), "depth .* 0"),
        (lambda: Transformer(4, 4, (4,), dropout=-0.1), "dropout .* -0.1"),
    ],
)
def test_bad_settings(make: Model, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()
