"""What defines each method, and where one becomes another."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from src.optimizers.formulas import power
from tests.optimizers.methods import (
    SHAPES,
    build,
    clones,
    distance,
    give,
    run,
    same,
    tensors,
)

DOUBLE = torch.float64
STEPS = range(6)


def path(name: str, grads: list[list[Tensor]], **settings: Any) -> list[list[Tensor]]:
    """The parameters before and after each step with the given gradients, in double."""
    params = tensors(0, DOUBLE, [tuple(grad.shape) for grad in grads[0]])
    optimizer = build(name, params, **settings)
    seen = [clones(params)]
    for grad in grads:
        give(params, grad)
        optimizer.step()
        seen.append(clones(params))
    return seen


def random(steps: int = 6, scale: float = 1.0) -> list[list[Tensor]]:
    """Different gradients each step."""
    return [[scale * grad for grad in tensors(100 + step, DOUBLE)] for step in range(steps)]


def constant(steps: int = 6, scale: float = 1.0) -> list[list[Tensor]]:
    """The same gradients each step."""
    return random(1, scale) * steps


def moves(seen: list[list[Tensor]]) -> list[list[Tensor]]:
    """By how much each step changed the parameters."""
    pairs = itertools.pairwise(seen)
    return [[b - a for a, b in zip(before, after, strict=True)] for before, after in pairs]


def near(ours: list[Tensor], theirs: list[Tensor], tolerance: float = 1e-12) -> bool:
    return distance(ours, theirs) < tolerance


@pytest.mark.parametrize(
    ("name", "settings", "other", "others"),
    [
        ("momentum", {"momentum": 0.0}, "sgd", {}),
        ("nesterov", {"momentum": 0.0}, "sgd", {}),
        ("adamw", {"weight_decay": 0.0}, "adam", {}),
        ("nadam", {"betas": (0.0, 0.99), "lr": 0.1}, "adam", {"betas": (0.0, 0.99), "lr": 0.1}),
        ("rmsprop", {"alpha": 0.0, "lr": 0.1}, "adam", {"betas": (0.0, 0.0), "lr": 0.1}),
        (
            "rmsprop",
            {"alpha": 0.0, "momentum": 0.5, "eps": 1e-30},
            "momentum",
            {"signs": True},
        ),
        ("amsgrad", {"betas": (0.9, 0.0), "lr": 0.1}, "adam", {"growing": True}),
        ("radam", {"betas": (0.0, 0.5), "lr": 0.1}, "sgd", {"lr": 0.1}),
        ("nadamw", {"betas": (0.0, 0.9)}, "adamw", {"betas": (0.0, 0.9)}),
        ("adan", {"betas": (0.8, 0.0, 0.9)}, "adam", {"betas": (0.8, 0.9)}),
        ("signum", {"momentum": 0.8, "lr": 0.1}, "lion", {"betas": (0.8, 0.8), "lr": 0.1}),
        ("signum", {"momentum": 0.0, "lr": 0.1}, "momentum", {"momentum": 0.0, "signs": True}),
        # Where nothing is foretold but the gradient itself, the variance is that of ε alone.
        ("adabelief", {"betas": (0.0, 0.99), "eps": 0.01, "lr": 0.101}, "sgd", {"lr": 0.1}),
    ],
    ids=str,
)
def test_limiting_case(
    name: str, settings: dict[str, Any], other: str, others: dict[str, Any]
) -> None:
    grads, seen_by_other, others = random(), random(), dict(others)
    if others.pop("growing", False):
        grads = seen_by_other = [[g * 10.0**t for g in constant(1)[0]] for t in range(6)]
        others = settings
    if others.pop("signs", False):
        seen_by_other = [[grad.sign() for grad in several] for several in grads]
        others = {"lr": 0.01, "momentum": settings["momentum"]}
        settings = {**settings, "lr": 0.01}
    ours, theirs = path(name, grads, **settings), path(other, seen_by_other, **others)
    assert all(near(x, y) for x, y in zip(ours, theirs, strict=True))
    assert not near(ours[-1], ours[0])


def test_sgd_is_the_gradient() -> None:
    for before, step in zip(random(), moves(path("sgd", random(), lr=0.1)), strict=True):
        assert near(step, [-0.1 * grad for grad in before])


def test_momentum_starts_with_the_gradient_and_ends_ten_times_faster() -> None:
    grads = constant(300)
    steps = moves(path("momentum", grads, lr=0.1, momentum=0.9))
    assert near(steps[0], [-0.1 * grad for grad in grads[0]])
    assert near(steps[1], [-0.1 * 1.9 * grad for grad in grads[0]])
    assert near(steps[-1], [-0.1 * 10 * grad for grad in grads[0]], 1e-9)


def test_nesterov_is_momentum_with_the_gradient_ahead() -> None:
    """The textbook's form on a quadratic: φ moves by v, the gradient is taken at φ + μ·v."""
    curvature, start = np.logspace(0, 2, 6), tensors(0, DOUBLE, [(6,)])[0].numpy()
    lr, mu, phi, velocity, ahead = 0.003, 0.9, start.copy(), np.zeros(6), []
    for _ in range(50):
        velocity = mu * velocity - lr * curvature * (phi + mu * velocity)
        phi = phi + velocity
        ahead.append(phi + mu * velocity)
    params = tensors(0, DOUBLE, [(6,)])
    optimizer = build("nesterov", params, lr=lr, momentum=mu)
    for expected in ahead:
        give(params, [torch.from_numpy(curvature) * params[0]])
        optimizer.step()
        np.testing.assert_allclose(params[0].numpy(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("adam", {"eps": 1e-30}),
        ("amsgrad", {"eps": 1e-30}),
        ("adamw", {"eps": 1e-30}),
        ("nadam", {"eps": 1e-30}),
        ("adamax", {"eps": 1e-30}),
        ("adagrad", {"eps": 1e-30}),
        ("rmsprop", {"eps": 1e-30}),
        ("rmsprop", {"eps": 1e-30, "momentum": 0.9}),
        ("rmsprop", {"eps": 1e-30, "centered": True}),
        ("radam", {"eps": 1e-30, "betas": (0.9, 0.999), "skip": 5}),
        ("lion", {}),
        ("signum", {}),
        ("adopt", {"eps": 1e-30, "skip": 1}),
        ("adan", {"eps": 1e-30}),
        ("nadamw", {"eps": 1e-30}),
        ("adabelief", {"eps": 1e-60}),
    ],
    ids=str,
)
def test_step_does_not_depend_on_the_gradients_scale(name: str, settings: dict[str, Any]) -> None:
    settings = dict(settings)
    skip = settings.pop("skip", 0)  # RAdam's first steps are momentum's, ADOPT's is none
    small, large = random(10, 1e-3), random(10, 1e3)
    ours = moves(path(name, small, **settings))[skip:]
    theirs = moves(path(name, large, **settings))[skip:]
    assert all(near(x, y, 1e-9) for x, y in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad", "adamax"])
def test_first_steps_are_lr_times_the_sign(name: str) -> None:
    """With a constant gradient the corrected averages are g and g² from the first step on."""
    grads = constant()
    for step in moves(path(name, grads, lr=0.1, eps=1e-30, weight_decay=0.0)):
        assert near(step, [-0.1 * grad.sign() for grad in grads[0]])


def test_epsilon_stands_outside_the_root_and_after_the_correction() -> None:
    grads = constant(1, 1e-4)
    for name in ("adam", "adamw", "amsgrad"):
        step = moves(path(name, grads, lr=0.1, eps=1e-3, weight_decay=0.0))[0]
        assert near(step, [-0.1 * grad / (grad.abs() + 1e-3) for grad in grads[0]])


def test_amsgrad_never_grows_its_steps() -> None:
    """After one large gradient its denominator stays, where Adam's forgets."""
    grads = random(1, 100.0) + constant(60)
    settings = {"lr": 0.1, "betas": (0.0, 0.5)}
    kept = moves(path("amsgrad", grads, **settings))[-1]
    forgotten = moves(path("adam", grads, **settings))[-1]
    assert float(kept[0].abs().max()) < 0.2 * float(forgotten[0].abs().min())
    params = tensors()
    optimizer = build("amsgrad", params)
    largest = [torch.zeros_like(param) for param in params]
    for seed in STEPS:
        run(optimizer, params, [seed], scale=3.0 - seed / 2)
        maxima = [optimizer.state[param]["max_exp_avg_sq"].clone() for param in params]
        averages = [optimizer.state[param]["exp_avg_sq"] for param in params]
        expected = [torch.maximum(old, new) for old, new in zip(largest, averages, strict=True)]
        assert same(maxima, expected)
        largest = maxima


def test_adagrad_slows_down_with_the_root_of_time() -> None:
    grads = constant(20)
    for t, step in enumerate(moves(path("adagrad", grads, lr=0.1, eps=1e-30)), start=1):
        assert near(step, [-0.1 / t**0.5 * grad.sign() for grad in grads[0]])


def test_centred_rmsprop_divides_by_the_deviation() -> None:
    """Gradients a ± b in turns have root mean square √(a² + b²) and deviation b."""
    a, b = tensors(3, DOUBLE, [(50,)])[0], tensors(4, DOUBLE, [(50,)])[0].abs() + 0.1
    grads = [[a + b], [a - b]] * 2000
    settings = {"lr": 0.1, "alpha": 0.99, "eps": 1e-30}
    for centered, scale in ((True, b), (False, (a**2 + b**2).sqrt())):
        last = moves(path("rmsprop", grads, centered=centered, **settings))[-1]
        torch.testing.assert_close(last[0], -0.1 * (a - b) / scale, rtol=0.02, atol=1e-3)


def test_centred_rmsprop_survives_constant_gradients() -> None:
    """Rounding takes the variance below 0; torch.optim.RMSprop gives NaN here."""
    params, twins = tensors(0, shapes=[(500,)]), tensors(0, shapes=[(500,)])
    optimizer = build("rmsprop", params, centered=True)
    other = torch.optim.RMSprop(twins, centered=True)
    for _ in range(3000):
        give(params, tensors(1, shapes=[(500,)]))
        give(twins, tensors(1, shapes=[(500,)]))
        optimizer.step()
        other.step()
    assert bool(params[0].isfinite().all())
    assert bool(twins[0].isnan().any()), "the case no longer shows the difference"


def test_rmsprop_can_be_centred_later() -> None:
    params = tensors()
    optimizer = build("rmsprop", params)
    run(optimizer, params, [0])
    optimizer.param_groups[0]["centered"] = True
    run(optimizer, params, [1])
    assert all("grad_avg" in optimizer.state[param] for param in params)
    plain = tensors()
    run(build("rmsprop", plain), plain, [0, 1])
    assert not same(params, plain)


def test_adadelta_balances_units() -> None:
    """Its first step is √ε / √((1−ρ)·g² + ε) · g, whatever the gradient's unit."""
    grads = constant(1)
    step = moves(path("adadelta", grads, rho=0.9, eps=1e-6))[0]
    assert near(step, [-1e-3 * g / (0.1 * g**2 + 1e-6).sqrt() for g in grads[0]])


def test_adamax_never_moves_further_than_lr_after_large_gradients() -> None:
    grads = [[grad / (t + 1) for grad in tensors(100, DOUBLE)] for t in range(20)]
    for step in moves(path("adamax", grads, lr=0.1)):
        assert all(float(move.abs().max()) <= 0.1 * (1 + 1e-12) for move in step)


def test_nadam_warms_its_momentum_up() -> None:
    """Its first step by the paper, from numbers worked out here: μ₁, μ₂ and g."""
    grads, mu1, mu2 = (
        constant(1),
        0.9 * (1 - 0.5 * 0.96**0.004),
        0.9 * (1 - 0.5 * 0.96**0.008),
    )
    factor = mu2 * 0.1 / (1 - mu1 * mu2) + (1 - mu1) / (1 - mu1)
    step = moves(path("nadam", grads, lr=0.1, eps=1e-30))[0]
    assert near(step, [-0.1 * factor * grad.sign() for grad in grads[0]])


def test_radam_begins_as_momentum_and_becomes_adam() -> None:
    grads = constant(6000)
    steps = moves(path("radam", grads, lr=0.1, eps=1e-30, betas=(0.9, 0.99)))
    for step in steps[:5]:
        assert near(step, [-0.1 * grad for grad in grads[0]])
    assert not near(steps[5], [-0.1 * grad for grad in grads[0]], 0.1)
    limit = 2 / (1 - 0.99) - 1  # where ρ has become ρ∞, r is 1
    assert limit == pytest.approx(199)
    assert near(steps[-1], [-0.1 * grad.sign() for grad in grads[0]], 1e-9)


def test_adopt_does_not_move_at_first_and_then_by_what_it_knew() -> None:
    """Each step is scaled by the squares before it; its own gradient's come after."""
    grads = random(3)
    first, second, third = moves(path("adopt", grads, lr=0.1, betas=(0.0, 0.75), weight_decay=0.5))
    assert all(bool((move == 0).all()) for move in first)
    start = tensors(0, DOUBLE)
    scaled = [(g / old.abs()).clamp(-1, 1) for old, g in zip(grads[0], grads[1], strict=True)]
    assert near(second, [-0.1 * (u + 0.5 * p) for u, p in zip(scaled, start, strict=True)])
    known = [(0.75 * x**2 + 0.25 * y**2).sqrt() for x, y in zip(grads[0], grads[1], strict=True)]
    bound = 2**0.25
    scaled = [(g / v).clamp(-bound, bound) for v, g in zip(known, grads[2], strict=True)]
    moved = [p + move for p, move in zip(start, second, strict=True)]
    assert near(third, [-0.1 * (u + 0.5 * p) for u, p in zip(scaled, moved, strict=True)])


def test_adopt_with_a_large_epsilon_is_an_average_of_the_gradients_after_the_first() -> None:
    grads = random()
    ours = path("adopt", grads, lr=0.1, betas=(0.9, 0.99), eps=100.0)[1:]
    theirs = path("momentum", grads[1:], lr=0.1 * (1 - 0.9) / 100, momentum=0.9)
    assert all(near(x, y) for x, y in zip(ours, theirs, strict=True))
    assert not near(ours[-1], ours[0], 1e-6)


def test_mars_without_a_correction_is_adamw_on_short_gradients() -> None:
    settings = {"lr": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.99)}
    short, long = random(scale=0.01), random(scale=100.0)
    for grads, seen in ((short, short), (long, [[g / g.norm() for g in each] for each in long])):
        ours = path("mars", grads, gamma=0.0, **settings)
        assert near(ours[-1], path("adamw", seen, fused=False, **settings)[-1])


