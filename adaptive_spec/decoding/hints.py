"""What live decoding shows a policy before a draft starts, as a replay does."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.controller import Plan
from adaptive_spec.decoding.draft import Draft
from adaptive_spec.hints import Certainty, Hints, LastConfidence, newest_judged


class Matching(Protocol):
    """What is asked of a drafter before it drafts; methods as those of ``Drafter``."""

    @property
    def components(self) -> Sequence[Any]: ...
    def match_length(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> FloatArray: ...


class LiveHints:
    """Follows the rows of an engine whose policy takes hints."""

    def __init__(self, drafter: Matching | None, rows: int) -> None:
        """Sets up ``rows`` rows, without sequences."""
        self._drafter = drafter
        self._certainty = Certainty.unknown(rows)
        self._confidence = LastConfidence(1 if drafter is None else len(drafter.components))

    def begin(self, row: int) -> None:
        """Another sequence takes this row."""
        for known in self._certainty:
            known[row] = np.nan
        self._confidence.begin(np.array([row]))

    def now(self, rows: IntArray, texts: Sequence[Sequence[int]]) -> Hints:
        """Hints for drafting behind these texts ``[B]``."""
        entropy, margin = (known[rows] for known in self._certainty)
        confidence = self._confidence.at(rows)
        match = np.full(confidence.shape, np.nan)
        if self._drafter is not None:
            match = self._drafter.match_length(rows.tolist(), texts)
        return Hints(entropy, margin, match, confidence)

    def after_cycle(
        self, plan: Plan, draft: Draft, emitted: IntArray, certainty: Certainty | None
    ) -> None:
        """Takes what a cycle showed.

        Args:
          plan: what was carried out.
          draft: read, with top-1 probabilities.
          emitted: ``[B]`` tokens emitted.
          certainty: ``[B]`` of the verifier; None where the rule does not tell.
        """
        newest_token = certainty or Certainty.unknown(emitted.size)
        for known, new in zip(self._certainty, newest_token, strict=True):
            known[plan.rows] = new
        if draft.signals is not None and draft.num_tokens.any():
            newest = newest_judged(draft.num_tokens, emitted)
            said = draft.signals.top1_probability[np.arange(emitted.size), newest]
            self._confidence.after_cycle(plan.rows, plan.drafter, draft.num_tokens > 0, said)
