"""What a drafter would have said at any depth of a draft begun at any position of a trace."""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.errors import ConfigError
from adaptive_spec.policy import DraftSignals
from adaptive_spec.traces.records import Drafting, TraceSet
from adaptive_spec.traces.sequences import SIGNALS, DrafterTrace
from adaptive_spec.traces.windows import Windows


def has_signals(traces: TraceSet) -> bool:
    """Whether some drafter's signals were recorded, of all sequences."""
    return any(
        any(all(name in said.signals for said in column) for name in SIGNALS)
        for column in zip(*(sequence.drafters for sequence in traces), strict=True)
    )


class SignalSource(NamedTuple):
    """The signals of a trace, by drafter."""

    drafters: tuple["DrafterSignals", ...]

    @property
    def depth(self) -> int:
        """Longest draft whose signals are all known."""
        return min(drafter.depth for drafter in self.drafters if drafter.first)

    @staticmethod
    def of(traces: TraceSet) -> "SignalSource":
        """Flattens a trace's signals.

        Raises:
          ConfigError: no drafter has signals of all sequences.
        """
        columns = zip(*(sequence.drafters for sequence in traces), strict=True)
        kinds = (drafter.drafting for drafter in traces.info.drafters)
        source = SignalSource(
            tuple(DrafterSignals.of(said, kind) for said, kind in zip(columns, kinds, strict=True))
        )
        if not any(drafter.first for drafter in source.drafters):
            raise ConfigError(
                "trace: holds no draft signals, which this policy looks at; record it with "
                "`adaptive-spec record`, without --no-signals"
            )
        return source

    def windows(self, windows: Windows) -> "SignalSource":
        """The signals of windows, by their index; drafts go on beyond a window's end."""
        return SignalSource(
            tuple(
                drafter._replace(start=drafter.start[windows.sequence] + windows.begin)
                for drafter in self.drafters
            )
        )

    def at(
        self, sequence: IntArray, position: IntArray, depths: int, drafter: IntArray | None = None
    ) -> DraftSignals:
        """Signals of ``depths`` tokens drafted from ``position`` on, ``[B, depths]``.

        Args:
          sequence: ``[B]`` index in the trace.
          position: ``[B]`` output position.
          depths: tokens drafted.
          drafter: ``[B]`` who drafts; None for the first.
        """
        if drafter is None or len(self.drafters) == 1:
            return self.drafters[0].at(sequence, position, depths)
        signals = DraftSignals(*np.full((len(SIGNALS), position.size, depths), np.nan))
        for i in np.unique(drafter).tolist():
            own = drafter == i
            said = self.drafters[i].at(sequence[own], position[own], depths)
            for whole, part in zip(signals, said, strict=True):
                whole[own] = part
        return signals


class DrafterSignals(NamedTuple):
    """The signals of one drafter, flattened. ``T`` tokens of ``N`` sequences; one extra entry each.

    Attributes:
      start: ``[N]`` index of each sequence's first entry.
      run_lengths: ``[T + N]``, 0 after the end of a sequence.
      token_by_token: whether a draft's signals are, up to its first wrong token, those of the
        positions it passes.
      first: by name, ``[T + N]``; ``later``: by name, ``[T + N, D]``; empty where it has none.
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
    def of(said: tuple[DrafterTrace, ...], drafting: Drafting) -> "DrafterSignals":
        """Flattens what a drafter said along each sequence; only signals that all of them have."""
        names = [name for name in SIGNALS if all(name in s.signals for s in said)]
        sizes = np.array([s.run_lengths.size + 1 for s in said], np.int64)
        depth = max((s.signals[name].later.shape[1] for s in said for name in names), default=0)
        return DrafterSignals(
            np.concatenate(([0], np.cumsum(sizes)[:-1])),
            np.concatenate([np.append(s.run_lengths, 0) for s in said]),
            drafting == "token",
            {name: np.concatenate([s.signals[name].first for s in said]) for name in names},
            {
                name: np.concatenate([_padded(s.signals[name].later, depth) for s in said])
                for name in names
            },
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
    missing = ((0, 0), (0, depth - later.shape[1]))
    return np.pad(later.astype(np.float64), missing, constant_values=np.nan)
