"""A table in a .csv or .parquet file of one's own."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data.dataset import Dataset
from src.data.own import check_memory, check_task, dataset, divided, encoded, file_at
from src.errors import InputError

MOST_CATEGORIES = 1000  # of one column
FILL = "fill"


def load(
    path: str,
    target: str | Sequence[str],
    task: str | None = None,
    drop: Sequence[str] = (),
    missing: str | None = None,
    scale_target: bool = True,
    test_path: str | None = None,
    test_fraction: float = 0.2,
    test_seed: int = 0,
    separator: str = ",",
) -> Dataset:
    """Rows of a table: every column but the target is an input.

    Numbers get mean 0 and standard deviation 1 in the training set (validation rows, which are
    held out later, included). Words are one-hot, in alphabetical order; one that only test rows
    have is all zeros.

    Args:
        path: of the file, whose first line names the columns if it is a .csv.
        target: a column; of several, each must hold real numbers.
        task: classification or regression, where the target's type says another: words, truth
            values and whole numbers are classes, other numbers aren't.
        drop: columns to leave out.
        missing: `fill` puts the mean in the place of numbers and a category of its own in that of
            words; null refuses them.
        scale_target: whether real targets are scaled as inputs are; the loss is then in units of
            their standard deviation.
        test_path: a file with the test set's rows.
        test_fraction, test_seed: which rows are the test set, where there is no such file.
        separator: between the values of a line of a .csv.

    Raises:
        InputError: the file, a column or a value isn't what it must be.
    """
    where = f"data.path={path}"
    check_task(task)
    if missing not in (None, FILL):
        raise InputError(f"data.missing={missing}: must be null or {FILL}")
    targets = [target] if isinstance(target, str) else [*target]
    table = _read(path, "data.path", separator)
    for key, names in (("data.target", targets), ("data.drop", drop)):
        _check_columns(key, names, table, path)
    parts = [table]
    if test_path is not None:
        parts.append(_read(test_path, "data.test_path", separator))
        _check_columns("data.test_path", [*table.columns], parts[1], test_path)
    inputs = [name for name in table.columns if name not in {*targets, *drop}]
    if not inputs:
        raise InputError(f"{where}: leaves no column for inputs")
    for key, part in zip((where, f"data.test_path={test_path}"), parts, strict=False):
        _check_values(key, part[targets])
        hint = f"; data.missing={FILL} fills it"
        _check_values(key, part[inputs], may_miss=missing == FILL, hint=hint)
    if test_path is None:
        train, test = divided(len(table), test_fraction, test_seed)
        parts = [table.iloc[train], table.iloc[test]]
    x = _columns(where, parts[0][inputs], parts[1][inputs])
    y, classes = _targets(where, parts[0][targets], parts[1][targets], task, scale_target)
    return dataset(x, y, classes)


def _read(path: Any, key: str, separator: str) -> pd.DataFrame:
    file, where = file_at(path, key), f"{key}={path}"
    kind = file.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise InputError(f"{where}: must end in .csv or .parquet")
    try:
        table = _parquet(file, where) if kind == ".parquet" else _csv(file, where, separator)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # pandas and pyarrow may raise anything on a broken file
        reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        raise InputError(f"{where}: not a {kind} file: {reason}") from error
    if table.empty:
        raise InputError(f"{where}: it has no row")
    return table.reset_index(drop=True).rename(columns=str)


def _csv(file: Path, where: str, separator: str) -> pd.DataFrame:
    size = file.stat().st_size
    check_memory(where, f"{size / 1e9:.1f} GB of text", size)
    if not isinstance(separator, str) or len(separator) != 1:
        raise InputError(f"data.separator={separator}: must be one letter")
    return pd.read_csv(file, sep=separator, index_col=False, low_memory=False)


def _parquet(file: Path, where: str) -> pd.DataFrame:
    from pyarrow import parquet

    facts = parquet.ParquetFile(file).metadata
    what = f"{facts.num_rows:,} rows of {facts.num_columns} columns"
    check_memory(where, what, 8 * facts.num_rows * facts.num_columns)
    return pd.read_parquet(file)


def _check_columns(key: str, names: Sequence[str], table: pd.DataFrame, path: Any) -> None:
    for name in names:
        if name in table.columns:
            continue
        near = get_close_matches(str(name), table.columns, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(table.columns[:20])}"
        shown = f"{key}={name}: no such column in {path}"
        if key == "data.test_path":
            shown = f"{key}={path}: it has no column {name}"
        raise InputError(f"{shown}; {hint}")


def _is_number(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column)) and not pd.api.types.is_complex_dtype(column)


def _check_values(
    where: str, table: pd.DataFrame, *, may_miss: bool = False, hint: str = ""
) -> None:
    """Refuse what is missing or infinite, by row (from 1) and column, and what is no value."""
    for name, column in table.items():
        if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_complex_dtype(column):
            raise InputError(
                f"{where}: column {name} holds {column.dtype}, neither numbers nor words; leave it "
                f"out with data.drop=[{name}]"
            )
        absent = column.isna().to_numpy()
        if absent.any() and not may_miss:
            row = absent.argmax() + 1
            raise InputError(f"{where}: row {row}, column {name}: a value is missing{hint}")
        if _is_number(column):
            infinite = np.isinf(column.to_numpy(dtype=float, na_value=0.0))
            if infinite.any():
                row = infinite.argmax()
                raise InputError(f"{where}: row {row + 1}, column {name} is {column.iloc[row]}")


def _columns(
    where: str, train: pd.DataFrame, test: pd.DataFrame
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs of the training and the test set, float32 (n, features)."""
    kinds = {str(name): _categories(where, train[name]) for name in train.columns}
    width = sum(1 if categories is None else len(categories) for categories in kinds.values())
    rows = len(train) + len(test)
    check_memory(where, f"{rows:,} rows of {width:,} numbers", 4 * rows * width)
    made = tuple(np.empty((len(part), width), np.float32) for part in (train, test))
    start = 0
    for name, categories in kinds.items():
        step = 1 if categories is None else len(categories)
        columns = (
            _scaled(train[name], test[name])
            if categories is None
            else [_one_hot(part[name], categories) for part in (train, test)]
        )
        for whole, column in zip(made, columns, strict=True):
            whole[:, start : start + step] = column
        start += step
    return made[0], made[1]


