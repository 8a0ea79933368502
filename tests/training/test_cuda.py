"""Runs on a GPU: repeated, stopped and gone on with to the bit, and near those of the CPU."""

import math
from pathlib import Path

import pytest
import torch

from tests.helpers import Session, result, rows, timeless
from tests.optimizers.methods import METHODS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
SHORT = ("trainer.epochs=2", "trainer.evaluate_every=400")
TO_THE_BIT = ("sgd", "adam", "muon", "soap", "prodigy", "schedule_free_adamw", "sam")


def trained(session: Session, name: str, *settings: str) -> Path:
    answer = session.train(*SHORT, f"hydra.run.dir={session.folder / name}", *settings)
    assert answer.status == 0, answer.err
    return session.folder / name


@pytest.mark.parametrize("method", METHODS)
def test_near_the_cpus(session: Session, method: str) -> None:
    there = trained(session, "cuda", f"optimizer={method}", "trainer.device=cuda")
    here = trained(session, "cpu", f"optimizer={method}", "trainer.device=cpu")
    first = [rows(folder)[0] for folder in (there, here)]
    assert math.isfinite(result(there)["final"]["val_loss"])
    # After the first 400 samples only: rounding grows from there.
    assert first[0]["val_loss"] == pytest.approx(first[1]["val_loss"], rel=2e-2)


@pytest.mark.parametrize("method", TO_THE_BIT)
def test_to_the_bit(session: Session, method: str) -> None:
    settings = f"optimizer={method}", "trainer.device=cuda", "trainer.checkpoint_every=0"
    whole = trained(session, "whole", *settings)
    again = trained(session, "again", *settings)
    assert timeless(again) == timeless(whole)
    assert result(again)["weights_sha256"] == result(whole)["weights_sha256"]
    newest = max((again / "checkpoints").glob("*.pt"), key=lambda path: path.stat().st_mtime)
    newest.unlink()  # it goes on from the one before
    (again / "result.json").unlink()
    answer = session.train(f"resume={again}")
    assert answer.status == 0, answer.err
    assert timeless(again) == timeless(whole)
    assert result(again)["weights_sha256"] == result(whole)["weights_sha256"]
