"""Arrays and tables of one's own: what they become, and one line for each that can't be used."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from src.data import Dataset, load
from src.errors import InputError
from src.shapes import Shapes
from src.targets import build

GENERATOR = np.random.default_rng(0)
X, LABELS = GENERATOR.normal(size=(50, 3)), np.arange(50) % 4


def read(kind: str, path: Path, **settings: Any) -> Dataset:
    source = {"_target_": f"src.data.{kind}.load", "path": str(path), **settings}
    load(source, 0.1, 0)  # which also checks it
    return build("data", source, Dataset)


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def test_arrays_with_a_test_set_made(tmp_path: Path) -> None:
    data = read("arrays", npz(tmp_path, x=X, y=LABELS), test_fraction=0.3)
    assert data.shapes == Shapes((3,), classes=4)
    assert (len(data.train), len(data.test)) == (35, 15)
    rows = {tuple(row): label for row, label in zip(X.astype(np.float32), LABELS, strict=True)}
    for part in (data.train, data.test):
        assert part.inputs.dtype == torch.float32 and part.targets.dtype == torch.int64
        for row, label in zip(part.inputs.numpy(), part.targets, strict=True):
            assert rows.pop(tuple(row)) == label
    assert not rows
    other = read("arrays", npz(tmp_path, x=X, y=LABELS), test_fraction=0.3, test_seed=1)
    assert not torch.equal(other.test.inputs, data.test.inputs)
    torch.manual_seed(5)
    again = read("arrays", npz(tmp_path, x=X, y=LABELS), test_fraction=0.3)
    assert again.digest() == data.digest() != other.digest()


def test_arrays_with_a_test_set_given(tmp_path: Path) -> None:
    pictures = GENERATOR.integers(0, 255, (6, 2, 4, 4), dtype=np.uint8)
    words = np.array(["cat", "ant", "cat", "bee", "ant", "bee"])
    path = npz(tmp_path, x_train=pictures[:4], y_train=words[:4], x_test=pictures[4:],
               y_test=words[4:])  # fmt: skip
    data = read("arrays", path)
    assert data.shapes == Shapes((2, 4, 4), classes=3)
    assert data.train.targets.tolist() == [2, 0, 2, 1]  # in alphabetical order
    assert data.test.targets.tolist() == [0, 1]
    assert np.array_equal(data.test.inputs.numpy(), pictures[4:])


def test_arrays_of_numbers_and_of_tokens(tmp_path: Path) -> None:
    real = read("arrays", npz(tmp_path, x=X[:, 0], y=X[:, 1:]))
    assert real.shapes == Shapes((1,), (2,))
    counts = read("arrays", npz(tmp_path, x=X, y=LABELS), task="regression")
    assert counts.shapes == Shapes((3,)) and counts.train.targets.dtype == torch.float32
    labels = read("arrays", npz(tmp_path, x=X, y=LABELS / 2), task="classification")
    assert labels.shapes == Shapes((3,), classes=4)
    tokens = GENERATOR.integers(0, 9, (20, 5))
    text = read("arrays", npz(tmp_path, x=tokens, y=tokens), vocabulary=9)
    assert text.shapes == Shapes((5,), (5,), classes=9, vocabulary=9)
    assert text.train.inputs.dtype == torch.int64


def bad_arrays(**changes: Any) -> Any:
    return lambda folder: npz(folder, **{"x": X, "y": LABELS, **changes})


def text_file(name: str, content: bytes | str) -> Any:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


def damaged(folder: Path) -> Path:
    path = npz(folder, x=X, y=LABELS)
    content = bytearray(path.read_bytes())
    content[300:310] = bytes(10)
    path.write_bytes(content)
    return path


HOLE = np.where(np.arange(150).reshape(50, 3) == 7, np.nan, X)
BAD_ARRAYS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "missing": (lambda folder: folder / "none.npz", {}, "none.npz: No such file or directory"),
    "folder": (lambda folder: folder, {}, "Is a directory"),
    "empty": (text_file("a.npz", ""), {}, "the file is empty"),
    "format": (text_file("a.npz", "1,2,3"), {}, "not an .npz file, which numpy.savez writes"),
    "damaged": (damaged, {}, "Bad CRC-32"),
    "names": (lambda folder: npz(folder, x=X, label=LABELS), {}, "it holds x, label"),
    "ragged": (bad_arrays(y=LABELS[:9]), {}, "x has the shape (50, 3) and y (9,)"),
    "scalar": (bad_arrays(y=np.array(3)), {}, "y (); the first axis"),
    "no rows": (bad_arrays(x=X[:0], y=LABELS[:0]), {}, "1 or more"),
    "nan": (bad_arrays(x=HOLE), {}, "x[2, 1] is nan"),
    "infinite": (bad_arrays(y=np.where(LABELS == 3, np.inf, 0.5)), {}, "y[3] is inf"),
    "words": (bad_arrays(x=np.array(["a"] * 50)), {}, "x must hold numbers, it holds <U1"),
    "pickled": (bad_arrays(x=np.array([{}] * 50)), {}, "Python objects, which could run code"),
    "one class": (bad_arrays(y=LABELS * 0), {}, "all targets are of one class, 0"),
    "task": (bad_arrays(), {"task": "ranking"}, "data.task=ranking: must be null, class"),
    "wrong task": (bad_arrays(y=np.array(["a", "b"] * 25)), {"task": "regression"},
                   "data.task=regression needs numbers, not"),
    "too many": (lambda folder: npz(folder, x=np.zeros((1001, 1)), y=np.arange(1001)), {},
                 "1,001 different whole numbers: say data.task=regression"),
    "fraction": (bad_arrays(), {"test_fraction": 1}, "data.test_fraction=1: must be in (0, 1)"),
    "nobody": (bad_arrays(), {"test_fraction": 0.001}, "leaves 0 of 50 rows to test"),
    "seed": (bad_arrays(), {"test_seed": -1}, "data.test_seed=-1: must be an integer"),
    "vocabulary": (bad_arrays(), {"vocabulary": 0}, "data.vocabulary=0: must be null or"),
    "tokens": (bad_arrays(), {"vocabulary": 9}, "tokens must be whole numbers, not float64"),
    "outside": (bad_arrays(x=LABELS[:, None] + 1), {"vocabulary": 4}, "is 4, outside 0 to 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_arrays_that_are_refused(tmp_path: Path, name: str) -> None:
    make, settings, says = BAD_ARRAYS[name]
    with pytest.raises(InputError) as error:
        read("arrays", make(tmp_path), **settings)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_arrays_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before they are read, by their heads."""
    path = npz(tmp_path, x=X.astype(np.uint8), y=LABELS)
    needed = 3 * (50 * 3 * 4 + 50 * 8)
    for free, fits in ((needed, True), (needed - 1, False)):
        memory = SimpleNamespace(available=free)
        monkeypatch.setattr(psutil, "virtual_memory", lambda memory=memory: memory)
        if fits:
            read("arrays", path, test_seed=3)
            continue
        with pytest.raises(InputError, match=r"x \(50, 3\), y \(50,\) take 0.0 GB of"):
            read("arrays", path, test_seed=4)


