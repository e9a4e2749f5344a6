"""How long cycles take against the cost model, to tell a prompt's time from its first cycle's."""

_MEMORY = 0.95
"""Weight of older cycles, per cycle."""


class _Ratio:
    """Discounted measured time over modelled time."""

    def __init__(self) -> None:
        self._measured = self._modelled = 0.0

    def add(self, measured_ms: float, modelled_ms: float) -> None:
        self._measured = _MEMORY * self._measured + measured_ms
        self._modelled = _MEMORY * self._modelled + modelled_ms

    def expected_ms(self, modelled_ms: float) -> float | None:
        """What may be expected to be measured; None before anything was."""
        if self._modelled <= 0.0:
            return None
        return modelled_ms * self._measured / self._modelled


class Pace:
    """Splits times of first passes, which read a prompt and draft or verify, too.

    transformers does both in one pass. A policy that took the whole for the price of a cycle would
    be led astray by every prompt.

    Attributes:
      draft, verify: what was measured so far.
    """

    def __init__(self) -> None:
        """Before any cycle."""
        self.draft, self.verify = _Ratio(), _Ratio()

    @staticmethod
    def split(ratio: _Ratio, measured_ms: float, modelled_ms: float) -> tuple[float | None, float]:
        """The cycle's share, None where nothing is known of it yet, and the prompt's, in ms."""
        own = ratio.expected_ms(modelled_ms)
        if own is None:
            return None, measured_ms
        own = min(own, measured_ms)
        return own, measured_ms - own
