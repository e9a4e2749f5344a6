"""Which part of a step's time was drafting, where an engine tells how long the step took in all."""

import numpy as np

from adaptive_spec._arrays import FloatArray

_MEMORY = 0.98
"""Weight of older steps, per step."""
_CAUTION = 1.0
"""Steps that the cost model's own proportion counts for."""


class StepTimes:
    """Splits measured steps into verifying and drafting, by how both vary from step to step.

    Least squares on ``time = a * verifying + b * drafting`` with the cost model's times of both,
    older steps discounted; what steps do not tell (a and b apart, while all are alike) is left to
    the cost model: a ridge draws a and b to their common ratio.
    """

    def __init__(self) -> None:
        """Sets up without having seen a step."""
        self._squares = np.zeros((2, 2))
        self._products = np.zeros(2)
        self._total = np.zeros(2)  # measured, modelled

    def expected_ms(self, verify_ms: float, draft_ms: float) -> float | None:
        """How long a step may have taken, by its modelled times; None before any was measured."""
        if not self._total[1] > 0.0:
            return None
        modelled = np.array([verify_ms, draft_ms])
        return float(self._ratios(modelled) @ modelled)

    def split(self, measured_ms: float, verify_ms: float, draft_ms: float) -> tuple[float, float]:
        """The time of verifying and of drafting, which add up to what was measured.

        Args:
          measured_ms: the whole step, >= 0.
          verify_ms: of the verifier pass by the cost model, > 0.
          draft_ms: of drafting by the cost model, >= 0.
        """
        modelled = np.array([verify_ms, draft_ms])
        self._squares = _MEMORY * self._squares + np.outer(modelled, modelled)
        self._products = _MEMORY * self._products + measured_ms * modelled
        self._total = _MEMORY * self._total + np.array([measured_ms, modelled.sum()])
        parts = self._ratios(modelled) * modelled
        whole = float(parts.sum())
        if draft_ms <= 0.0 or whole <= 0.0:
            return measured_ms, 0.0
        drafting = measured_ms * float(parts[1]) / whole
        return measured_ms - drafting, drafting

    def _ratios(self, modelled: FloatArray) -> FloatArray:
        """Measured over modelled time of verifying and of drafting, >= 0."""
        common = self._total[0] / self._total[1]
        ridge = _CAUTION * np.diag(np.maximum(modelled, 1e-12) ** 2)
        solved = np.linalg.solve(self._squares + ridge, self._products + ridge @ np.full(2, common))
        positive: FloatArray = np.maximum(solved, 0.0)
        return positive
