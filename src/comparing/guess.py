"""What a guess reaches that is the same for every input."""

import torch


def constant_guess(targets: torch.Tensor) -> dict[str, float]:
    """The best constant guess of class labels, by what is measured; empty for other targets.

    Its loss is the cross-entropy of the labels' frequencies, their entropy; its accuracy is the
    share of the most frequent label.

    Args:
        targets: of the training set, shape (samples,).
    """
    if targets.is_floating_point() or targets.ndim != 1 or not len(targets):
        return {}
    shares = torch.bincount(targets).double() / len(targets)
    present = shares[shares > 0]
    return {"loss": float(-(present * present.log()).sum()), "accuracy": float(shares.max())}
