"""What every method promises as a torch.optim.Optimizer; each test runs for each YAML."""

import copy
import inspect
import io
import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch._C._profiler import _ExperimentalConfig
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from src.optimizers import kernels, method
from src.optimizers.directions import coupled, decoupled
from src.optimizers.settings import FRACTION
from src.training.loop import wants_closure
from tests.optimizers.methods import (
    CONF,
    METHODS,
    SHAPES,
    build,
    class_of,
    clones,
    decay,
    distance,
    forms,
    give,
    idle,
    remembered,
    run,
    same,
    settings_of,
    step,
    tensors,
)

# Where a rule decays the weights itself (decay=None), a test of that method says how.
COUPLED, DECOUPLED = (
    [name for name in METHODS if decay(name, 0.0) and class_of(name).rule.decay is how]
    for how in (coupled, decoupled)
)
COMPLEX = [name for name in METHODS if class_of(name).allows_complex]
ELEMENTWISE = [name for name in METHODS if class_of(name).rule.elementwise]
FUSED = [name for name in METHODS if "fused" in build(name, [torch.zeros(1)]).defaults]
FORMS = [pytest.param(name, {}, id=name) for name in METHODS] + [
    pytest.param(name, form, id=f"{name}-{word}") for name in METHODS for word, form in forms(name)
]
STEPS = range(4)

every_method = pytest.mark.parametrize("name", METHODS)
every_form = pytest.mark.parametrize(("name", "form"), FORMS)


def trained(name: str, steps: Sequence[int] = STEPS, **overrides: Any) -> list[Tensor]:
    """The parameters after steps with random gradients."""
    params = tensors()
    run(build(name, params, **overrides), params, steps)
    return params


@every_method
def test_yaml_and_class_have_the_same_defaults(name: str) -> None:
    config = OmegaConf.load(CONF / f"{name}.yaml")
    by_yaml = hydra.utils.instantiate(
        config, [torch.zeros(1)], _convert_="all", _execution_whitelist_=["src.*"]
    )
    by_class = class_of(name)([torch.zeros(1)])
    assert isinstance(by_yaml, Optimizer)
    assert set(settings_of(name)) == set(by_class.defaults) - {"maximize", "fused"}
    for key, value in by_class.defaults.items():
        assert plain(by_yaml.defaults[key]) == plain(value)


def plain(value: Any) -> Any:
    """A pair as a list, whatever it was."""
    return list(value) if isinstance(value, tuple) else value


@every_method
def test_docstring(name: str) -> None:
    doc = inspect.getdoc(class_of(name)) or ""
    arguments = list(inspect.signature(class_of(name)).parameters)
    assert all(f"    {argument}: " in doc for argument in arguments)
    assert all(part in doc for part in ("Args:", "Raises:", "ValueError", "Reference", "https://"))
    assert "θ ←" in doc
    assert "torch.optim" in doc, "say what differs from torch"


@every_method
def test_has_a_line_in_the_table(name: str) -> None:
    table = (Path(__file__).parents[2] / "docs" / "optimizers.md").read_text()
    assert f"| `{name}` |" in table


@every_form
def test_steps_change_every_parameter(name: str, form: dict[str, Any]) -> None:
    start = tensors()
    assert same(trained(name, range(idle(name)), **form), start)
    after = trained(name, range(idle(name) + 1), **form)
    assert all(bool((x != y).all()) for x, y in zip(start, after, strict=True))
    assert all(bool(x.isfinite().all()) for x in after)


@every_form
def test_same_bits_twice(name: str, form: dict[str, Any]) -> None:
    assert same(trained(name, **form), trained(name, **form))


@every_form
def test_groups_have_their_own_settings(name: str, form: dict[str, Any]) -> None:
    params = tensors()
    second = decay(name, 0.25) or {"lr": 0.25}
    groups = [{"params": params[:2], "lr": 0.5}, {"params": params[2:], **second}]
    run(build(name, groups, **form), params, STEPS)
    alone = tensors()
    for part, settings in ((alone[:2], {"lr": 0.5}), (alone[2:], second)):
        optimizer = build(name, part, **settings, **form)
        for seed in STEPS:
            drawn = tensors(1000 + seed)
            give(alone, drawn)
            step(optimizer)
    assert same(params, alone) or class_of(name).couples
    assert not same(params, trained(name, **form))


