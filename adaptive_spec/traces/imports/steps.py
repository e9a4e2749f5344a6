"""Verification steps of requests, one by one: what they tell of drafts that were not made.

A step that drafted ``d`` tokens, of which ``a`` were accepted, shows of a drafter that proposes
token by token whether it would have proposed each of the next tokens: ``a`` times yes, and no once
if ``a < d``. Of the token after a draft that was accepted whole, and of tokens that were not
drafted for, nothing is known. With these bits taken for 0, a cycle begun anywhere ends no later
than it would have; and since ``position + min(run length, tau) + 1`` never falls as the position
grows, neither does any later cycle under the same constant tau: there are at least as many as there
would have been. With the bits taken for 1 there are at most as many.

Of a drafter whose proposal depends on where it began, only the run lengths at the steps' own
positions are known, which another tau would not meet: then the acceptance at each depth is all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.errors import TraceError
from adaptive_spec.traces.acceptance import Acceptance
from adaptive_spec.traces.exactness import Exactness
from adaptive_spec.traces.imports.imported import Imported, Settings, Totals, by_depth
from adaptive_spec.traces.records import TraceInfo, TraceSet
from adaptive_spec.traces.sequences import SequenceTrace, run_lengths_of


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps of one request, in order.

    Attributes:
      id: of the request.
      prompt_tokens: text before the first step, >= 1; None where not known.
      drafted: ``[n]`` tokens drafted and verified; ``accepted``: ``[n]``, of these.
      tokens: emitted from the first step on; None for what the steps add up to.
      drafters: how many drafted, as far as is known.
    """

    id: str
    prompt_tokens: int | None
    drafted: IntArray
    accepted: IntArray
    tokens: int | None = None
    drafters: int = 1

    @property
    def all_tokens(self) -> int:
        """What the steps add up to: accepted tokens and one more each."""
        return int(self.accepted.sum()) + self.accepted.size

    @property
    def is_whole(self) -> bool:
        """Whether these are all steps of the request: the last one may have been cut short.

        A step that is missing, and a cut by as many tokens, would go unnoticed.
        """
        if self.accepted.size == 0:
            return False
        last = int(self.accepted[-1]) + 1
        return self.tokens is None or 0 <= self.all_tokens - self.tokens < last

    def bits(self) -> tuple[BoolArray, BoolArray]:
        """Whether the drafter agrees with each token, and whether that is known, ``[tokens]``."""
        ends = np.cumsum(self.accepted + 1) - 1  # position of each step's own token
        agreement = np.ones(self.all_tokens, np.bool_)
        agreement[ends] = False
        known = np.ones(self.all_tokens, np.bool_)
        known[ends] = self.accepted < self.drafted
        return agreement[: self.tokens], known[: self.tokens]


def checked_steps(drafted: Sequence[int], accepted: Sequence[int], names: str, where: str) -> None:
    """Refuses steps that cannot have been.

    Args:
      drafted: by step.
      accepted: by step.
      names: of the two fields, for messages.
      where: file and line, to start them with.

    Raises:
      TraceError: lists of another length, or more accepted than drafted.
    """
    if len(drafted) != len(accepted):
        raise TraceError(
            f"{where}: {names} have {len(drafted)} and {len(accepted)} entries; both need one "
            "a step"
        )
    for step, (most, got) in enumerate(zip(drafted, accepted, strict=True)):
        if got > most:
            raise TraceError(
                f"{where}: {names}: step {step} drafted {most} tokens and had {got} accepted; it "
                "must not be more than was drafted"
            )


def from_steps(
    requests: Sequence[Steps], totals: Totals, settings: Settings, missing: Sequence[str]
) -> Imported:
    """A trace of bits where the drafter goes token by token, else of the acceptance by depth.

    Args:
      requests: their steps; those that are not whole count for the acceptance only.
      totals: sums over all of them.
      settings: what kind of drafter it is, and what tokens that nobody drafted are taken for.
      missing: what the format lacks besides.
    """
    acceptance = _acceptance(requests)
    whole = [steps for steps in requests if steps.is_whole and steps.tokens != 0]
    lacks = list(missing)
    if any(steps.prompt_tokens is None for steps in requests):
        lacks.append("the length of prompts, taken to be 1 where it is not given")
    if any(steps.tokens is None for steps in requests):
        lacks.append(
            "how many tokens were emitted, where that is not given: there, no steps are taken to "
            "be missing"
        )
    if len(whole) < len(requests):
        lacks.append(
            f"steps of {len(requests) - len(whole)} of {len(requests)} requests, which emitted "
            "other numbers of tokens than their steps add up to: these are in no trace"
        )
    several = any(steps.drafters > 1 for steps in requests)
    if several:
        lacks.append("what each of several drafters would have done where another one drafted")
    if settings.drafting == "block" or several or not whole:
        return by_depth(acceptance, totals, settings, lacks)
    return _by_bits(whole, acceptance, totals, settings, lacks)


def _by_bits(
    whole: Sequence[Steps],
    acceptance: Acceptance,
    totals: Totals,
    settings: Settings,
    lacks: list[str],
) -> Imported:
    sequences, unknown, tokens = [], 0, 0
    for steps in whole:
        agreement, known = steps.bits()
        unknown += int((~known).sum())
        tokens += known.size
        runs = run_lengths_of(np.where(known, agreement, settings.unknown == "accepted"))
        sequences.append(
            SequenceTrace(
                steps.id, "", steps.prompt_tokens or 1, runs, np.ones(runs.size, np.bool_)
            )
        )
    exactness: Exactness = "exact"
    said = ["for every token, whether the drafter would have proposed it"]
    if unknown:
        exactness = "lower bound" if settings.unknown == "rejected" else "upper bound"
        lacks.append(
            f"what the drafter would have said of {unknown} of {tokens} tokens, which it did not "
            f"draft: these are taken for {settings.unknown}"
        )
        said = [
            (
                f"for {tokens - unknown} of {tokens} tokens, whether the drafter would have "
                "proposed them: passes under any constant tau lie between those of the lower and "
                "the upper bound"
            )
        ]
    info = TraceInfo(
        settings.verifier, settings.drafter, "token", source="imported", exactness=exactness
    )
    said.append(f"the acceptance at each depth up to {acceptance.longest_draft}")
    traces = TraceSet(info, tuple(sequences))
    return Imported(exactness, totals, tuple(lacks), tuple(said), acceptance, traces)


def _acceptance(requests: Sequence[Steps]) -> Acceptance:
    nothing = [np.zeros(0, np.int64)]
    return Acceptance.of_drafts(
        np.concatenate([steps.drafted for steps in requests] or nothing),
        np.concatenate([steps.accepted for steps in requests] or nothing),
    )
