"""Counter-based random numbers: the same key gives the same number, whatever happened before.

A policy's ``decide`` is pure, so it cannot advance a generator. It draws from a hash of
(seed, sequence, cycle, stream) instead: rows do not disturb each other, decisions may be repeated,
and a live run and its replay see the same numbers. The hash is the finaliser of SplitMix64
(Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014), applied per key.

Sampled decoding draws its noise the same way, from (sequence, position in the text, purpose).
"""

import hashlib

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


def sequence_seed(seed: int, name: str) -> int:
    """A seed of its own for a named sequence, in 0 to 2**64 - 1."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def request_key(request_id: str) -> int:
    """The key of a request, by which it is told apart from others anywhere, in 0 to 2**63 - 1."""
    digest = hashlib.blake2b(request_id.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def keyed(
    seed: IntArray | npt.NDArray[np.uint64], *parts: IntArray | int
) -> npt.NDArray[np.uint64]:
    """A hash of seed and parts, broadcast against each other: keys of random numbers, ``[n]``."""
    key = np.atleast_1d(seed).astype(np.uint64)
    for part in parts:
        key = _mix(key + _GAMMA * (np.atleast_1d(part).astype(np.uint64) + np.uint64(1)))
    return key


def key_uniform(key: npt.NDArray[np.uint64]) -> FloatArray:
    """Uniform numbers in the open interval (0, 1), one for each key."""
    numbers: FloatArray = ((_mix(key) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return numbers


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
    key = keyed(seed, sequence_id, cycle_index)
    streams = np.arange(1, num_streams + 1, dtype=np.uint64)
    return key_uniform(key[:, None] + _GAMMA * streams)