def test_mars_adds_what_changed() -> None:
    """After g₁ and g₂ its memory is of g₁ + w·g₁ and of g₂ + w·(g₂ − g₁)."""
    g1, g2 = random(2, 0.01)
    weight = 0.5 * 0.9 / 0.1
    seen = [
        [(1 + weight) * x for x in g1],
        [(1 + weight) * y - weight * x for x, y in zip(g1, g2, strict=True)],
    ]
    settings = {"lr": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.99)}
    ours = path("mars", [g1, g2], gamma=0.5, **settings)
    assert near(ours[-1], path("adamw", seen, fused=False, **settings)[-1])


def test_mars_clips_what_has_no_norm() -> None:
    """Gradients whose squares overflow are clipped as others are: only their scale differs."""
    stepped = []
    for scale in (1e4, 1e30):
        params = tensors()
        run(build("mars", params, lr=0.1, gamma=0.5), params, STEPS, scale)
        stepped.append(params)
    assert near(*stepped, 1e-5)
    params = tensors()
    run(build("mars", params, betas=(0.9999, 0.99), gamma=10.0), params, STEPS, 1e36)
    assert all(bool(param.isfinite().all()) for param in params)


def test_adan_divides_where_others_subtract() -> None:
    nothing = [[torch.zeros_like(grad) for grad in grads] for grads in constant(3)]
    seen = path("adan", nothing, lr=0.1, weight_decay=0.5)
    assert near(seen[-1], [param / 1.05**3 for param in seen[0]])


