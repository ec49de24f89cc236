"""Pairs that depend on each other, as those of one session do: what each cluster adds to the mean, and how
many clusters that is worth.

The standard error of the mean over pairs is the jackknife's, which leaves out one whole cluster at a time. A
cluster that holds many of the pairs decides the mean almost alone, so the degrees of freedom come from Kish's
effective number of clusters, which such a cluster lowers.

Source: Kish 1965, Survey Sampling, section 8.2; MacKinnon, Nielsen & Webb 2023, Journal of Econometrics 232,
    272-299 (the jackknife, CV3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm_trace.statistics.floats import Floats

Numbers = NDArray[np.int64]


def count_effective_clusters(clusters: Numbers) -> float:
    """Return how many clusters of equal size tell as much as these (n,), at most their number."""
    sizes = np.unique(clusters, return_counts=True)[1].astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def sum_by_cluster(values: Floats, clusters: Numbers) -> Floats:
    """Return the sum of each cluster's values, (k,)."""
    return np.bincount(np.unique(clusters, return_inverse=True)[1], values).astype(np.float64)


def compute_pseudovalues(values: Floats, clusters: Numbers) -> Floats:
    """Return a number for each of k >= 2 clusters, (k,): their mean is the mean of the values, their standard
    error that of it.

    They are the jackknife's: k - 1 times what the mean loses with each cluster, around the mean.
    """
    sizes = np.unique(clusters, return_counts=True)[1]
    mean, n, k = float(values.mean()), len(values), len(sizes)
    lost = (k - 1) * (sum_by_cluster(values, clusters) - mean * sizes) / (n - sizes)
    return np.asarray(lost - lost.mean() + mean)


def measure_dependence(values: Floats, clusters: Numbers) -> float:
    """Return how many pairs tell as much as one that depends on no other, at least 1.

    It is 1 where the pairs that differ are spread over the clusters, and more where they come together. A
    cluster that differs as a whole is taken to have been seen once besides: few differences say little of how
    they come.

    Args:
        values: (n,) differences in parts of the largest.
        clusters: (n,).
    """
    sizes = np.unique(clusters, return_counts=True)[1].astype(float)
    whole = float((sizes**2).sum() / len(values))
    together = float((sum_by_cluster(values, clusters) ** 2).sum())
    return max(1.0, (together + whole**2) / (float((values**2).sum()) + whole))
