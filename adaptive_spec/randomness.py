"""Counter-based random numbers: the same key gives the same number, whatever happened before.

A policy's ``decide`` is pure, so it cannot advance a generator. It draws from a hash of
(seed, sequence, cycle, stream) instead: rows do not disturb each other, decisions may be repeated,
and a live run and its replay see the same numbers. The hash is the finaliser of SplitMix64
(Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014), applied per key.
"""

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import FloatArray, IntArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


def uniform(
    seed: IntArray, sequence_id: IntArray, cycle_index: IntArray, num_streams: int = 1
) -> FloatArray:
    """Uniform numbers in the open interval (0, 1), ``[B, num_streams]``.

    Args:
      seed: ``[B or 1]``, kept in the state by policies that draw.
      sequence_id: ``[B]``, key of the row.
      cycle_index: ``[B]``, key of the decision.
      num_streams: independent numbers wanted per row.
    """
    key = seed.astype(np.uint64)
    for part in (sequence_id.astype(np.uint64), cycle_index.astype(np.uint64)):
        key = _mix(key + _GAMMA * (part + np.uint64(1)))
    streams = np.arange(1, num_streams + 1, dtype=np.uint64)
    bits = _mix(key[:, None] + _GAMMA * streams) >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) * 2.0**-53