def test_adan_sees_no_difference_in_a_constant_gradient() -> None:
    for move in moves(path("adan", constant(), lr=0.1, eps=1e-30)):
        assert near(move, [-0.1 * grad.sign() for grad in constant(1)[0]])


def test_nadamw_is_ahead_by_one_step_of_momentum() -> None:
    """With a constant gradient its average is that of the next step."""
    steps = moves(path("nadamw", constant(), lr=0.1, eps=1e-30, weight_decay=0.0))
    for t, step in enumerate(steps, start=1):
        factor = (1 - 0.9 ** (t + 1)) / (1 - 0.9**t)
        assert near(step, [-0.1 * factor * grad.sign() for grad in constant(1)[0]])


def test_adabelief_steps_further_where_the_gradient_is_as_foretold() -> None:
    """With a constant gradient |g − m| is β₁ᵗ·|g|, so that the steps grow."""
    settings = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-60, "weight_decay": 0.0}
    variance = 0.0
    for t, step in enumerate(moves(path("adabelief", constant(), **settings)), start=1):
        variance = 0.99 * variance + 0.01 * 0.9 ** (2 * t)
        length = 0.1 / (variance / (1 - 0.99**t)) ** 0.5
        assert near(step, [-length * grad.sign() for grad in constant(1)[0]])


