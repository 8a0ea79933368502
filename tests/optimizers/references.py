"""What each method is held against, written by others or from the paper alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.optimizers.methods import Settings

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Twin:
    """A class of torch.optim, and what makes it and ours the same method."""

    cls: type
    extra: Settings = field(default_factory=dict)  # torch's settings that ours does not have
    ours: Settings = field(default_factory=dict)  # ours where the defaults differ
    matrices_only: bool = False
    kernels: tuple[Settings, ...] = ({},)


FUSED: tuple[Settings, ...] = ({"fused": False}, {"fused": True})
TWINS = {
    "sgd": Twin(torch.optim.SGD, kernels=FUSED),
    "momentum": Twin(torch.optim.SGD, {"momentum": 0.9}, kernels=FUSED),
    "nesterov": Twin(torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, kernels=FUSED),
    "adam": Twin(torch.optim.Adam, kernels=FUSED),
    "amsgrad": Twin(torch.optim.Adam, {"amsgrad": True}, kernels=FUSED),
    "adamw": Twin(torch.optim.AdamW, kernels=FUSED),
    "adagrad": Twin(torch.optim.Adagrad, kernels=FUSED),
    "rmsprop": Twin(torch.optim.RMSprop),
    "adadelta": Twin(torch.optim.Adadelta),
    "adamax": Twin(torch.optim.Adamax),
    "nadam": Twin(torch.optim.NAdam),
    "radam": Twin(torch.optim.RAdam),
    "muon": Twin(torch.optim.Muon, ours={"adjust_lr_fn": "original"}, matrices_only=True),
}

COMMON: list[Settings] = [
    {},
    {"lr": 0.03},
    {"weight_decay": 0.1},
    {"maximize": True},
    {"lr": 0.03, "weight_decay": 0.1, "maximize": True},
]
BETAS: list[Settings] = [
    {"betas": (0.0, 0.0), "eps": 1e-3},
    {"betas": (0.5, 0.9)},
    {"betas": (0.0, 0.999)},
    {"betas": (0.95, 0.0), "eps": 0.1},
    {"betas": (0.99, 0.9999), "lr": 0.01, "weight_decay": 0.05},
]
MOMENTA: list[Settings] = [
    {"momentum": 0.5},
    {"momentum": 0.99, "weight_decay": 0.1, "lr": 0.01},
]
OWN: dict[str, list[Settings]] = {
    "momentum": [*MOMENTA, {"momentum": 0.0}],
    "nesterov": MOMENTA,
    "adam": BETAS,
    "amsgrad": BETAS,
    "adamw": [*BETAS, {"weight_decay": 0.0}],
    "adamax": BETAS,
    "nadam": [*BETAS, {"momentum_decay": 0.0}, {"momentum_decay": 0.1, "betas": (0.8, 0.99)}],
    "radam": [*BETAS, {"betas": (0.9, 0.8)}, {"betas": (0.9, 0.5)}],
    "adagrad": [
        {"lr_decay": 0.1},
        {"initial_accumulator_value": 0.5, "eps": 1e-3},
        {"lr_decay": 0.5, "weight_decay": 0.1, "lr": 0.1},
    ],
    "rmsprop": [
        {"alpha": 0.0},
        {"alpha": 0.9, "eps": 1e-3},
        {"momentum": 0.9},
        {"centered": True, "eps": 1e-3},
        {"centered": True, "momentum": 0.5, "alpha": 0.9, "weight_decay": 0.1, "eps": 1e-3},
    ],
    "adadelta": [{"rho": 0.0}, {"rho": 0.99, "eps": 1e-3}, {"lr": 0.1, "weight_decay": 0.05}],
    "muon": [
        {"nesterov": False},
        {"momentum": 0.5, "weight_decay": 0.0},
        {"ns_steps": 3, "eps": 1e-3},
        {"ns_coefficients": (2.0, -1.5, 0.5)},
        {"adjust_lr_fn": "match_rms_adamw"},
        {"adjust_lr_fn": "spectral_unclamped"},
    ],
}


# The settings with which torch tests its own classes (torch 2.15,
# torch/testing/_internal/common_optimizers.py), as far as they mean the method. Copied, because
# importing that module needs a package that torch does not bring.
DECAYED: Settings = {"weight_decay": 0.1}
CLIMBING: Settings = {"weight_decay": 0.1, "maximize": True}
SLOW = {"lr": torch.tensor(0.001, dtype=torch.float64)}
LISTED: dict[str, list[Settings]] = {
    "sgd": [{}, {"lr": 0.01}, SLOW, {"weight_decay": 0.5}, CLIMBING],
    "momentum": [{"momentum": 0.9}, {"momentum": 0.9, "weight_decay": 0.1}],
    "nesterov": [{"momentum": 0.9, "weight_decay": 0.1}],
    "adam": [{}, {"lr": 0.01}, DECAYED, CLIMBING],
    "amsgrad": [DECAYED],
    "adamw": [{}, {"lr": 0.01}, DECAYED, CLIMBING],
    "adagrad": [
        {},
        DECAYED,
        CLIMBING,
        {"lr": 0.1},
        {"initial_accumulator_value": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "lr_decay": 0.5, "weight_decay": 0.1},
        SLOW,
    ],
    "rmsprop": [
        {},
        {"lr": 0.001},
        DECAYED,
        {"maximize": True},
        {"weight_decay": 0.1, "centered": True},
        CLIMBING,
        {"weight_decay": 0.1, "centered": True, "momentum": 0.1},
        {"weight_decay": 0.1, "centered": True, "momentum": 0.1, "maximize": True},
    ],
    "adadelta": [
        {},
        {"lr": 0.01},
        DECAYED,
        {"maximize": True},
        CLIMBING,
        {"rho": 0.95, "weight_decay": 0.9},
    ],
    "adamax": [{}, {"lr": 0.1}, DECAYED, {"maximize": True}, CLIMBING],
    "nadam": [
        {},
        {"lr": 0.001},
        {"momentum_decay": 0.006},
        DECAYED,
        {"weight_decay": 0.1, "momentum_decay": 0.006},
        CLIMBING,
    ],
    "radam": [{}, {"lr": 0.002}, {"eps": 1e-6}, DECAYED, CLIMBING],
    "muon": [
        {},
        {"lr": 0.01},
        SLOW,
        {"weight_decay": 0.2},
        {"momentum": 0.8},
        {"ns_steps": 6},
        {"ns_coefficients": (3.4, -4.7, 2.0)},
        {"adjust_lr_fn": "match_rms_adamw"},
        {"adjust_lr_fn": "spectral_unclamped"},
    ],
}


def settings_for(name: str) -> list[Settings]:
    """Every setting under which a method is compared with its twin, once each."""
    every = [*COMMON, *OWN.get(name, []), *LISTED[name]]
    if TWINS[name].matrices_only:  # torch.optim.Muon cannot climb; the contract tests that
        every = [settings for settings in every if "maximize" not in settings]
    return list({str(settings): settings for settings in every}.values())


def lion(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Chen et al. 2023, Algorithm 2, in double."""
    theta, m = theta.copy(), np.zeros_like(theta)
    beta1, beta2 = s["betas"]
    for g in grads:
        c = beta1 * m + (1 - beta1) * g
        theta = theta - s["lr"] * (np.sign(c) + s["weight_decay"] * theta)
        m = beta2 * m + (1 - beta2) * g
    return theta


