"""Hard pass budgets: a token bucket of verifier passes for each class of requests.

A request brings its own ``average_passes``, at least one, so that none can be starved by others.
What it leaves unspent goes into the pool of its class, which holds at most ``burst_passes`` and
starts full; what it takes beyond its own comes out of there. A pass for which there is no credit is
not granted. Hence, after R requests were admitted, at most ``average_passes * R + burst_passes``
passes have been taken: a bound that holds for every sequence of events, without any assumption, but
where requests carry on when their passes are spent.
"""

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray

_ROUNDING = 1e-9


def wanted_from_pool(own_passes: FloatArray, passes: IntArray) -> FloatArray:
    """What the next pass of each request takes from the pool, ``[B]``, in 0..1.

    Args:
      own_passes: ``[B]`` credit that each request brought.
      passes: ``[B]`` passes taken so far.
    """
    wanted: FloatArray = np.clip(passes + 1 - own_passes, 0.0, 1.0)
    return wanted


def granted(pool: float, wanted: FloatArray, age: IntArray) -> BoolArray:
    """Which requests of a class get their next pass, ``[B]``; those first that came first.

    Args:
      pool: credit of the class.
      wanted: ``[B]`` from the pool.
      age: ``[B]`` number of the request; lower ones came before.
    """
    order = np.argsort(age, kind="stable")
    within = np.empty(wanted.size, np.bool_)
    within[order] = np.cumsum(wanted[order]) <= pool + _ROUNDING
    affordable: BoolArray = within | (wanted <= 0)
    return affordable


def take(pool: float, wanted: FloatArray) -> float:
    """The pool after these passes; never below 0, so that going on over budget leaves no debt."""
    return max(pool - float(wanted.sum()), 0.0)


def give_back(pool: float, burst_passes: float, own_passes: FloatArray, passes: IntArray) -> float:
    """The pool after requests ended that took ``passes``, ``[n]``; it holds at most the burst."""
    unspent = float(np.maximum(own_passes - passes, 0.0).sum())
    return min(pool + unspent, burst_passes)


def passes_left(pool: float, running: int, own_passes: FloatArray, passes: IntArray) -> IntArray:
    """Passes that each request can still count on, ``[B]``, at least 1.

    They are its own, and its share of the pool among those running.
    """
    left = own_passes - passes + pool / max(running, 1)
    whole: IntArray = np.maximum(np.floor(left + _ROUNDING), 1).astype(np.int64)
    return whole