def test_signum_steps_by_the_sign_of_its_memory() -> None:
    """After g and −g/4 the memory still has the sign of g, with μ = 0.5."""
    g = constant(1)[0]
    steps = moves(path("signum", [g, [-0.25 * x for x in g]], lr=0.1, momentum=0.5))
    assert all(near(step, [-0.1 * x.sign() for x in g]) for step in steps)


def test_lion_steps_by_plus_or_minus_lr() -> None:
    for step in moves(path("lion", random(), lr=0.125, weight_decay=0.0)):
        assert all(near([move.abs()], [torch.full_like(move, 0.125)]) for move in step)


def test_lion_goes_by_an_average_it_does_not_keep() -> None:
    """β₁ weighs the step, β₂ the memory: after g and −g/2 the two orders differ."""
    g = tensors(0, DOUBLE, [(8,)])
    grads = [g, [-0.5 * g[0]]]
    first, second = moves(path("lion", grads, lr=0.1, betas=(0.9, 0.5)))
    assert near(first, [-0.1 * g[0].sign()])
    assert near(second, [-0.1 * g[0].sign()])  # 0.9·0.5·g − 0.1·0.5·g > 0
    last = moves(path("lion", grads, lr=0.1, betas=(0.5, 0.9)))[1]
    assert near(last, [0.1 * g[0].sign()])  # 0.5·0.1·g − 0.5·0.5·g < 0


