"""What policies that look back are told in a history: of invented text that fits what happened."""

import numpy as np

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.controller import Plan
from adaptive_spec.randomness import uniform
from adaptive_spec.runs import KnownPositions, Runs, window_of
from adaptive_spec.traces.sequences import run_lengths_of


class Past:
    """The agreement bits of everything that running sequences emitted.

    Every other drafter, the first among them, is one that goes token by token. What drafting did
    not show is drawn, keyed by seed, sequence and position.
    """

    def __init__(self, num_drafters: int, seed: int) -> None:
        """Sets up without sequences."""
        self._token_by_token = np.arange(num_drafters) % 2 == 0
        self._known = KnownPositions(self._token_by_token)
        self._seed = seed
        self._bits: list[BoolArray] = []  # by sequence, [D, tokens]

    def begin(self, count: int) -> None:
        """Takes so many more sequences, which are numbered on."""
        self._known.begin(np.arange(len(self._bits), len(self._bits) + count))
        none = np.zeros((self._token_by_token.size, 0), np.bool_)
        self._bits += [none] * count

    def behind_tokens(self, sequences: IntArray) -> IntArray:
        """Tokens that drafters have not read, ``[B, D]``."""
        position = np.array([self._bits[i].shape[1] for i in sequences.tolist()], np.int64)
        return self._known.behind_tokens(sequences, position, self._reach(sequences.size))

    def after_cycle(
        self, plan: Plan, drafted: IntArray, accepted: IntArray, emitted: IntArray
    ) -> Runs:
        """What is known after a cycle; ``[B]`` each."""
        sequences = plan.cycle.sequence_id
        position = np.zeros(sequences.size, np.int64)
        for i, sequence in enumerate(sequences.tolist()):
            before = self._bits[sequence]
            position[i] = before.shape[1]
            keys = np.array([self._seed]), sequences[[i]], position[[i]]
            new = uniform(*keys, before.shape[0] * int(emitted[i])).reshape(before.shape[0], -1)
            bits: BoolArray = new < 0.6
            if drafted[i]:
                own = bits[plan.drafter[i]]
                own[: accepted[i]] = True
                if accepted[i] < min(drafted[i], emitted[i]):
                    own[accepted[i]] = False
            self._bits[sequence] = np.concatenate([before, bits], axis=1)
        known = self._known.after_cycle(
            sequences,
            position,
            self._reach(sequences.size),
            drafter=plan.drafter,
            catches_up=plan.catch_up,
            drafted=drafted,
            accepted=np.minimum(accepted, emitted),
            emitted=emitted,
        )
        window = window_of(plan.cycle.max_draft_tokens)
        length = np.zeros((*known.shape, window), np.int64)
        for i, sequence in enumerate(sequences.tolist()):
            for drafter, count in enumerate(known[i].tolist()):
                runs = run_lengths_of(self._bits[sequence][drafter, :count])
                at = window - self._bits[sequence].shape[1] + np.arange(count)
                length[i, drafter, at[at >= 0]] = runs[at >= 0]
        end = position + emitted
        return Runs(end, known, length, np.ones(length.shape, np.bool_))

    def _reach(self, rows: int) -> IntArray:
        return np.full((rows, self._token_by_token.size), 1 << 40)
