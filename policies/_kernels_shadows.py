"""The inner loops of ``_shadows``, compiled by numba; part of ``_kernels``, where more is said."""

from typing import Any

import numpy as np
from numba import int64, njit

from adaptive_spec.policies._kernels_types import CHANGED_I2, F1, F2, I1, RUNS
from adaptive_spec.policy import NO_DRAFTER


@njit((*RUNS, I1, I1), cache=True)
def fared(end: Any, known: Any, length: Any, proposes: Any, position: Any, tau: Any) -> Any:
    """The fields of ``Fared``, ``[B]`` each, at positions ``[B]``."""
    rows, drafters, window = length.shape
    drafted, accepted = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    drafter, settled = np.full(rows, NO_DRAFTER), np.zeros(rows, np.bool_)
    for b in range(rows):
        first = end[b] - window
        column = min(max(position[b] - first, 0), window - 1)
        whole = True
        for d in range(drafters):
            if proposes[b, d, column]:
                run, at = length[b, d, column], first + column
                drafted[b], accepted[b], drafter[b] = tau[b], min(run, tau[b]), d
                whole = run >= tau[b] or (at >= 0 and at + run < known[b, d])
                break
        settled[b] = whole
        for d in range(drafters):
            settled[b] &= position[b] + accepted[b] < known[b, d]
    return drafted, accepted, settled, drafter


@njit((*RUNS, CHANGED_I2, int64, F2, F1), cache=True)
def advance_static(
    end: Any,
    known: Any,
    length: Any,
    proposes: Any,
    position: Any,
    static: int,
    priced_ms: Any,
    rate: Any,
) -> Any:
    """As ``replay_static``; changes the position in place, and returns what each gained."""
    rows, drafters, window = length.shape
    gain = np.zeros(position.shape)
    for b in range(rows):
        row = b if priced_ms.shape[0] > 1 else 0
        first, settled = end[b] - window, known[b, 0]
        for d in range(1, drafters):
            settled = min(settled, known[b, d])
        for e in range(position.shape[1]):
            position[b, e] = max(position[b, e], min(first, settled))
        for e in range(static):
            tau = min(e, priced_ms.shape[1] - 1)
            while position[b, e] < settled:
                column = max(position[b, e] - first, 0)
                drafted, run, ended = 0, 0, True
                for d in range(drafters):
                    if proposes[b, d, column]:
                        drafted, run = tau, length[b, d, column]
                        ended = position[b, e] + run < known[b, d]
                        break
                accepted = min(run, tau)
                whole = ended or run >= tau
                if not whole or position[b, e] + accepted >= settled:
                    break
                gain[b, e] += accepted + 1 - rate[b] * priced_ms[row, drafted]
                position[b, e] += accepted + 1
    return gain