def unscaled(name: str, grads: list[list[Tensor]], **settings: Any) -> list[Tensor]:
    """The last step of a matrix divided by −lr and its adjustment."""
    step = moves(path(name, grads, lr=1.0, weight_decay=0.0, **settings))[-1][0]
    rows, columns = step.shape[0], step[0].numel()
    return [-step / (0.2 * max(rows, columns) ** 0.5)]


@pytest.mark.parametrize("shape", [(12, 12), (30, 8), (8, 30), (6, 2, 3, 3)], ids=str)
def test_muon_moves_along_singular_directions(shape: tuple[int, ...]) -> None:
    grads = [tensors(seed, DOUBLE, [shape]) for seed in range(3)]
    update = unscaled("muon", grads)[0].flatten(1)
    values = torch.linalg.svdvals(update)
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3
    # The momentum's own directions: uᵀ·X·v is near the identity.
    buffer = sum(0.05 * 0.95 ** (2 - t) * grad[0] for t, grad in enumerate(grads))
    mixed = 0.05 * grads[2][0] + 0.95 * buffer
    u, _, vh = torch.linalg.svd(mixed.flatten(1), full_matrices=False)
    inner = u.T @ update @ vh.T
    assert float((inner - torch.diag(inner.diagonal())).abs().max()) < 0.05


