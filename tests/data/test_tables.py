"""Tables and text that installed packages bring along."""

import hashlib
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import statsmodels.api
from sklearn.preprocessing import StandardScaler

from src.data import breast_cancer, bundled, diabetes, randhie, text, wine
from src.data.dataset import Dataset, check
from src.data.generated import Draws
from src.data.tabular import of_rows
from src.errors import InputError

Rows = tuple[np.ndarray, np.ndarray]


def counted() -> Rows:
    data = statsmodels.api.datasets.randhie.load_pandas()
    return data.exog.to_numpy(), data.endog.to_numpy()


def measured() -> Rows:
    inputs, targets = sklearn.datasets.load_diabetes(return_X_y=True, scaled=False)
    return inputs, targets


TABLES: dict[str, tuple[Callable[[], Dataset], Callable[[], Rows], int | None]] = {
    "breast_cancer": (
        breast_cancer.load,
        lambda: sklearn.datasets.load_breast_cancer(return_X_y=True),
        2,
    ),
    "wine": (wine.load, lambda: sklearn.datasets.load_wine(return_X_y=True), 3),
    "diabetes": (diabetes.load, measured, None),
    "randhie": (randhie.load, counted, None),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_the_packages_own_scaled_by_its_training_set(name: str) -> None:
    load, original, classes = TABLES[name]
    data = load()
    check(data)
    inputs, targets = original()
    order = Draws(0).permutation(len(targets))
    train, test = order[: len(data.train)], order[len(data.train) :]
    assert len(data.test) == len(targets) // 5 == len(test) and data.classes == classes
    scaler = StandardScaler().fit(inputs[train])
    numbers = StandardScaler().fit(targets[train, None])
    for rows, split in ((train, data.train), (test, data.test)):
        np.testing.assert_allclose(split.inputs, scaler.transform(inputs[rows]), atol=1e-5)
        expected = targets[rows]
        if name == "diabetes":
            expected = numbers.transform(expected[:, None])[:, 0]
        np.testing.assert_allclose(split.targets, expected, atol=1e-6)


def test_a_constant_column_stays_0() -> None:
    inputs = np.stack([np.full(10, 3.0), np.arange(10.0)], 1)
    data = of_rows(inputs, np.arange(10) % 2, "of the file")
    assert not data.train.inputs[:, 0].any() and data.sha256 == "of the file"
    assert data.train.inputs[:, 1].std(correction=0).item() == pytest.approx(1)


def test_the_digest_is_that_of_the_files() -> None:
    paths = [bundled.of_sklearn(f"diabetes_{part}.csv.gz") for part in ("data_raw", "target")]
    whole = paths[0].read_bytes() + paths[1].read_bytes()
    assert diabetes.load().sha256 == hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize("package", ["sklearn", "nowhere"])
def test_a_missing_file(package: str) -> None:
    name = {"sklearn": "scikit-learn"}.get(package, package)
    with pytest.raises(InputError, match=f"data: {name} has no gone.csv; install {name} again"):
        bundled.of_package(package, "datasets", "gone.csv")


def test_text_is_the_manual_and_what_follows() -> None:
    data = text.load(rows=100, length=32)
    check(data)
    from pydoc_data.topics import topics

    manual = "".join(topics[name] for name in sorted(topics))[:3201]
    characters = [*text.CHARACTERS, "¤"]
    shown = "".join(each if each in text.CHARACTERS else "¤" for each in manual)
    assert shown.count("¤") == 2
    inputs = [*data.train.inputs.flatten().tolist(), *data.test.inputs.flatten().tolist()]
    assert (len(data.train), len(data.test), data.shapes.input) == (80, 20, (32,))
    assert "".join(characters[token] for token in inputs) == shown[:-1]
    targets = [*data.train.targets.flatten().tolist(), *data.test.targets.flatten().tolist()]
    assert targets == [*inputs[1:], targets[-1]] and characters[targets[-1]] == shown[-1]
    assert data.sha256 == hashlib.sha256(manual.encode()).hexdigest()
    assert data.classes == data.vocabulary == 97


def test_a_character_outside_the_set_is_another() -> None:
    assert text.encoded("a\n~°—").tolist() == [66, 0, 95, 96, 96]


def test_another_text_has_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of another patch version of Python: the same shapes, other data, and it shows."""
    before = text.load(rows=5, length=8)
    pretend(monkeypatch, {"b": "other " * 8, "a": "Words and "})
    after = text.load(rows=5, length=8)
    assert after.shapes == before.shapes and after.sha256 != before.sha256
    assert text.manual().startswith("Words and other")
    with pytest.raises(InputError, match=r"the text has 58 characters, .* at most 4 rows"):
        text.load(rows=5, length=12)
    with pytest.raises(ValueError, match="rows=4, length=8"):
        text.load(rows=4, length=8)


def test_a_python_without_its_manual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(InputError, match=r"no pydoc_data/topics\.py"):
        text.load()


def pretend(monkeypatch: pytest.MonkeyPatch, topics: dict[str, Any]) -> None:
    module = types.ModuleType("pydoc_data.topics")
    module.topics = topics  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", module)
