"""The diabetes data: a measure of the disease a year on, from 10 numbers."""

import numpy as np

from src.data.bundled import of_sklearn, sha256
from src.data.dataset import Dataset
from src.data.tabular import of_rows


def load() -> Dataset:
    """scikit-learn's 442 rows; a fixed fifth is the test set.

    The target, too, gets mean 0 and standard deviation 1 in the training set.

    Source: Efron, Hastie, Johnstone and Tibshirani, Least Angle Regression, 2004,
    https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html
    """
    paths = of_sklearn("diabetes_data_raw.csv.gz"), of_sklearn("diabetes_target.csv.gz")
    inputs, targets = np.loadtxt(paths[0]), np.loadtxt(paths[1])
    return of_rows(inputs, targets, sha256(*paths), scale_targets=True)