def test_muon_gives_the_rest_to_adamw() -> None:
    shapes = [shape for shape in SHAPES if len(shape) < 2]
    params, others = tensors(0, shapes=shapes), tensors(0, shapes=shapes)
    shared = {"lr": 0.01, "weight_decay": 0.1}
    run(build("muon", params, adamw_betas=(0.8, 0.9), adamw_eps=1e-3, **shared), params, STEPS)
    plain = build("adamw", others, betas=(0.8, 0.9), eps=1e-3, fused=False, **shared)
    run(plain, others, STEPS)
    assert same(params, others)


def test_muon_gives_matrices_that_are_not_hidden_to_adamw() -> None:
    """Embeddings and last layers, as its authors do; the others keep to the matrices' rule."""
    params, others, alone = (tensors(0, shapes=[(5, 4), (3, 2, 2)]) for _ in range(3))
    params[0].hidden = False  # type: ignore[attr-defined]
    shared = {"lr": 0.01, "weight_decay": 0.1}
    run(build("muon", params, adamw_betas=(0.8, 0.9), adamw_eps=1e-3, **shared), params, STEPS)
    run(build("adamw", others, betas=(0.8, 0.9), eps=1e-3, fused=False, **shared), others, STEPS)
    run(build("muon", alone, **shared), alone, STEPS)
    assert same(params[:1], others[:1]) and not same(params[1:], others[1:])
    assert same(params[1:], alone[1:]) and not same(params[:1], alone[:1])


@pytest.mark.parametrize("name", ["soap", "shampoo"])
def test_other_methods_take_such_a_matrix_like_any(name: str) -> None:
    params, others = tensors(0, shapes=[(5, 4)]), tensors(0, shapes=[(5, 4)])
    params[0].hidden = False  # type: ignore[attr-defined]
    run(build(name, params), params, STEPS)
    run(build(name, others), others, STEPS)
    assert same(params, others)


@pytest.mark.parametrize("name", ["muon", "soap", "shampoo"])
def test_a_filter_is_a_matrix_of_its_outputs(name: str) -> None:
    """A convolution's filters, (out, in, height, width), move like (out, in·height·width)."""
    filters, matrix = tensors(0, shapes=[(4, 3, 2, 2)]), tensors(0, shapes=[(4, 12)])
    grads = tensors(1, shapes=[(4, 3, 2, 2)])
    methods = build(name, filters), build(name, matrix)
    for number in range(4):
        for params, method in zip((filters, matrix), methods, strict=True):
            give(params, [(grads[0] * (1 + number)).view(params[0].shape)])
            method.step()
    assert same([filters[0].flatten(1)], matrix)


@pytest.mark.parametrize(
    ("adjustment", "tall", "wide"),
    [("original", 4.0**0.5, 1.0), ("spectral_unclamped", 2.0, 0.5), ("match_rms_adamw", 0.8, 0.8)],
)
def test_muon_adjusts_the_rate_to_the_shape(adjustment: str, tall: float, wide: float) -> None:
    grads = [tensors(0, DOUBLE, [(16, 4), (4, 16)])]
    settings = {"lr": 0.1, "weight_decay": 0.0, "adjust_lr_fn": adjustment}
    for move, scale in zip(moves(path("muon", grads, **settings))[0], (tall, wide), strict=True):
        norm = float(torch.linalg.matrix_norm(move, 2))
        assert 0.65 * 0.1 * scale < norm < 1.25 * 0.1 * scale


SQUARE = [tensors(seed, DOUBLE, [(5, 5)]) for seed in range(10)]


def orthogonal(seed: int, size: int = 5) -> Tensor:
    return torch.linalg.qr(tensors(seed, DOUBLE, [(size, size)])[0])[0]


def test_soap_does_not_move_at_first() -> None:
    seen = path("soap", random(2), weight_decay=0.5)
    assert same(seen[1], seen[0])
    assert not any(bool((x == y).any()) for x, y in zip(seen[2], seen[1], strict=True))


