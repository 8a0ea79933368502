"""Loss and accuracy over whole sets, against plain numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from src.data import Split
from src.losses import CrossEntropy
from src.shapes import Shapes
from src.training.evaluation import BATCH, evaluate

LOSS = CrossEntropy()
LOSS.bind(Shapes((1, 2, 2), classes=3))


@pytest.mark.parametrize("size", [1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 7])
def test_every_sample_counts_once(size: int) -> None:
    """A last batch of 1 or 7 must not weigh as much as a full one."""
    torch.manual_seed(size)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    data = Split(torch.randn(size, 1, 2, 2) * 3, torch.randint(0, 3, (size,)))
    logits = net(data.inputs).detach().double().numpy()
    peaks = logits.max(1, keepdims=True)
    logs = logits - peaks - np.log(np.exp(logits - peaks).sum(1, keepdims=True))
    targets = data.targets.numpy()
    measured = evaluate(net, LOSS, data)
    assert measured["loss"] == pytest.approx(-logs[np.arange(size), targets].mean(), rel=1e-5)
    assert measured["accuracy"] == (logits.argmax(1) == targets).mean()


def test_leaves_the_model_as_it_was() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 3))
    data = Split(torch.randn(9, 1, 2, 2), torch.randint(0, 3, (9,)))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert evaluate(net, LOSS, data) == evaluate(net, LOSS, data)
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    net.eval()
    evaluate(net, LOSS, data)
    assert not net.training