TABLE = pd.DataFrame(
    {
        "age": [31.0, 40.5, 22.0, 57.0, 63.0, 35.0, 44.0, 29.0, 51.0, 38.0],
        "city": ["Rome", "Oslo", "Rome", "Bern", "Oslo", "Rome", "Bern", "Oslo", "Rome", "Bern"],
        "rooms": [1, 2, 2, 4, 3, 1, 3, 2, 4, 5],
        "price": [1.5, 2.0, 1.25, 9.0, 7.5, 3.0, 4.0, 2.5, 6.0, 8.0],
        "sold": ["no", "yes", "no", "yes", "no", "yes", "no", "yes", "no", "yes"],
    }
)


def written(folder: Path, table: pd.DataFrame, kind: str = "csv") -> Path:
    path = folder / f"mine.{kind}"
    table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table(tmp_path: Path, kind: str) -> None:
    """As scikit-learn scales and encodes it, by what the training rows say."""
    data = read("table", written(tmp_path, TABLE, kind), target="price", drop=["sold"])
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0)).numpy()
    test, train = np.sort(order[:2]), np.sort(order[2:])
    numbers, words = TABLE[["age", "rooms"]], TABLE[["city"]]
    scaler = StandardScaler().fit(numbers.iloc[train])
    encoder = OneHotEncoder(sparse_output=False).fit(words.iloc[train])
    prices = StandardScaler().fit(TABLE[["price"]].iloc[train])
    for part, rows in ((data.train, train), (data.test, test)):
        scaled, hot = scaler.transform(numbers.iloc[rows]), encoder.transform(words.iloc[rows])
        expected = np.hstack([scaled[:, :1], hot, scaled[:, 1:]])
        np.testing.assert_allclose(part.inputs.numpy(), expected, rtol=1e-5, atol=1e-6)
        target = prices.transform(TABLE[["price"]].iloc[rows])[:, 0]
        np.testing.assert_allclose(part.targets.numpy(), target, rtol=1e-5, atol=1e-6)
    assert data.shapes == Shapes((5,))


def test_targets_of_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, TABLE)
    sold = read("table", path, target="sold")
    assert sold.shapes.classes == 2
    assert sold.shapes.input == (6,)  # two of them one-hot
    assert read("table", path, target="rooms").shapes.classes == 5
    plain = read("table", path, target="price", scale_target=False)
    prices = [*plain.train.targets.tolist(), *plain.test.targets.tolist()]
    assert sorted(prices) == sorted(TABLE.price)
    both = read("table", path, target=["price", "age"])
    assert both.shapes == Shapes((6,), (2,))
    assert both.train.targets.mean(0).abs().max() < 1e-6