def test_soap_without_rotations_is_adamw_after_the_first_gradient() -> None:
    settings = {"lr": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.99)}
    grads = random(12)
    ours = path("soap", grads, max_precondition_dim=0, precondition_frequency=2, **settings)
    theirs = path("adamw", grads[1:], fused=False, **settings)
    assert all(near(x, y) for x, y in zip(ours[1:], theirs, strict=True))
    turned = path("soap", grads, precondition_frequency=2, **settings)
    assert not near(turned[-1], ours[-1], 0.01)


def test_soap_of_what_is_diagonal_already_is_adamw() -> None:
    """Its bases are the axes in another order."""
    grads = [[torch.diag(g[0].diagonal())] for g in SQUARE]
    settings = {"lr": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.99), "eps": 1e-3}
    ours = path("soap", grads, precondition_frequency=2, **settings)
    theirs = path("adamw", grads[1:], fused=False, **settings)
    assert all(near(x, y, 1e-11) for x, y in zip(ours[1:], theirs, strict=True))


@pytest.mark.parametrize("name", ["soap", "shampoo"])
def test_axes_are_nothing_special(name: str) -> None:
    """A problem that is turned on both sides gives steps that are turned; Adam's would not be."""
    left, right, start = orthogonal(50), orthogonal(51), tensors(0, DOUBLE, [(5, 5)])[0]
    params, turned = [start.clone()], [left @ start @ right]
    settings = {"lr": 0.1, "weight_decay": 0.1, "precondition_frequency": 1}
    settings |= {"grafting_eps": 1e3, "eps": 1e-6} if name == "shampoo" else {}  # SGD's length
    ours, other = build(name, params, **settings), build(name, turned, **settings)
    for (grad,) in SQUARE:
        give(params, [grad])
        give(turned, [left @ grad @ right])
        ours.step()
        other.step()
    assert near([left @ params[0] @ right], turned, 1e-6 if name == "shampoo" else 1e-10)
    assert not near(params, [start], 1e-4)


def test_soap_of_columns_without_gradients() -> None:
    """They change nothing for the others, though their basis is arbitrary."""
    wide = [[torch.cat([g[0], torch.zeros(5, 3, dtype=DOUBLE)], 1)] for g in SQUARE]
    settings = {"lr": 0.1, "weight_decay": 0.0, "precondition_frequency": 2}
    ours = path("soap", wide, **settings)
    theirs = path("soap", SQUARE, **settings)
    went = [last[0] - first[0] for last, first in ((ours[-1], ours[0]), (theirs[-1], theirs[0]))]
    assert near([went[0][:, :5]], [went[1]], 1e-9)
    assert float(went[0][:, 5:].abs().max()) < 1e-9


def test_soap_gives_vectors_to_adamw() -> None:
    settings = {"lr": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.99)}
    grads = [[each[2], each[3]] for each in random(6)]
    ours = path("soap", grads, **settings)[1:]
    theirs = path("adamw", grads[1:], fused=False, **settings)
    assert all(near(x, y) for x, y in zip(ours, theirs, strict=True))


def test_shampoo_begins_as_adamw() -> None:
    settings = {"lr": 0.1, "weight_decay": 0.1}
    ours = path("shampoo", random(4), precondition_frequency=4, **settings)
    theirs = path("adamw", random(4), fused=False, **settings)
    assert all(near(x, y) for x, y in zip(ours[:4], theirs[:4], strict=True))
    assert not near(ours[4][:1], theirs[4][:1], 1e-3)


def test_shampoo_of_a_number_is_adamw() -> None:
    grads = [[each[3]] for each in random(5)]
    settings = {"lr": 0.1, "weight_decay": 0.1}
    ours = path("shampoo", grads, precondition_frequency=1, **settings)
    assert near(ours[-1], path("adamw", grads, fused=False, **settings)[-1])


def test_shampoo_goes_by_the_polar_factor_of_one_gradient() -> None:
    """Between (GGᵀ)^(−1/4) and (GᵀG)^(−1/4) all singular values become 1, as Muon's."""
    settings = {"lr": 0.1, "precondition_frequency": 1, "eps": 1e-14, "grafting_eps": 1e-14}
    step = moves(path("shampoo", SQUARE[:1], **settings))[0][0]
    u, _, vh = torch.linalg.svd(SQUARE[0][0])
    assert near([step], [-0.1 * 5**0.5 * u @ vh], 1e-9)  # as long as 25 elements of 0.1


