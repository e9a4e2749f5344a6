"""Windows of recorded texts as requests of their own: short completions out of long answers.

Under a rule whose output does not depend on tau, decoding ``prompt + text[:p]`` goes on with
``text[p:]``, and what a drafter would propose at a position depends on the text before it alone:
run lengths, signals and hints recorded at ``p`` are facts of that shorter request, too
(docs/exactness.md). Nothing is copied, and nothing is made up.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec._rows import UNLIMITED_TOKENS
from adaptive_spec.errors import TraceError
from adaptive_spec.traces.flat import FlatTrace
from adaptive_spec.traces.records import TraceInfo, TraceSet


class Windows(NamedTuple):
    """Stretches of recorded outputs; ``W`` windows, which may overlap and repeat.

    Attributes:
      sequence: ``[W]`` index of the recorded sequence.
      begin: ``[W]`` output position at which the window's request begins to decode.
      num_tokens: ``[W]`` tokens that it emits, >= 1.
      limit_tokens: ``[W]`` most tokens that it may emit, ``>= num_tokens``: equal where it ends by
        its limit, above where it ends by a stop string or the like.
    """

    sequence: IntArray
    begin: IntArray
    num_tokens: IntArray
    limit_tokens: IntArray


@dataclass(frozen=True)
class WindowedTrace:
    """A trace of which some windows are the requests, for ``replay`` and ``serve``.

    Their index is the window's. The prompt of each is the recorded one with the text before it.

    Attributes:
      traces: what was recorded.
      windows: the requests, at least one.
    """

    traces: TraceSet
    windows: Windows

    def __post_init__(self) -> None:
        sequence, begin, num_tokens, limit = self.windows
        count = len(self.traces)
        if sequence.size == 0 or any(part.shape != sequence.shape for part in self.windows):
            raise TraceError(
                "windows: sequence, begin, num_tokens and limit_tokens must be as many, and at "
                f"least one; got {[part.size for part in self.windows]}"
            )
        if sequence.min() < 0 or sequence.max() >= count:
            raise TraceError(f"windows: sequence must lie in 0..{count - 1}, the trace's sequences")
        recorded = np.array([s.run_lengths.size for s in self.traces])[sequence]
        wrong = (begin < 0) | (num_tokens < 1) | (begin + num_tokens > recorded)
        if wrong.any():
            i = int(wrong.argmax())
            raise TraceError(
                f"windows: window {i} is of {num_tokens[i]} tokens from position {begin[i]}; of "
                f"that sequence {recorded[i]} tokens were recorded, and a window has at least one"
            )
        if (limit < num_tokens).any():
            i = int((limit < num_tokens).argmax())
            raise TraceError(
                f"windows: window {i} has limit_tokens = {limit[i]} and emits {num_tokens[i]} "
                "tokens; the limit must be at least that"
            )

    def __len__(self) -> int:
        return int(self.windows.sequence.size)

    @property
    def info(self) -> TraceInfo:
        """What all sequences have in common."""
        return self.traces.info

    @property
    def num_tokens(self) -> int:
        """Output tokens of all windows."""
        return int(self.windows.num_tokens.sum())

    def flat(self) -> FlatTrace:
        """The arrays that replay works on."""
        return windows_of(self.traces.flat(), self.windows)


def windows_of(flat: FlatTrace, windows: Windows) -> FlatTrace:
    """The windows of a trace as its sequences; tokens stay where they are."""
    whole = flat.take(windows.sequence)
    reach = whole.draftable_tokens
    left = np.maximum(reach - windows.begin[:, None], 0)
    stretches = zip(whole.ids, windows.begin, windows.begin + windows.num_tokens, strict=True)
    return whole._replace(
        ids=np.array([f"{one}[{begin}:{end}]" for one, begin, end in stretches], np.object_),
        start=whole.start + windows.begin,
        num_tokens=windows.num_tokens,
        prompt_tokens=whole.prompt_tokens + windows.begin,
        limit_tokens=windows.limit_tokens,
        draftable_tokens=np.where(reach >= UNLIMITED_TOKENS, UNLIMITED_TOKENS, left),
    )
