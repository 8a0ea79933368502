"""RAND's health insurance experiment: how often somebody sees a doctor, from 9 numbers."""

import numpy as np

from src.data.bundled import of_package, sha256
from src.data.dataset import Dataset
from src.data.tabular import of_rows


def load() -> Dataset:
    """statsmodels' 20,190 rows; counts of 0 to 77 visits; a fixed fifth is the test set.

    People are in it with several years each, so test rows aren't of people never seen.

    Source: Cameron and Trivedi, Microeconometrics, 2005;
    https://www.statsmodels.org/stable/datasets/generated/randhie.html
    """
    path = of_package("statsmodels", "datasets", "randhie", "randhie.csv")
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return of_rows(table[:, 1:], table[:, 0], sha256(path))