def test_shampoo_of_a_vector_is_the_full_matrix_form() -> None:
    """One gradient g: (g·gᵀ)^(−1/2)·g has its direction, where Adam has its signs."""
    grads = [[each[2]] for each in random(3)]
    settings = {"lr": 0.1, "precondition_frequency": 1, "eps": 1e-9, "grafting_eps": 1e-14}
    step = moves(path("shampoo", grads[:1], **settings))[0][0]
    assert near([step], [-0.1 * 6**0.5 * grads[0][0] / grads[0][0].norm()], 1e-6)
    stacked = torch.stack([each[0] for each in grads])
    weights = torch.tensor([0.5**2, 0.5, 1.0], dtype=DOUBLE) * 0.5 / (1 - 0.5**3)
    values, vectors = torch.linalg.eigh(stacked.T @ (weights[:, None] * stacked))
    root = vectors @ torch.diag((values.clamp(min=0) + 1e-3) ** -0.5) @ vectors.T
    settings |= {"eps": 1e-3, "betas": (0.0, 0.5)}
    step = moves(path("shampoo", grads, **settings))[-1][0]
    expected = -root @ grads[-1][0]
    assert near([step / step.norm()], [expected / expected.norm()], 1e-9)


def test_shampoo_steps_are_as_long_as_adams() -> None:
    """In each block, whatever the roots make of their direction."""
    settings = {"lr": 0.1, "betas": (0.9, 0.99)}
    ours = moves(path("shampoo", SQUARE, precondition_frequency=3, **settings))
    theirs = moves(path("adam", SQUARE, fused=False, **settings))
    for mine, other in zip(ours, theirs, strict=True):
        assert float(mine[0].norm()) == pytest.approx(float(other[0].norm()), rel=1e-12)


def test_shampoo_of_blocks_is_shampoo_of_each() -> None:
    whole = [[g[0][:4, :4]] for g in SQUARE]
    parts = [[g[0][:2, :2], g[0][:2, 2:4], g[0][2:4, :2], g[0][2:4, 2:4]] for g in SQUARE]
    settings = {"lr": 0.1, "precondition_frequency": 2, "weight_decay": 0.0, "eps": 1e-6}
    ours = path("shampoo", whole, max_preconditioner_dim=2, **settings)
    theirs = path("shampoo", parts, **settings)
    went = (ours[-1][0] - ours[0][0]).split(2)
    blocks = [block for row in went for block in row.split(2, 1)]
    others = [last - first for last, first in zip(theirs[-1], theirs[0], strict=True)]
    assert all(near([x], [y], 1e-9) for x, y in zip(blocks, others, strict=True))


@pytest.mark.parametrize("name", ["soap", "shampoo"])
def test_bases_and_roots_outlive_a_gradient_that_is_not_finite(name: str) -> None:
    params = tensors(0, DOUBLE, [(4, 3)])
    optimizer = build(name, params, precondition_frequency=1)
    run(optimizer, params, [0, 1])

    def found() -> list[Tensor]:
        state = optimizer.state[params[0]]
        sides = state["blocks"][0] if name == "shampoo" else [state["rows"], state["columns"]]
        return [side["root" if name == "shampoo" else "basis"].clone() for side in sides]

    before = found()
    give(params, [torch.full((4, 3), float("inf"), dtype=DOUBLE)])
    optimizer.step()
    run(optimizer, params, [2])
    assert same(found(), before)
    assert not bool(params[0].isfinite().any())


def test_power_of_a_vector_is_the_power_of_each() -> None:
    bases = torch.linspace(0.1, 0.9999, 50, dtype=DOUBLE).view(50, 1, 1)
    powers = power(bases, 37)
    assert isinstance(powers, Tensor)
    assert powers.shape == bases.shape
    assert powers.flatten().tolist() == [base**37 for base in bases.flatten().tolist()]
    exponents = power(0.96, bases)
    assert isinstance(exponents, Tensor)
    assert exponents.flatten().tolist() == [0.96**e for e in bases.flatten().tolist()]
