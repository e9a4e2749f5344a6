"""States of several replicas taken together (``Policy.merge``), leaf by leaf.

Discounted sums are evidence: each replica's counts by its weight, and they add up (``sums``). What
is used as a ratio, and would forget more slowly if it grew, is averaged (``means``).
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from adaptive_spec._arrays import FloatArray
from adaptive_spec.state import combine

PartT = TypeVar("PartT")


def sums(parts: Sequence[PartT], weights: FloatArray) -> PartT:
    """Each array summed over the replicas, by their weights."""
    return combine(parts, lambda arrays: np.tensordot(weights, np.stack(arrays), axes=1))


def means(parts: Sequence[PartT], weights: FloatArray) -> PartT:
    """Each array averaged over the replicas, by their weights."""
    return sums(parts, weights / weights.sum())


def each(replicas: Sequence[Any], name: str) -> list[Any]:
    """The part of that name of each replica."""
    return [getattr(replica, name) for replica in replicas]
