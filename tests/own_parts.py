"""Optimizers and models as people write them, with state in odd places."""

import random
from collections import OrderedDict, defaultdict, deque, namedtuple
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from src.training.schedules import Constant

Pair = namedtuple("Pair", "first second")


class Own(Optimizer):
    """θ ← θ − lr·scale·g, where the subclass says what scales a step."""

    def __init__(self, params: Any, lr: float = 0.01, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr})
        self.prepare()

    def prepare(self) -> None:
        pass

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        return 1

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    scale = self.scale(param, param.grad, self.state[param])
                    param.sub_(group["lr"] * scale * param.grad)


def shrinking(number: float) -> float:
    return 1 / (1 + number / 10)


class NoRate(Own):
    def prepare(self) -> None:
        for group in self.param_groups:
            del group["lr"]


# What a checkpoint keeps.


class Counter(Own):
    def prepare(self) -> None:
        self.t = 0

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        self.t += 1
        return shrinking(self.t)


class LateCounter(Own):
    """Its attributes appear in the first step."""

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        self._seen = [*getattr(self, "_seen", []), float(grad.norm())][-5:]
        return shrinking(sum(self._seen))


class Average(Own):
    """One tensor over all parameters."""

    def prepare(self) -> None:
        self.size = torch.zeros(())
        self.sizes = {"first": [torch.zeros((), dtype=torch.float64)], "other": (0, None)}

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        self.size.mul_(0.9).add_(grad.norm())
        self.sizes["first"][0] += 1e-9
        return shrinking(float(self.size) + float(self.sizes["first"][0]))


class Noise(Own):
    def prepare(self) -> None:
        self.generator = torch.Generator().manual_seed(7)

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        return torch.rand(param.shape, generator=self.generator)


class LateNoise(Own):
    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        if not hasattr(self, "generator"):
            self.generator = torch.Generator().manual_seed(7)
        return torch.rand(param.shape, generator=self.generator)


class GlobalNoise(Own):
    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        return torch.rand_like(param)


class Precise(Own):
    """Torch would cast its average to float32, its count too, and break its string."""

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        average = state.setdefault("average", torch.zeros((), dtype=torch.float64))
        count = state.setdefault("count", torch.zeros((), dtype=torch.int64))
        state["nested"] = {"said": ["a", ("step", int(count))], "size": torch.Size([2])}
        assert state.setdefault("said", "something") == "something"
        average.mul_(0.9).add_(grad.double().norm() / 3)
        count.bitwise_xor_(5)
        return shrinking(float(average) + int(count))


class Sharpness(Own):
    """An optimizer around another, whose groups it shares."""

    def prepare(self) -> None:
        self.base = SGD(self.param_groups, lr=0.01, momentum=0.9)
        self.param_groups = self.base.param_groups
        self.groups, self.kept = self.param_groups, self.state

    def step(self, closure: Any = None) -> None:
        self.base.step()


class Schooled(Own):
    """It saves itself what no checkpoint could otherwise keep."""

    def prepare(self) -> None:
        self.recent: deque[float] = deque(maxlen=4)

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        self.recent.append(float(grad.norm()))
        return shrinking(sum(self.recent))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "recent": list(self.recent)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        self.recent = deque(state_dict["recent"], maxlen=4)


class ScheduleFree(Optimizer):
    """Schedule-Free SGD (Defazio et al., 2024): trains at y, is judged by x, the average of z.

    x = (y − (1−β)·z) / β is made by `eval()`; between the two forms roundings are lost.
    """

    def __init__(
        self, params: Any, lr: float = 0.3, weight_decay: float = 0.0, beta: float = 0.9
    ) -> None:
        super().__init__(params, {"lr": lr, "beta": beta, "k": 0, "train_mode": False})

    @torch.no_grad()
    def _move(self, training: bool) -> None:
        for group in self.param_groups:
            if group["train_mode"] != training:
                group["train_mode"] = training
                weight = 1 - group["beta"] if training else 1 - 1 / group["beta"]
                for param in group["params"]:
                    if param in self.state:
                        param.lerp_(self.state[param]["z"], weight)

    def train(self) -> None:
        self._move(True)

    def eval(self) -> None:
        self._move(False)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            if not group["train_mode"]:
                raise RuntimeError("it was not told to train")
            group["k"] += 1
            c = 1 / group["k"]
            for y in group["params"]:
                z = self.state[y].setdefault("z", y.clone())
                y.lerp_(z, c)
                y.sub_(y.grad, alpha=group["lr"] * (1 - group["beta"] * (1 - c)))
                z.sub_(y.grad, alpha=group["lr"])


class Swapping(Own):
    """Is judged by the average of its weights; `train()` and `eval()` both exchange the two."""

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        state.setdefault("average", param.clone()).lerp_(param, 0.1)
        return 1

    @torch.no_grad()
    def train(self) -> None:
        for param, state in self.state.items():
            now = param.clone()
            param.copy_(state["average"])
            state["average"].copy_(now)

    eval = train


