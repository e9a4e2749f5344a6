"""Hard pass budgets: a token bucket of verifier passes for each class of requests.

A request brings its own ``average_passes``, at least one, so that none can be starved by others.
What it leaves unspent goes into the pool of its class, which holds at most ``burst_passes`` and
starts full; what it takes beyond its own comes out of there. A pass for which there is no credit is
not granted; one that is taken back returns what was paid for it. Hence, after R requests were
admitted, at most ``average_passes * R + burst_passes`` passes have been taken: a bound that holds
for every sequence of events, without any assumption, but where requests carry on when their passes
are spent.
"""

from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray

_ROUNDING = 1e-9


class Payment(NamedTuple):
    """What was paid for a pass of each request, ``[B]``, in passes; less than 1 over budget.

    Attributes:
      own: out of the request's own credit.
      pool: out of the pool of its class.
    """

    own: FloatArray
    pool: FloatArray

    def take(self, index: Any) -> "Payment":
        """Those at ``index``: numbers, a mask, or a slice."""
        return Payment(self.own[index], self.pool[index])

    @staticmethod
    def nothing(count: int) -> "Payment":
        """Nothing was paid for the passes of ``count`` requests."""
        return Payment(np.zeros(count), np.zeros(count))


def wanted_from_pool(own_passes: FloatArray) -> FloatArray:
    """What the next pass of each request takes from the pool, ``[B]``, in 0..1.

    Args:
      own_passes: ``[B]`` credit of its own that each request has left.
    """
    wanted: FloatArray = np.clip(1.0 - own_passes, 0.0, 1.0)
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


def payment(pool: float, own_passes: FloatArray, age: IntArray) -> Payment:
    """What is paid for a pass of each request, ``[B]``: its own credit first, then the pool's.

    Those that came first pay in full. Going on over budget leaves no debt.
    """
    wanted = wanted_from_pool(own_passes)
    order = np.argsort(age, kind="stable")
    before = np.empty_like(wanted)
    before[order] = np.cumsum(wanted[order]) - wanted[order]
    return Payment(np.minimum(own_passes, 1.0), np.clip(pool - before, 0.0, wanted))


def passes_left(pool: float, running: int, own_passes: FloatArray) -> IntArray:
    """Passes that each request can still count on, ``[B]``, at least 1.

    They are its own, and its share of the pool among those running.
    """
    left = own_passes + pool / max(running, 1)
    whole: IntArray = np.maximum(np.floor(left + _ROUNDING), 1).astype(np.int64)
    return whole
