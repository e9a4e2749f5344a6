"""What a drafter would have said at any depth of a draft begun at any position of a trace."""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.errors import ConfigError
from adaptive_spec.policy import DraftSignals
from adaptive_spec.traces.records import SIGNALS, TraceSet


class SignalSource(NamedTuple):
    """The signals of a trace, flattened. ``T`` tokens of ``N`` sequences; one extra entry each.

    Attributes:
      start: ``[N]`` index of each sequence's first entry.
      run_lengths: ``[T + N]``, 0 after the end of a sequence.
      token_by_token: whether a draft's signals are, up to its first wrong token, those of the
        positions it passes.
      first: by name, ``[T + N]``; ``later``: by name, ``[T + N, D]``.
    """

    start: IntArray
    run_lengths: IntArray
    token_by_token: bool
    first: dict[str, FloatArray]
    later: dict[str, FloatArray]

    @property
    def depth(self) -> int:
        """Longest draft whose signals are all known."""
        return 1 + min(int(later.shape[1]) for later in self.later.values())

    @staticmethod
    def of(traces: TraceSet) -> "SignalSource":
        """Flattens a trace's signals.

        Raises:
          ConfigError: some sequence was recorded without signals.
        """
        names = [name for name in SIGNALS if all(name in s.signals for s in traces)]
        if not names:
            raise ConfigError(
                "trace: holds no draft signals, which this policy looks at; record it with "
                "`adaptive-spec record`, without --no-signals"
            )
        sizes = np.array([s.run_lengths.size + 1 for s in traces], np.int64)
        depth = max(s.signals[name].later.shape[1] for s in traces for name in names)
        later = {
            name: np.concatenate([_padded(s.signals[name].later, depth) for s in traces])
            for name in names
        }
        return SignalSource(
            np.concatenate(([0], np.cumsum(sizes)[:-1])),
            np.concatenate([np.append(s.run_lengths, 0) for s in traces]),
            traces.info.drafting == "token",
            {name: np.concatenate([s.signals[name].first for s in traces]) for name in names},
            later,
        )

    def at(self, sequence: IntArray, position: IntArray, depths: int) -> DraftSignals:
        """Signals of ``depths`` tokens drafted from ``position`` on, ``[B, depths]``."""
        entry = self.start[sequence] + position
        passed = self.run_lengths[entry] if self.token_by_token else np.zeros_like(entry)
        depth = np.arange(depths)
        # Up to the first wrong token the draft follows the text; after it, its own rollout.
        along = entry[:, None] + np.minimum(depth, passed[:, None])
        beyond = depth - passed[:, None] - 1
        columns = (self._column(name, along, beyond) for name in SIGNALS)
        return DraftSignals(*columns)

    def _column(self, name: str, along: IntArray, beyond: IntArray) -> FloatArray:
        if name not in self.first:
            return np.full(along.shape, np.nan)
        later = self.later[name]
        recorded: BoolArray = beyond < later.shape[1]
        if later.shape[1] == 0:
            return np.where(beyond < 0, self.first[name][along], np.nan)
        off_path = later[along, np.clip(beyond, 0, later.shape[1] - 1)]
        off_path = np.where(recorded, off_path, np.nan)
        return np.where(beyond < 0, self.first[name][along], off_path)


def _padded(later: FloatArray, depth: int) -> FloatArray:
    return np.pad(later, ((0, 0), (0, depth - later.shape[1])), constant_values=np.nan)