class Sharp(Optimizer):
    """Sharpness-aware gradient descent (Foret et al., 2021): two gradients a step."""

    def __init__(
        self, params: Any, lr: float = 0.1, weight_decay: float = 0.0, rho: float = 0.05
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho})

    @torch.no_grad()
    def step(self, closure: Any) -> Any:
        evaluate = torch.enable_grad()(closure)
        loss = evaluate()
        params = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in params]).norm()
        away = [p.grad * (self.param_groups[0]["rho"] / (norm + 1e-12)) for p in params]
        torch._foreach_add_(params, away)
        evaluate()
        torch._foreach_sub_(params, away)
        for p in params:
            p.sub_(p.grad, alpha=self.param_groups[0]["lr"])
        return loss


KEPT = [
    *(
        ScheduleFree,
        Sharp,
        Counter,
        LateCounter,
        Average,
        Noise,
        LateNoise,
        GlobalNoise,
        Precise,
        Sharpness,
        Schooled,
    ),
]


# What it refuses.


class Deque(Own):
    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        state.setdefault("recent", deque(maxlen=4)).append(float(grad.norm()))
        return shrinking(sum(state["recent"]))


class Array(Own):
    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        state["size"] = np.zeros(3)
        return 1


class Number(Own):
    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        state["kept"] = [{"size": np.float64(3)}]
        return 1


class Named(Own):
    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        state["both"] = Pair(1, 2)
        return 1


class StateNoise(Own):
    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        generator = state.setdefault("generator", torch.Generator().manual_seed(1))
        return torch.rand(param.shape, generator=generator)


class GroupNoise(Own):
    def prepare(self) -> None:
        self.param_groups[0]["generator"] = torch.Generator()


class Keyed(Own):
    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        state["of"] = {param: 1}
        return 1


class Alias(Own):
    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        state["mine"] = param.detach()
        return 1


class DequeAttribute(Own):
    def prepare(self) -> None:
        self.recent: deque[float] = deque(maxlen=4)

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        self.recent.append(float(grad.norm()))
        return shrinking(sum(self.recent))


class Velocities(Own):
    """Keyed by parameters, which a checkpoint can't name."""

    def prepare(self) -> None:
        self.velocity: dict[Tensor, Tensor] = defaultdict(lambda: torch.zeros(()))

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        self.velocity[param] = self.velocity[param] * 0.9 + grad.norm()
        return shrinking(float(self.velocity[param]))


class ByIdentity(Own):
    """Keyed by numbers that mean something in this process alone."""

    def prepare(self) -> None:
        self.velocity: dict[int, float] = {}

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        self.velocity[id(param)] = self.velocity.get(id(param), 0) * 0.9 + float(grad.norm())
        return shrinking(self.velocity[id(param)])


class Tally:
    def __init__(self) -> None:
        self.inner = {"steps": 0}


class Custom(Own):
    def prepare(self) -> None:
        self.tally = Tally()

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        self.tally.inner["steps"] += 1
        return shrinking(self.tally.inner["steps"])


class NumpyNoise(Own):
    def prepare(self) -> None:
        self.random = np.random.default_rng(0)

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        return self.random.random()


class PythonNoise(Own):
    def prepare(self) -> None:
        self.random = random.Random(0)

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        return self.random.random()


class Closed(Own):
    """Nothing that it holds shows the number."""

    def prepare(self) -> None:
        numbers = count()
        self.number = lambda: next(numbers)

    def scale(self, param: Tensor, grad: Tensor, state: dict[str, Any]) -> Any:
        return shrinking(self.number())


REFUSED = [  # and what the line must say
    (Deque, "optimizer.state[0].recent: a collections.deque can't be kept in a checkpoint"),
    (Array, "optimizer.state[0].size: a numpy.ndarray can't"),
    (Number, "optimizer.state[0].kept[0].size: a numpy.float64 can't"),
    (Named, "optimizer.state[0].both: a tests.own_parts.Pair can't"),
    (StateNoise, "optimizer.state[0].generator: a torch._C.Generator can't"),
    (GroupNoise, "optimizer.param_groups[0].generator: a torch._C.Generator can't"),
    (Keyed, "optimizer.state[0].of: a dict whose keys aren't numbers or strings can't"),
    (Alias, "optimizer.state[0].mine: a tensor that shares a parameter's memory can't"),
    (DequeAttribute, "optimizer.recent: a collections.deque can't"),
    (Velocities, "optimizer.velocity: a collections.defaultdict can't"),
    (Custom, "optimizer.tally: a tests.own_parts.Tally can't"),
    (NumpyNoise, "optimizer.random: a numpy.random._generator.Generator can't"),
    (PythonNoise, "optimizer.random: a random.Random can't"),
    (ByIdentity, "two steps after a checkpoint "),
    (Closed, "two steps after a checkpoint model.layers.1.weight isn't what it is without one"),
]


