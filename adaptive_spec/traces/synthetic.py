"""Synthetic drafting: rejections that follow prescribed hazards instead of a model's mistakes.

For controlled experiments and tests. Every draw is a hash of (seed, sequence, position, depth), so
that what is accepted from a position does not depend on what was drafted before: run lengths are a
property of the sequence, and replay is exact.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec._specs import spec_text
from adaptive_spec.errors import DrafterSpecError, TraceError
from adaptive_spec.randomness import uniform
from adaptive_spec.traces.records import Drafting, TraceInfo, TraceSet
from adaptive_spec.traces.sequences import SequenceTrace, run_lengths_of

NAME = "synthetic"


@dataclass(frozen=True)
class Hazards:
    """Chance that a draft token is rejected, given that those before it in the draft were accepted.

    Either constant (``hazard``), or by depth of the draft (``hazards``), or bursty (``hazard`` with
    ``burst``): then each output token lies in a calm stretch or in a burst, which follow each other
    as a two-state Markov chain.

    Attributes:
      hazard: outside of bursts, in [0, 1].
      hazards: of the first, second... token of a draft, in [0, 1]; the last one goes on.
      burst: within bursts, in [0, 1].
      enter: chance that a calm stretch ends at a token, in (0, 1]; ``leave``: that a burst does;
        together at most 1. A share of ``enter / (enter + leave)`` of all tokens lies in bursts.
      seed: all draws derive from it.
    """

    hazard: float | None = None
    hazards: tuple[float, ...] = ()
    burst: float | None = None
    enter: float = 0.05
    leave: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.hazard is None) == (not self.hazards):
            raise DrafterSpecError(
                f"{NAME}: give either hazard (a constant) or hazards (by depth), as in "
                f"{NAME}:hazard=0.3 or {NAME}:hazards=0.5/0.3"
            )
        if self.burst is not None and self.hazard is None:
            raise DrafterSpecError(f"{NAME}: burst needs hazard, that of calm stretches")
        for value in (self.hazard, self.burst, *self.hazards):
            if value is not None and not 0 <= value <= 1:
                raise DrafterSpecError(f"{NAME}: a hazard of {value}; it must be in 0..1")
        if not (self.enter > 0 and self.leave > 0 and self.enter + self.leave <= 1):
            raise DrafterSpecError(
                f"{NAME}: enter = {self.enter}, leave = {self.leave}; both must be above 0, and "
                "their sum at most 1"
            )
        if not 0 <= self.seed < 1 << 32:
            raise DrafterSpecError(f"{NAME}: seed = {self.seed}; it must be in 0..2**32 - 1")

    @property
    def spec(self) -> str:
        """Text that says it again, beginning with "synthetic"."""
        return spec_text(NAME, self)

    @property
    def drafting(self) -> Drafting:
        """As in ``TraceInfo``: hazards by depth depend on where a draft began."""
        return "block" if self.hazards else "token"

    def accepts(self, sequence: int, position: int, count: int) -> BoolArray:
        """Which tokens of a draft begun at an output position are right, ``[count]``.

        Args:
          sequence: number of the sequence, >= 0 (``sequence_number``).
          position: output position, >= 0.
          count: tokens drafted.
        """
        if self.hazards:
            draws = self._draws(sequence, np.array([position]), count)[0]
            right: BoolArray = draws >= self._by_depth(count)
            return right
        return self._agreement(sequence, position + count)[position:]

    def run_lengths(self, sequence: int, num_tokens: int) -> IntArray:
        """Run length from each of the ``n`` positions of an output, ``[n]``."""
        if not self.hazards:
            return run_lengths_of(self._agreement(sequence, num_tokens))
        runs = num_tokens - np.arange(num_tokens)
        going, depth = np.arange(num_tokens), 0
        while going.size:  # twice as deep each time, for those whose draft was right so far
            depth = min(max(2 * depth, 16), num_tokens)
            wrong = self._draws(sequence, going, depth) < self._by_depth(depth)
            ended = wrong.any(axis=1)
            runs[going[ended]] = np.minimum(runs[going[ended]], wrong[ended].argmax(axis=1))
            going = going[~ended & (runs[going] > depth)]
        return runs

    def _agreement(self, sequence: int, num_tokens: int) -> BoolArray:
        """Whether the token drafted for each output position is right, ``[num_tokens]``."""
        assert self.hazard is not None
        draws = self._draws(sequence, np.arange(num_tokens), 2)
        hazard = np.full(num_tokens, self.hazard)
        if self.burst is not None:
            hazard[self._in_burst(draws[:, 1])] = self.burst
        right: BoolArray = draws[:, 0] >= hazard
        return right

    def _in_burst(self, draws: FloatArray) -> BoolArray:
        """Which positions lie in a burst, ``[n]``.

        A draw below ``enter`` begins or continues a burst whatever came before, one of at least
        1 - ``leave`` ends it likewise, and any other leaves things as they are.
        """
        enters, leaves = draws < self.enter, draws >= 1 - self.leave
        if draws.size:
            # The chain starts in equilibrium: the first draw decides, scaled to the shares.
            enters[0] = draws[0] < self.enter / (self.enter + self.leave)
            leaves[0] = not enters[0]
        decided = np.where(enters | leaves, np.arange(draws.size), 0)
        last = np.maximum.accumulate(decided)
        inside: BoolArray = enters[last]
        return inside

    def _by_depth(self, count: int) -> FloatArray:
        return np.asarray(self.hazards)[np.minimum(np.arange(count), len(self.hazards) - 1)]

    def _draws(self, sequence: int, position: IntArray, count: int) -> FloatArray:
        """Uniform numbers by position and depth, ``[B, count]``."""
        key = np.full(position.size, sequence)
        return uniform(np.array([self.seed]), key, position, count)


def sequence_number(prompt_ids: Sequence[int]) -> int:
    """A number for a sequence by its prompt, the same in every run and on every machine."""
    data = np.asarray(prompt_ids, "<i8").tobytes()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") >> 1


def synthetic_trace(
    hazards: Hazards,
    *,
    num_sequences: int = 64,
    num_tokens: int = 128,
    prompt_tokens: int = 32,
) -> TraceSet:
    """A trace without any model: sequences of one length, with the run lengths of these hazards.

    Args:
      hazards: chances of rejection.
      num_sequences: >= 1; the draws of each are independent.
      num_tokens: output tokens of a sequence, >= 1.
      prompt_tokens: length of its prompt, >= 1.

    Raises:
      TraceError: a size below 1.
    """
    if min(num_sequences, num_tokens, prompt_tokens) < 1:
        raise TraceError(
            f"synthetic trace: {num_sequences} sequences of {num_tokens} tokens after "
            f"{prompt_tokens} of prompt; all must be at least 1"
        )
    sequences = (
        SequenceTrace(
            id=f"{NAME}/{i:0{math.ceil(math.log10(num_sequences + 1))}}",
            category=NAME,
            prompt_tokens=prompt_tokens,
            run_lengths=hazards.run_lengths(i, num_tokens),
            proposes=np.ones(num_tokens, np.bool_),
            limit_tokens=num_tokens,
            finish_reason="length",
        )
        for i in range(num_sequences)
    )
    info = TraceInfo(NAME, hazards.spec, hazards.drafting, source="synthetic")
    return TraceSet(info, tuple(sequences))
