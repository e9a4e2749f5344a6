"""Traces in memory: what their sequences have in common, and one record per sequence.

A trace holds what does not depend on tau (docs/exactness.md): the run length at every output
position, whether the drafter proposes anything there, and what it says of its proposals.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec._specs import short_names
from adaptive_spec.errors import ConfigError, TraceError
from adaptive_spec.traces.exactness import MEANING, Exactness
from adaptive_spec.traces.flat import FlatTrace
from adaptive_spec.traces.sequences import SequenceTrace, run_lengths_of

Drafting = Literal["token", "block"]


@dataclass(frozen=True)
class Component:
    """One drafter of a composition: its ``spec``, and its ``drafting`` as in ``TraceInfo``."""

    spec: str
    drafting: Drafting


@dataclass(frozen=True)
class TraceInfo:
    """What all sequences of a trace have in common.

    Attributes:
      verifier: name or path of the verifier; ``drafter``: spec of the drafter.
      drafting: "token" for a drafter that proposes token by token from the text before it, whose
        run lengths follow from its agreement bits; "block" for one whose proposal depends on where
        it started (prompt lookup, EAGLE-like), whose run lengths are recorded position by position.
      numerics: dtype, device and attention of the verifier, for telling traces apart.
      source: "recorded" by this package, "imported" from elsewhere, or "synthetic": made up.
      chat_template: whether the prompts went through the tokenizer's chat template.
      max_new_tokens: limit asked for when recording; 0 where not known.
      signal_depth: tokens of a draft whose signals are kept; 0 for none.
      rule: the verification rule, its sampling parameters and its seed.
      components: of a composed drafter, in default order; empty for a single drafter.
      exactness: how much replay can tell, a key of ``MEANING``, and never "averages".
      known_draft_tokens: longest draft that it tells of; 0 for any.
    """

    verifier: str
    drafter: str
    drafting: Drafting
    numerics: str = "unknown"
    source: Literal["recorded", "imported", "synthetic"] = "recorded"
    chat_template: bool = True
    max_new_tokens: int = 0
    signal_depth: int = 0
    rule: str = "unknown"
    components: tuple[Component, ...] = ()
    exactness: Exactness = "exact"
    known_draft_tokens: int = 0

    def __post_init__(self) -> None:
        specs = [component.spec for component in self.components]
        if self.components and (self.drafting != "block" or len(set(specs)) < max(len(specs), 2)):
            raise TraceError(
                f"info: components {specs}; a composition has drafting 'block' and two or more "
                "drafters, all different"
            )
        if self.exactness == "averages" or self.known_draft_tokens < 0:
            raise TraceError(
                f"info: exactness = {self.exactness!r}, known_draft_tokens = "
                f"{self.known_draft_tokens}; averages are no trace, and a length is at least 0"
            )

    def require_known(self, max_draft_tokens: int) -> None:
        """Refuses to replay drafts that are longer than those that the trace tells of.

        Raises:
          ConfigError: ``max_draft_tokens`` is above ``known_draft_tokens``.
        """
        if 0 < self.known_draft_tokens < max_draft_tokens:
            raise ConfigError(
                f"max_draft_tokens = {max_draft_tokens}: this trace tells of drafts of up to "
                f"{self.known_draft_tokens} tokens ({MEANING[self.exactness]}); allow tau up to "
                f"{self.known_draft_tokens} (--max-draft-tokens {self.known_draft_tokens})"
            )

    @property
    def drafters(self) -> tuple[Component, ...]:
        """The drafters, in default order: one, or those of a composition."""
        return self.components or (Component(self.drafter, self.drafting),)

    @property
    def drafter_names(self) -> tuple[str, ...]:
        """What the drafters are called in cycles, costs and tables."""
        return short_names([drafter.spec for drafter in self.drafters])


@dataclass(frozen=True)
class TraceSet:
    """A trace: sequences recorded (or imported) with one verifier and one drafter."""

    info: TraceInfo
    sequences: tuple[SequenceTrace, ...]

    def __post_init__(self) -> None:
        if not self.sequences:
            raise TraceError("trace: holds no sequences")
        seen: set[str] = set()
        for sequence in self.sequences:
            if sequence.id in seen:
                raise TraceError(f"trace: sequence id {sequence.id!r} appears twice")
            seen.add(sequence.id)
            if len(sequence.drafters) != len(self.info.drafters):
                raise TraceError(
                    f"sequence {sequence.id!r}: has {len(sequence.drafters)} drafters, the trace "
                    f"{len(self.info.drafters)}"
                )
            for drafter, said in zip(self.info.drafters, sequence.drafters, strict=True):
                if drafter.drafting == "token" and not np.array_equal(
                    said.run_lengths, run_lengths_of(said.agreement)
                ):
                    raise TraceError(
                        f"sequence {sequence.id!r}: run_lengths contradict a token-by-token "
                        "drafter, whose run shrinks by one a position; use drafting='block'"
                    )

    def __len__(self) -> int:
        return len(self.sequences)

    def __iter__(self) -> Iterator[SequenceTrace]:
        return iter(self.sequences)

    @property
    def num_tokens(self) -> int:
        """Output tokens of all sequences."""
        return sum(sequence.run_lengths.size for sequence in self.sequences)

    def select(self, index: Sequence[int] | IntArray) -> "TraceSet":
        """The trace of some of its sequences, in the order given."""
        return TraceSet(self.info, tuple(self.sequences[int(i)] for i in index))

    def only(self, drafter: str) -> "TraceSet":
        """The trace as it would have been recorded with one of its drafters alone.

        Args:
          drafter: its name (one of ``TraceInfo.drafter_names``) or its spec.

        Raises:
          TraceError: no such drafter.
        """
        names = self.info.drafter_names
        for i, (name, one) in enumerate(zip(names, self.info.drafters, strict=True)):
            if drafter in (name, one.spec):
                info = replace(self.info, drafter=one.spec, drafting=one.drafting, components=())
                return TraceSet(info, tuple(sequence.only(i) for sequence in self.sequences))
        raise TraceError(
            f"trace: has no drafter {drafter!r}; it was recorded with {', '.join(names)}"
        )

    def flat(self) -> "FlatTrace":
        """The arrays that replay works on."""
        by_token = [drafter.drafting == "token" for drafter in self.info.drafters]
        return FlatTrace.of(self.info.drafter_names, by_token, self.sequences)