@every_method
def test_add_param_group(name: str) -> None:
    first, second = tensors(0, shapes=[(5, 4)]), tensors(1, shapes=[(6,)])
    optimizer = build(name, first)
    run(optimizer, first, [0])
    optimizer.add_param_group({"params": second, "lr": 0.125})
    run(optimizer, [*first, *second], [1, 2])
    assert optimizer.param_groups[1]["lr"] == 0.125
    assert not same(second, tensors(1, shapes=[(6,)]))


@every_method
def test_bad_group_is_not_added(name: str) -> None:
    optimizer = build(name, tensors())
    with pytest.raises(ValueError, match=r"lr must be a number >= 0, got -1"):
        optimizer.add_param_group({"params": [torch.zeros(2)], "lr": -1})
    assert len(optimizer.param_groups) == 1
    bad = decay(name, -0.5) or {"lr": -0.5}
    with pytest.raises(ValueError, match=next(iter(bad))):
        build(name, [{"params": tensors(), **bad}])


@every_method
def test_bad_default_is_refused_though_every_group_overrides_it(name: str) -> None:
    with pytest.raises(ValueError, match=r"lr must be a number >= 0, got -1"):
        build(name, [{"params": tensors(), "lr": 0.1}], lr=-1)


@every_form
def test_groups_without_gradients_do_nothing(name: str, form: dict[str, Any]) -> None:
    for groups in ([], [{"params": []}]):
        params, expected = tensors(), tensors()
        idle = [{"params": tensors(1)}, *groups]
        optimizer = build(name, [*idle, {"params": params}], **form)
        run(optimizer, params, STEPS)
        run(build(name, expected, **form), expected, STEPS)
        assert same(params, expected)
        assert same(idle[0]["params"], tensors(1))
    untouched = tensors()
    step(build(name, untouched, **form))
    assert same(untouched, tensors())


def bad_settings() -> list[Any]:
    """(method, argument, values) for every argument of every method."""
    cases = []
    for name in METHODS:
        for key, value in build(name, [torch.zeros(1)]).defaults.items():
            bad: list[Any] = ["abc", *([] if value is None else [None]), math.nan, math.inf]
            if isinstance(value, bool):
                bad += ["no", "true", 0, 1, torch.tensor(True)]
            elif isinstance(value, list):
                long = [*value, 0.5]
                bad = ["abc", None, 0.9, value[:1], long, [math.nan, *value[1:]], ["a", *value[1:]]]
                bad += [[1.0, *value[1:]], [*value[:-1], -0.1]] if "betas" in key else []
            elif not isinstance(value, str):
                bad += [-1, -1e-9, True, torch.tensor(True)]
            if key.endswith(("eps", "steps")):
                bad += [0]
            if class_of(name).settings[key].check is FRACTION:
                bad += [1, 1.5]
            cases.append(pytest.param(name, key, bad, id=f"{name}-{key}"))
    return cases


@pytest.mark.parametrize(("name", "key", "values"), bad_settings())
def test_bad_setting_is_named(name: str, key: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=rf"^{key}.* must be .*, got ") as raised:
            build(name, tensors(), **{key: value})
        text = str(raised.value)
        parts = value if isinstance(value, list) else []
        assert any(text.endswith(f"got {part!r}") for part in (value, *parts)), (value, text)
        assert "\n" not in text


@every_method
def test_edges_of_ranges_are_allowed(name: str) -> None:
    lowest = dict.fromkeys(("lr", "weight_decay", "momentum", "alpha", "rho", "lr_decay"), 0)
    known = {key: value for key, value in lowest.items() if key in settings_of(name)}
    run(build(name, params := tensors(), **known), params, STEPS)
    assert same(params, tensors())  # lr is 0


@every_method
def test_closure(name: str) -> None:
    params = [tensor.requires_grad_() for tensor in tensors()]
    optimizer = build(name, params)

    def closure() -> Tensor:
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        loss = sum(0.3 * (param**2).sum() for param in params)
        assert isinstance(loss, Tensor)
        loss.backward()
        return loss.detach()

    before = float(closure())
    for _ in range(idle(name) + 1):
        loss = optimizer.step(closure)
        assert float(loss) == before
    assert float(closure()) != before
    assert wants_closure(optimizer) or optimizer.step() is None
    assert all(param.requires_grad and param.is_leaf for param in params)