def _categories(where: str, column: pd.Series) -> list[str] | None:
    """The words of a column of the training set, in order; None for numbers."""
    if _is_number(column):
        return None
    words = sorted({*_words(column)})
    if len(words) > MOST_CATEGORIES:
        raise InputError(
            f"{where}: column {column.name} has {len(words):,} categories; leave it out with "
            f"data.drop=[{column.name}]"
        )
    return words


def _words(column: pd.Series) -> list[str]:
    return [
        "" if absent else str(value) for value, absent in zip(column, column.isna(), strict=True)
    ]


def _one_hot(column: pd.Series, categories: list[str]) -> NDArray[Any]:
    words: NDArray[Any] = np.array(_words(column))[:, None]
    return np.asarray(words == np.array(categories))


def _scaled(train: pd.Series, test: pd.Series) -> list[NDArray[Any]]:
    """(x - mean) / standard deviation, both of the training set; what is missing becomes 0."""
    parts = [part.to_numpy(dtype=float, na_value=np.nan) for part in (train, test)]
    known = parts[0][~np.isnan(parts[0])]
    mean, std = (known.mean(), known.std()) if known.size else (0.0, 1.0)
    return [np.nan_to_num((part - mean) / (std or 1.0))[:, None] for part in parts]


def _targets(
    where: str, train: pd.DataFrame, test: pd.DataFrame, task: str | None, scale: bool
) -> tuple[tuple[NDArray[Any], NDArray[Any]], int | None]:
    """Targets of the training and the test set, and the number of classes."""
    name, several = ", ".join(map(str, train.columns)), len(train.columns) > 1
    values = [_values(part, several) for part in (train, test)]
    if several and task is None:
        task = "regression"
    where = f"{where}: column {name}"
    codes, classes = encoded(where, np.concatenate(values), task)
    cut = len(train)
    if classes is None:
        if not scale:
            return (codes[:cut], codes[cut:]), None
        scaled = [_scaled(train[each], test[each]) for each in train.columns]
        joined = [np.hstack(parts).astype(np.float32) for parts in zip(*scaled, strict=True)]
        first, second = (part if several else part[:, 0] for part in joined)
        return (first, second), None
    encoded(f"{where}: the training set", values[0], "classification")  # not one class only
    return (codes[:cut], codes[cut:]), len(classes)


def _values(part: pd.DataFrame, several: bool) -> NDArray[Any]:
    if several:
        return np.asarray(part.to_numpy(dtype=float))
    column = part.iloc[:, 0]
    return np.asarray(column.to_numpy() if _is_number(column) else _words(column))