def adam(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Kingma and Ba 2015, Algorithm 1, in double."""
    theta, m, v = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = s["betas"]
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta = theta - s["lr"] * m_hat / (np.sqrt(v_hat) + s["eps"])
    return theta


def adamw(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Loshchilov and Hutter 2019, Algorithm 2 with the decay times the rate, in double."""
    theta, m, v = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = s["betas"]
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        u = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + s["eps"])
        theta = theta - s["lr"] * (u + s["weight_decay"] * theta)
    return theta


def adadelta(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Zeiler 2012, Algorithm 1, in double."""
    theta, g_sq, x_sq = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    for g in grads:
        g_sq = s["rho"] * g_sq + (1 - s["rho"]) * g * g
        x = -np.sqrt(x_sq + s["eps"]) / np.sqrt(g_sq + s["eps"]) * g
        x_sq = s["rho"] * x_sq + (1 - s["rho"]) * x * x
        theta = theta + s["lr"] * x
    return theta


def _cautious(u: Array, g: Array) -> Array:
    """Liang et al. 2024, Algorithm 1 with the bound of the authors' code."""
    k = (u * g > 0).astype(float)
    return u * k / max(float(k.mean()), 1e-3)


def cautious_adamw(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """In double."""
    theta, m, v = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = s["betas"]
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        u = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + s["eps"])
        theta = theta - s["lr"] * (_cautious(u, g) + s["weight_decay"] * theta)
    return theta


def cautious_lion(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """In double."""
    theta, m = theta.copy(), np.zeros_like(theta)
    beta1, beta2 = s["betas"]
    for g in grads:
        u = np.sign(beta1 * m + (1 - beta1) * g)
        theta = theta - s["lr"] * (_cautious(u, g) + s["weight_decay"] * theta)
        m = beta2 * m + (1 - beta2) * g
    return theta


def lamb(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """You et al. 2020, Algorithm 2 with φ(z) = z, in double."""
    theta, m, v = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = s["betas"]
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        r = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + s["eps"])
        u = r + s["weight_decay"] * theta
        theta = theta - s["lr"] * np.linalg.norm(theta) / np.linalg.norm(u) * u
    return theta


def ademamix(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Pagliardini et al. 2024, Algorithm 1 with its schedulers of α and β₃, in double."""
    theta, (m1, m2, nu) = theta.copy(), (np.zeros_like(theta) for _ in range(3))
    beta1, beta2, beta3 = s["betas"]
    for t, g in enumerate(grads, start=1):
        alpha, slow = s["alpha"], beta3
        if s["total_steps"]:
            part = t / s["total_steps"]
            alpha = min(part * alpha, alpha)
            old, new = np.log(beta1), np.log(beta3)
            slow = min(np.exp(old * new / ((1 - part) * new + part * old)), beta3)
        m1 = beta1 * m1 + (1 - beta1) * g
        m2 = slow * m2 + (1 - slow) * g
        nu = beta2 * nu + (1 - beta2) * g**2
        u = (m1 / (1 - beta1**t) + alpha * m2) / (np.sqrt(nu / (1 - beta2**t)) + s["eps"])
        theta = theta - s["lr"] * (u + s["weight_decay"] * theta)
    return theta


def adopt(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Taniguchi et al. 2024, Algorithm 2 (its gradients count from 0), with decoupled decay."""
    theta, m, v = theta.copy(), np.zeros_like(theta), grads[0] ** 2
    beta1, beta2 = s["betas"]
    for t, g in enumerate(grads[1:], start=1):
        scaled = np.clip(g / np.maximum(np.sqrt(v), s["eps"]), -(t**0.25), t**0.25)
        m = beta1 * m + (1 - beta1) * scaled
        theta = theta - s["lr"] * (m + s["weight_decay"] * theta)
        v = beta2 * v + (1 - beta2) * g * g
    return theta


def mars(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Yuan et al. 2024, Algorithm 2 with the last batch's gradient, in double."""
    theta, m, v = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = s["betas"]
    for t, g in enumerate(grads, start=1):
        before = grads[t - 2] if t > 1 else np.zeros_like(g)
        c = g + s["gamma"] * beta1 / (1 - beta1) * (g - before)
        c = c / max(1.0, float(np.sqrt(np.sum(c**2))))
        m = beta1 * m + (1 - beta1) * c
        v = beta2 * v + (1 - beta2) * c**2
        u = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + s["eps"])
        theta = theta - s["lr"] * (u + s["weight_decay"] * theta)
    return theta


def adan(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Xie et al. 2022, Algorithm 1 with corrected averages; its v is d here."""
    theta, m, d, n = theta.copy(), *(np.zeros_like(theta) for _ in range(3))
    beta1, beta2, beta3 = s["betas"]
    for t, g in enumerate(grads, start=1):
        difference = g - grads[max(t - 2, 0)]
        m = beta1 * m + (1 - beta1) * g
        d = beta2 * d + (1 - beta2) * difference
        n = beta3 * n + (1 - beta3) * (g + beta2 * difference) ** 2
        rate = s["lr"] / (np.sqrt(n / (1 - beta3**t)) + s["eps"])
        moved = theta - rate * (m / (1 - beta1**t) + beta2 * d / (1 - beta2**t))
        theta = moved / (1 + s["lr"] * s["weight_decay"])
    return theta


def nadamw(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Dahl et al. 2023, the update of AlgoPerf's baseline, in double."""
    theta, m, v = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = s["betas"]
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        ahead = (beta1 * m + (1 - beta1) * g) / (1 - beta1**t)
        u = ahead / (np.sqrt(v / (1 - beta2**t)) + s["eps"])
        theta = theta - s["lr"] * (u + s["weight_decay"] * theta)
    return theta


def adabelief(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Zhuang et al. 2020, Algorithm 2 with decoupled decay, in double."""
    theta, m, belief = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = s["betas"]
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        belief = beta2 * belief + (1 - beta2) * (g - m) ** 2 + s["eps"]
        u = m / (1 - beta1**t) / (np.sqrt(belief / (1 - beta2**t)) + s["eps"])
        theta = theta - s["lr"] * (u + s["weight_decay"] * theta)
    return theta


def signum(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Bernstein et al. 2018, Algorithm 2, in double."""
    theta, m = theta.copy(), np.zeros_like(theta)
    for g in grads:
        m = s["momentum"] * m + (1 - s["momentum"]) * g
        theta = theta - s["lr"] * (np.sign(m) + s["weight_decay"] * theta)
    return theta


def soap(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Vyas et al. 2024, Algorithm 3 with its appendix's start, M kept unrotated; in double.

    Of a matrix whose Gram matrices have distinct eigenvalues, or else no basis is the right one.
    """
    if theta.ndim < 2:
        return adamw(theta, grads[1:], s)
    theta, m, v = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = s["betas"]
    grams = [(1 - beta2) * grads[0] @ grads[0].T, (1 - beta2) * grads[0].T @ grads[0]]
    bases = [
        np.linalg.eigh(gram)[1][:, ::-1] if len(gram) <= s["max_precondition_dim"] else None
        for gram in grams
    ]
    left, right = (np.eye(len(g)) if q is None else q for g, q in zip(grams, bases, strict=True))
    for t, g in enumerate(grads[1:], start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * (left.T @ g @ right) ** 2
        m_hat = left.T @ m @ right / (1 - beta1**t)
        update = left @ (m_hat / (np.sqrt(v / (1 - beta2**t)) + s["eps"])) @ right.T
        theta = theta - s["lr"] * (update + s["weight_decay"] * theta)
        grams[0] = beta2 * grams[0] + (1 - beta2) * g @ g.T
        grams[1] = beta2 * grams[1] + (1 - beta2) * g.T @ g
        if t % s["precondition_frequency"] == 0:
            if bases[0] is not None:
                order = np.argsort(-np.diag(left.T @ grams[0] @ left))
                v, left = v[order], np.linalg.qr(grams[0] @ left[:, order])[0]
            if bases[1] is not None:
                order = np.argsort(-np.diag(right.T @ grams[1] @ right))
                v, right = v[:, order], np.linalg.qr(grams[1] @ right[:, order])[0]
    return theta


def shampoo(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    """Shi et al. 2023, Algorithm 2 for each block, with Adam grafted; in double."""
    size = s["max_preconditioner_dim"]
    shape, theta = theta.shape, theta.copy().reshape(*theta.shape[:1], -1)
    steps = [g.reshape(theta.shape) for g in grads]
    for i in range(0, theta.shape[0], size):
        for j in range(0, theta.shape[1], size):
            at = slice(i, i + size), slice(j, j + size)
            theta[at] = _shampoo_block(theta[at], [g[at] for g in steps], s)
    return theta.reshape(shape)


def _shampoo_block(theta: Array, grads: list[Array], s: dict[str, Any]) -> Array:
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    lengths = theta.shape
    grams, roots = ([np.zeros((n, n)) for n in lengths], [np.eye(n) for n in lengths])
    order = 2 * sum(n > 1 for n in lengths)
    beta1, beta2 = s["betas"]
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        adam = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + s["grafting_eps"])
        for axis, outer in enumerate((g @ g.T, g.T @ g)):
            grams[axis] = beta2 * grams[axis] + (1 - beta2) * outer
            if t % s["precondition_frequency"] == 0 and lengths[axis] > 1:
                w, q = np.linalg.eigh(grams[axis] / (1 - beta2**t))
                roots[axis] = q @ np.diag((np.maximum(w, 0) + s["eps"]) ** (-1 / order)) @ q.T
        step = roots[0] @ m @ roots[1]
        step = step * np.linalg.norm(adam) / np.linalg.norm(step)
        step = step if t >= s["precondition_frequency"] else adam
        theta = theta - s["lr"] * (step + s["weight_decay"] * theta)
    return theta


TRANSCRIPTIONS: dict[str, Callable[[Array, list[Array], dict[str, Any]], Array]] = {
    "lion": lion,
    "adam": adam,
    "adadelta": adadelta,
    "cautious_adamw": cautious_adamw,
    "cautious_lion": cautious_lion,
    "lamb": lamb,
    "ademamix": ademamix,
    "adopt": adopt,
    "mars": mars,
    "adan": adan,
    "nadamw": nadamw,
    "adabelief": adabelief,
    "signum": signum,
    "soap": soap,
    "shampoo": shampoo,
}
DECAYING: list[Settings] = [{}, {"betas": (0.5, 0.9), "weight_decay": 0.1, "lr": 0.01}]
TRANSCRIBED: dict[str, list[Settings]] = {
    "cautious_adamw": [*DECAYING, {"weight_decay": 0.0, "eps": 1e-3}],
    "cautious_lion": DECAYING,
    "lamb": [*DECAYING, {"weight_decay": 0.0, "eps": 1e-3, "lr": 0.1}],
    "lion": [{}, {"lr": 0.01}, {"betas": (0.5, 0.9), "weight_decay": 0.1, "lr": 0.01}],
    "adam": [{}, {"betas": (0.5, 0.9), "lr": 0.01}],
    "adadelta": [{}, {"rho": 0.5, "lr": 0.3}],
    "ademamix": [
        {},
        {"total_steps": 30, "weight_decay": 0.1},
        {"total_steps": 20, "betas": (0.5, 0.9, 0.99), "lr": 0.01},
        {"total_steps": 1000, "alpha": 8.0},
    ],
    "adopt": [*DECAYING, {"eps": 0.3, "betas": (0.0, 0.0)}],
    "mars": [*DECAYING, {"gamma": 0.0, "eps": 1e-3}, {"gamma": 0.5, "betas": (0.9, 0.95)}],
    "adan": [
        {},
        {"betas": (0.5, 0.8, 0.9), "weight_decay": 0.1, "lr": 0.01},
        {"betas": (0.9, 0.0, 0.99), "eps": 1e-3},
    ],
    "nadamw": [*DECAYING, {"weight_decay": 0.0, "eps": 1e-3}],
    "adabelief": [*DECAYING, {"eps": 1e-3}],
    "signum": [{}, {"momentum": 0.5, "weight_decay": 0.1, "lr": 0.01}, {"momentum": 0.0}],
}
# The same, for matrices: of a vector of many elements the Gram matrix has no inverse after a few
# steps but one that rounding decides.
MATRICES: dict[str, list[Settings]] = {
    "soap": [
        *DECAYING,
        {"precondition_frequency": 1, "eps": 1e-3},
        {"precondition_frequency": 3, "max_precondition_dim": 6, "betas": (0.5, 0.99)},
    ],
    "shampoo": [
        *DECAYING,
        {"precondition_frequency": 1, "eps": 1e-4, "grafting_eps": 1e-3},
        {"precondition_frequency": 3, "max_preconditioner_dim": 4, "eps": 1e-6},
    ],
}
