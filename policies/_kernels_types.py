"""Types of what compiled loops are given."""

from typing import Any

from numba import boolean, float64, int64, types


def _read(kind: Any, dimensions: int) -> Any:
    """An array that is read: of any layout, writeable or not."""
    return types.Array(kind, dimensions, "A", readonly=True)


F1, F2, F3 = _read(float64, 1), _read(float64, 2), _read(float64, 3)
I1, I2, I3 = _read(int64, 1), _read(int64, 2), _read(int64, 3)
B2, B3 = _read(boolean, 2), _read(boolean, 3)
RUNS = (I1, I2, I3, B3)
"""The fields of ``Runs``."""

CHANGED_F1, CHANGED_F2, CHANGED_F3 = float64[::1], float64[:, ::1], float64[:, :, ::1]
CHANGED_I2 = int64[:, ::1]
"""Arrays that are changed in place."""