@every_form
def test_no_gradient_no_step(name: str, form: dict[str, Any]) -> None:
    params = tensors()
    optimizer = build(name, params, **form)
    for seed in STEPS:
        give(params, tensors(1000 + seed))
        params[1].grad = None
        step(optimizer)
    expected = trained(name, **form)
    expected[1] = tensors()[1]
    assert same(params, expected) or class_of(name).couples
    assert torch.equal(params[1], tensors()[1])
    assert params[1] not in optimizer.state
    give(params[1:2], tensors(7, shapes=[SHAPES[1]]))
    step(optimizer)  # one parameter's first step beside the others' fifth
    late = tensors()[1:2]
    give(late, tensors(7, shapes=[SHAPES[1]]))
    step(build(name, late, **form))
    assert same(params[1:2], late) or class_of(name).couples


@every_form
def test_gradients_are_not_changed(name: str, form: dict[str, Any]) -> None:
    for settings in ({}, decay(name, 0.1), {"maximize": True}):
        params, grads = tensors(), tensors(1)
        optimizer = build(name, params, **settings, **form)
        give(params, grads)
        held = [param.grad for param in params]
        for _ in STEPS:
            step(optimizer)
            assert all(param.grad is grad for param, grad in zip(params, held, strict=True))
            assert same([param.grad for param in params if param.grad is not None], grads)


@every_form
def test_maximize_is_minimizing_the_negative(name: str, form: dict[str, Any]) -> None:
    up, down = tensors(), tensors()
    run(build(name, up, maximize=True, **decay(name, 0.0), **form), up, STEPS)
    run(build(name, down, **decay(name, 0.0), **form), down, STEPS, scale=-1.0)
    assert same(up, down)


@pytest.mark.parametrize("name", COUPLED)
def test_weight_decay_is_part_of_the_gradient(name: str) -> None:
    decayed, explicit = tensors(0, torch.float64), tensors(0, torch.float64)
    ours, other = build(name, decayed, weight_decay=0.3), build(name, explicit, weight_decay=0.0)
    for seed in STEPS:
        grads = tensors(1000 + seed, torch.float64)
        give(decayed, grads)
        give(explicit, [g + 0.3 * p for g, p in zip(grads, explicit, strict=True)])
        step(ours)
        step(other)
    assert distance(decayed, explicit) < 1e-14


@pytest.mark.parametrize("name", DECOUPLED)
def test_weight_decay_is_beside_the_gradient(name: str) -> None:
    params, start = tensors(0, torch.float64), tensors(0, torch.float64)
    optimizer = build(name, params, weight_decay=0.3, lr=0.1)
    give(params, [torch.zeros_like(param) for param in params])
    for _ in range(idle(name) + 3):
        step(optimizer)
    assert distance(params, [param * (1 - 0.3 * 0.1) ** 3 for param in start]) < 1e-14


@every_form
def test_zero_gradients_change_nothing(name: str, form: dict[str, Any]) -> None:
    params = tensors()
    optimizer = build(name, params, **decay(name, 0.0), **form)
    give(params, [torch.zeros_like(param) for param in params])
    for _ in STEPS:
        step(optimizer)
    assert same(params, tensors())


def resumed(name: str, optimizer: Optimizer, params: list[Tensor], way: str) -> tuple[Any, Any]:
    """A second optimizer that goes on where the first is, on its own parameters."""
    if way == "deepcopy":
        return copy.deepcopy((optimizer, params))
    if way == "pickle":
        return pickle.loads(pickle.dumps((optimizer, params)))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    fresh = clones(params)
    other = build(name, fresh, lr=123.0)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other, fresh


@pytest.mark.parametrize("way", ["state_dict", "deepcopy", "pickle"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@every_form
def test_resuming_changes_no_bit(
    name: str, form: dict[str, Any], way: str, dtype: torch.dtype
) -> None:
    params = tensors(0, dtype)
    first = build(name, params, **form)
    run(first, params, [0, 1, 2])
    second, copies = resumed(name, first, params, way)
    assert all(x is not y for x, y in zip(params, copies, strict=True))
    for optimizer, own in ((first, params), (second, copies)):
        run(optimizer, own, [3, 4, 5])
    assert same(params, copies)
    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"]


@every_method
def test_step_hooks(name: str) -> None:
    params = tensors()
    optimizer = build(name, params)
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    run(optimizer, params, [0, 1])
    assert seen == ["before", "after"] * 2


@every_method
def test_hooks_of_all_optimizers(name: str) -> None:
    params = tensors()
    optimizer = build(name, params)
    seen: list[str] = []
    hooks = [
        register_optimizer_step_pre_hook(lambda *_: seen.append("before")),
        register_optimizer_step_post_hook(lambda *_: seen.append("after")),
    ]
    try:
        run(optimizer, params, [0])
    finally:
        for hook in hooks:
            hook.remove()
    run(optimizer, params, [1])
    assert seen == ["before", "after"]


@pytest.mark.parametrize("everywhere", [False, True])
def test_the_profiler_finds_the_step(everywhere: bool) -> None:
    params = tensors()
    optimizer = build("adam", params)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU],
        experimental_config=_ExperimentalConfig(profile_all_threads=everywhere),
    ) as profile:
        run(optimizer, params, [0])
    assert "Optimizer.step#Adam.step" in {event.key for event in profile.key_averages()}