class Rest(Own):
    """It holds much that doesn't change, and the parameters themselves."""

    def prepare(self) -> None:
        self.all = [param for group in self.param_groups for param in group["params"]]
        self.flat = {param: index for index, param in enumerate(self.all)}
        self.log = open("/dev/null")  # noqa: SIM115
        self.window, self.rule, self.array = deque([1, 2]), shrinking, np.zeros(3)


# Models


class Net(nn.Module):
    """A linear layer on whatever the subclass makes of the inputs."""

    def __init__(self, in_features: int, num_classes: int, **settings: Any) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), *self.between(in_features))
        self.head = nn.LazyLinear(num_classes)

    def between(self, size: int) -> list[nn.Module]:
        return []

    def forward(self, inputs: Tensor) -> Any:
        return self.head(self.layers(inputs))


class Eager(Net):
    def __init__(self, in_features: int, num_classes: int, **settings: Any) -> None:
        super().__init__(in_features, num_classes)
        self.head = nn.Linear(in_features, num_classes)


class Forgetful(Eager):
    """A generator, a counter and a buffer that isn't persistent all decide its output."""

    def __init__(self, in_features: int, num_classes: int, **settings: Any) -> None:
        super().__init__(in_features, num_classes)
        self.generator, self.calls = torch.Generator().manual_seed(5), 0
        self.register_buffer("size", torch.zeros(in_features), persistent=False)

    def forward(self, inputs: Tensor) -> Any:
        flat = inputs.flatten(1)
        if self.training:
            self.calls += 1
            self.size.mul_(0.9).add_(flat.mean(0))
            flat = flat * (torch.rand(flat.shape, generator=self.generator) < 0.8)
        return self.head(flat - self.size) / (1 + self.calls / 100)


class Extra(Eager):
    """What its state dict holds beside tensors."""

    def __init__(self, in_features: int, num_classes: int, **settings: Any) -> None:
        super().__init__(in_features, num_classes)
        self.recent: deque[float] = deque(maxlen=3)

    def forward(self, inputs: Tensor) -> Any:
        if self.training:
            self.recent.append(float(inputs.mean()))
        return self.head(inputs.flatten(1)) / (1 + sum(self.recent))

    def get_extra_state(self) -> Any:
        return {"recent": list(self.recent), "order": OrderedDict(a=1)}

    def set_extra_state(self, state: Any) -> None:
        self.recent = deque(state["recent"], maxlen=3)


class BadExtra(Extra):
    def get_extra_state(self) -> Any:
        return self.recent


class LazyConv(Net):
    def between(self, size: int) -> list[nn.Module]:
        return [
            nn.Unflatten(1, (1, round(size**0.5), -1)),
            *(nn.LazyConv2d(3, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2)),
        ]


class Unused(Net):
    def __init__(self, in_features: int, num_classes: int, **settings: Any) -> None:
        super().__init__(in_features, num_classes)
        self.spare = nn.LazyLinear(3)


class BatchNorm(Net):
    def between(self, size: int) -> list[nn.Module]:
        return [nn.Linear(size, 9), nn.BatchNorm1d(9), nn.ReLU()]


class PictureNorm(Net):
    """Batch norm over pixels, which one picture has enough of."""

    def between(self, size: int) -> list[nn.Module]:
        return [nn.Unflatten(1, (1, round(size**0.5), -1)), nn.BatchNorm2d(1), nn.Flatten()]


class Large(Eager):
    """For pictures of 28x28 alone."""

    def __init__(self, in_features: int, num_classes: int, **settings: Any) -> None:
        super().__init__(in_features, num_classes)
        self.layers = nn.Sequential(nn.Conv2d(1, 2, 5, stride=4), nn.Flatten())
        self.head = nn.Linear(2 * 6 * 6, num_classes)


class Narrow(Eager):
    def forward(self, inputs: Tensor) -> Any:
        return super().forward(inputs)[:, :5]


class Tuple(Eager):
    def forward(self, inputs: Tensor) -> Any:
        return super().forward(inputs), None


class Frozen(Eager):
    def __init__(self, in_features: int, num_classes: int, **settings: Any) -> None:
        super().__init__(in_features, num_classes)
        self.requires_grad_(False)


class Jittery(Constant):
    """A schedule that draws."""

    def decay(self, step: int, steps: int) -> float:
        return 1 + 0.1 * torch.rand(()).item()


class OnlyInTraining(SGD):
    """Takes steps between `train()` and `eval()`, as schedulefree's do."""

    def __init__(self, params: Any, lr: float = 0.1, weight_decay: float = 0.0) -> None:
        super().__init__(params, lr, weight_decay=weight_decay)
        self.trains = False

    def train(self) -> None:
        self.trains = True

    def eval(self) -> None:
        self.trains = False

    def step(self, closure: Any = None) -> None:
        if not self.trains:
            raise RuntimeError("not in training")
        super().step()