def test_a_table_with_a_test_file(tmp_path: Path) -> None:
    path = written(tmp_path, TABLE)
    other = TABLE.iloc[:3].assign(city=["Rome", "Lima", "Oslo"])
    other.to_csv(tmp_path / "test.csv", index=False)
    test_path = str(tmp_path / "test.csv")
    data = read("table", path, target="price", drop=["sold"], test_path=test_path)
    assert (len(data.train), len(data.test)) == (10, 3)
    assert data.test.inputs[1, 1:4].tolist() == [0, 0, 0]  # Lima isn't in the training set
    assert data.test.inputs[0, 1:4].tolist() == [0, 0, 1]


def test_what_is_missing_is_filled_when_asked(tmp_path: Path) -> None:
    table = TABLE.copy()
    table.loc[1, "age"], table.loc[3, "city"] = np.nan, None
    data = read("table", written(tmp_path, table), target="price", drop=["sold", "rooms"],
                missing="fill", test_fraction=0.1)  # fmt: skip
    rows = torch.cat([data.train.inputs, data.test.inputs])
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0)).numpy()
    places = [*np.sort(order[1:]), *np.sort(order[:1])]
    assert rows[places.index(1), 0] == 0  # the mean
    assert rows[places.index(3), 1:].tolist() == [1, 0, 0, 0]
    assert rows[:, 1].sum() == 1


def table_file(table: pd.DataFrame, kind: str = "csv") -> Any:
    return lambda folder: written(folder, table, kind)


MISSING, INFINITE = TABLE.copy(), TABLE.copy()
MISSING.loc[6, "age"] = np.nan
INFINITE.loc[4, "price"] = np.inf
DATED = TABLE.assign(day=pd.Timestamp("2020-01-01"))
BAD_TABLES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "missing": (lambda folder: folder / "none.csv", {}, "none.csv: No such file or directory"),
    "empty": (text_file("a.csv", ""), {}, "the file is empty"),
    "no rows": (text_file("a.csv", "age,price\n"), {}, "it has no row"),
    "ending": (text_file("a.txt", "age,price\n1,2\n"), {}, "must end in .csv or .parquet"),
    "ragged": (text_file("a.csv", "age,price\n1,2\n1,2,3\n"), {},
               "not a .csv file: Expected 2 fields in line 3, saw 3"),
    "short": (text_file("a.csv", "price,age\n1,2\n1\n"), {}, "row 2, column age: a value is"),
    "binary": (text_file("a.csv", bytes(range(128, 256))), {}, "not a .csv file: 'utf-8' codec"),
    "parquet": (text_file("a.parquet", "age,price\n1,2\n"), {}, "not a .parquet file: Parq"),
    "hole": (table_file(MISSING), {},
             "row 7, column age: a value is missing; data.missing=fill fills"),
    "hole in the target": (table_file(MISSING), {"target": "age", "missing": "fill"},
                           "row 7, column age: a value is missing"),
    "infinite": (table_file(INFINITE), {}, "row 5, column price is inf"),
    "date": (table_file(DATED, "parquet"), {},
             "column day holds datetime64"),
    "target": (table_file(TABLE), {"target": "prize"},
               "data.target=prize: no such column in"),
    "nearest": (table_file(TABLE), {"target": "prize"}, "did you mean price?"),
    "far": (table_file(TABLE), {"target": "xyz"},
            "it has age, city, rooms, price, sold"),
    "drop": (table_file(TABLE), {"drop": ["city", "solid"]},
             "data.drop=solid: no such column"),
    "nothing left": (table_file(TABLE[["price"]]), {}, "leaves no column for inputs"),
    "one class": (table_file(TABLE.assign(sold="no")), {"target": "sold"},
                  "column sold: all targets are of one class, no"),
    "words": (table_file(TABLE), {"target": "sold", "task": "regression"},
              "data.task=regression needs numbers"),
    "fill": (table_file(TABLE), {"missing": "mean"}, "data.missing=mean: must be"),
    "separator": (table_file(TABLE), {"separator": ";;"}, "data.separator=;;: must"),
    "test": (table_file(TABLE), {"test_path": "none.csv"},
             "data.test_path=none.csv: No such file"),
    "categories": (lambda folder: written(folder, pd.DataFrame(
        {"id": [f"r{row}" for row in range(1300)], "price": 1.5})), {},
        "column id has 1,040 categories; leave it out with data.drop=[id]"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TABLES)
def test_tables_that_are_refused(tmp_path: Path, name: str) -> None:
    make, settings, says = BAD_TABLES[name]
    with pytest.raises(InputError) as error:
        read("table", make(tmp_path), **{"target": "price", **settings})
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_whose_columns_have_no_test_rows(tmp_path: Path) -> None:
    TABLE.drop(columns="age").to_csv(tmp_path / "test.csv", index=False)
    settings = {"target": "price", "test_path": str(tmp_path / "test.csv")}
    with pytest.raises(InputError, match=r"data.test_path=.*test.csv: it has no column age"):
        read("table", written(tmp_path, TABLE), **settings)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_that_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100))
    with pytest.raises(InputError, match=r"GB of memory while they are read and split; 0.0 GB are"):
        read("table", written(tmp_path, TABLE, kind), target="price")