@every_form
def test_autograd_notices_the_step(name: str, form: dict[str, Any]) -> None:
    """A gradient that needs the weights from before the step is refused, not wrong."""
    param = torch.ones(3, 2).requires_grad_()
    optimizer = build(name, [param], **form)
    loss = (param**3).sum()
    loss.backward(retain_graph=True)
    step(optimizer)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@every_method
def test_torch_schedulers_set_the_rate(name: str) -> None:
    params, by_hand = tensors(), tensors()
    optimizer, other = build(name, params, lr=0.4), build(name, by_hand, lr=0.4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    for seed in range(5):
        other.param_groups[0]["lr"] = 0.4 * 0.5 ** (seed // 2)
        run(optimizer, params, [seed])
        run(other, by_hand, [seed])
        scheduler.step()
    assert same(params, by_hand)


@every_form
def test_rate_may_be_a_tensor(name: str, form: dict[str, Any]) -> None:
    rate = torch.tensor(0.25)
    params, plain = tensors(), tensors()
    optimizer, other = build(name, params, lr=rate, **form), build(name, plain, lr=0.25, **form)
    run(optimizer, params, STEPS)
    run(other, plain, STEPS)
    rate.fill_(0.0625)
    other.param_groups[0]["lr"] = 0.0625
    run(optimizer, params, STEPS)
    run(other, plain, STEPS)
    assert same(params, plain)
    assert optimizer.param_groups[0]["lr"] is rate


@every_method
def test_rate_must_be_one_number(name: str) -> None:
    with pytest.raises(ValueError, match="lr must be a number >= 0"):
        build(name, tensors(), lr=torch.tensor([0.1, 0.2]))
    with pytest.raises(ValueError, match="lr must be a number >= 0"):
        build(name, tensors(), lr=torch.tensor(-0.1))


@every_form
def test_empty_and_not_contiguous_parameters(name: str, form: dict[str, Any]) -> None:
    grads = tensors(1, shapes=[(4, 6)])[0]
    plain = tensors(0, shapes=[(4, 6)])[0]
    turned = plain.t().contiguous().t()
    sliced = torch.zeros(4, 12)[:, ::2].copy_(plain)
    empty = [torch.zeros(0), torch.zeros(0, 3), torch.zeros(3, 0)]
    params = [plain, turned, sliced, *empty]
    optimizer = build(name, params, **form)
    for _ in STEPS:
        give(params, [grads, grads, grads, *empty])
        sliced.grad = grads.t().contiguous().t()
        step(optimizer)
    assert not turned.is_contiguous()
    assert not sliced.is_contiguous()
    # Two units in the last place: whether a kernel is vectorised depends on the layout.
    for other in (turned, sliced):
        torch.testing.assert_close(other, plain, rtol=3e-7, atol=1e-7)
    assert not torch.equal(plain, tensors(0, shapes=[(4, 6)])[0])


@every_form
def test_precision_is_kept(name: str, form: dict[str, Any]) -> None:
    exact, rough = tensors(0, torch.float64), [x.bfloat16() for x in tensors(0, torch.float64)]
    run(build(name, exact, lr=0.1, **form), exact, STEPS)
    optimizer = build(name, rough, lr=0.1, **form)
    run(optimizer, rough, STEPS)
    for params, dtype in ((exact, torch.float64), (rough, torch.bfloat16)):
        assert all(param.dtype == dtype for param in params)
    assert all(value.dtype == torch.bfloat16 for value in remembered(optimizer))
    if class_of(name).continuous:
        assert distance([param.double() for param in rough], exact) < 0.02


@pytest.mark.parametrize("name", [name for name in METHODS if not class_of(name).continuous])
def test_rounding_decides_where_to_and_not_how_far(name: str) -> None:
    """For the others `test_precision_is_kept` compares every element."""
    for _, form in [("", {}), *forms(name)]:
        lengths = []
        for dtype in (torch.float64, torch.bfloat16):
            params = tensors(0, dtype)
            run(build(name, params, lr=0.1, **form), params, range(idle(name) + 1))
            start = tensors(0, dtype)
            lengths.append([float((x - y).norm()) for x, y in zip(params, start, strict=True)])
        assert lengths[1] == pytest.approx(lengths[0], rel=0.05)


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_steps_turn_with_the_gradient(name: str) -> None:
    """A rule that sees |g| only turns its step when parameter and gradient are turned."""
    turn = complex(math.cos(0.7), math.sin(0.7))
    params = tensors(0, torch.complex128)
    turned = [param * turn for param in params]
    ours, other = build(name, params), build(name, turned)
    for seed in STEPS:
        grads = tensors(1000 + seed, torch.complex128)
        give(params, grads)
        give(turned, [grad * turn for grad in grads])
        step(ours)
        step(other)
    back = [param / turn for param in turned]
    assert (
        distance([torch.view_as_real(x) for x in back], [torch.view_as_real(x) for x in params])
        < 1e-13
    )


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_without_imaginary_part_is_real(name: str) -> None:
    real = tensors(0, torch.float64)
    params = [torch.complex(param, torch.zeros_like(param)) for param in real]
    ours, other = build(name, params), build(name, real)
    for seed in STEPS:
        grads = tensors(1000 + seed, torch.float64)
        give(real, grads)
        give(params, [torch.complex(grad, torch.zeros_like(grad)) for grad in grads])
        step(ours)
        step(other)
    assert all(bool((param.imag == 0).all()) for param in params)
    assert distance([param.real for param in params], real) < 1e-14
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    ours.load_state_dict(torch.load(file, weights_only=True))
    run(ours, params, [9])


@pytest.mark.parametrize("name", [name for name in METHODS if name not in COMPLEX])
def test_complex_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"needs real parameters, got torch\.complex64"):
        build(name, [torch.zeros(2, dtype=torch.complex64)])


@every_form
def test_sparse_is_refused(name: str, form: dict[str, Any]) -> None:
    param = torch.ones(3, 2)
    optimizer = build(name, [param], **form)
    param.grad = torch.ones(3, 2).to_sparse()
    with pytest.raises(RuntimeError, match=r"needs dense gradients, got torch\.sparse_coo"):
        step(optimizer)
    assert torch.equal(param, torch.ones(3, 2))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_blocks_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    form = {"fused": False} if name in FUSED else {}
    shapes = [(7, 5), (64,), (3,)]
    whole, pieces = tensors(0, shapes=shapes), tensors(0, shapes=shapes)
    run(build(name, whole, **form), whole, STEPS)
    monkeypatch.setattr(method, "BLOCK", 16)
    run(build(name, pieces, **form), pieces, STEPS)
    assert distance(pieces, whole) < 1e-7


@pytest.mark.parametrize("name", FUSED)
def test_kernel_takes_the_place_of_the_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel really runs, and agrees with the rule; the twins compare both with torch."""
    plain = trained(name, fused=False, weight_decay=0.1)
    with monkeypatch.context() as patched:
        patched.setattr(class_of(name), "update", None)
        fused = trained(name, weight_decay=0.1)
    assert distance(fused, plain) < 1e-6
    rough = tensors(0, torch.bfloat16)  # which torch's kernels round differently
    run(build(name, rough, weight_decay=0.1), rough, STEPS)
    other = tensors(0, torch.bfloat16)
    run(build(name, other, weight_decay=0.1, fused=False), other, STEPS)
    assert same(rough, other)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "torch").glob("*.yaml")))
def test_torch_classes_work_from_yaml(name: str) -> None:
    params = tensors()
    optimizer = hydra.utils.instantiate(
        OmegaConf.load(CONF / "torch" / f"{name}.yaml"),
        params,
        _convert_="all",
        _execution_whitelist_=["torch.optim.*"],
    )
    assert type(optimizer).__module__.startswith("torch.optim")
    for key, value in type(optimizer)(params).defaults.items():
        if key in OmegaConf.load(CONF / "torch" / f"{name}.yaml"):
            assert plain(optimizer.defaults[key]) == plain(value)
    if wants_closure(optimizer):
        give(params, tensors(1))
        optimizer.step(lambda: 1.0)
    else:
        run(optimizer, params, STEPS)
    assert not same(params, tensors())


def test_kernels_take_tensors_of_one_device_only() -> None:
    here, away = torch.zeros(2), torch.zeros(2, device="meta")
    assert kernels.fusible([here, here], [here, here], [{}, {}])
    assert not kernels.fusible([here, away], [here, away], [{}, {}])
