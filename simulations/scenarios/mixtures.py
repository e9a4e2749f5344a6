"""The best mixture in hindsight: which share of the requests is served in which way.

Of ways to serve the same requests (a price of a pass, a static tau), each with its time and with
what it spends of what was promised, the mixture of least time that stays within the promises is a
linear programme; with one promise its solution mixes two ways, neighbours on the lower hull. Over
constant prices this is the Lagrangian optimum (Everett, Operations Research 11, 1963), with the
gaps between its points closed by mixing.
"""

import numpy as np
from scipy.optimize import linprog

from adaptive_spec._arrays import FloatArray

_ROUNDING = 1e-9


def best_mixture(time: FloatArray, spent: FloatArray, allowed: FloatArray) -> FloatArray | None:
    """Shares of the least mean time, ``[W]``, >= 0 and 1 in all.

    Args:
      time: ``[W]`` mean of each way.
      spent: ``[P, W]`` mean of each way, of what each promise limits.
      allowed: ``[P]`` by each promise.

    Returns:
      None where no mixture is within what is allowed.
    """
    solved = linprog(
        time,
        A_ub=spent if allowed.size else None,
        b_ub=allowed if allowed.size else None,
        A_eq=np.ones((1, time.size)),
        b_eq=np.ones(1),
        bounds=(0.0, 1.0),
    )
    if solved.x is None or not solved.success:
        return None
    shares = np.where(solved.x > _ROUNDING, solved.x, 0.0)
    mixed: FloatArray = shares / shares.sum()
    return mixed
