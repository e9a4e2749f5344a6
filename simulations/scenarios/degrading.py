"""A drafter that got worse: some of what it had right becomes wrong, the text stays as it is."""

import dataclasses

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.traces.records import Component, TraceSet
from adaptive_spec.traces.sequences import (
    DrafterTrace,
    SequenceTrace,
    in_default_order,
    run_lengths_of,
)


def degraded(traces: TraceSet, kept_agreement: float, generator: np.random.Generator) -> TraceSet:
    """The trace of a drafter of whose right tokens only a share is right still.

    A token survives or not wherever a draft passes it. What the drafter says of its tokens stays as
    it was recorded: it is as sure of itself as before.

    Args:
      traces: what was recorded.
      kept_agreement: share that stays right, in 0..1.
      generator: draws which.
    """
    kinds = traces.info.drafters

    def worse(sequence: SequenceTrace) -> SequenceTrace:
        pairs = zip(sequence.drafters, kinds, strict=True)
        said = [_worse(drafter, kind, kept_agreement, generator) for drafter, kind in pairs]
        whole = in_default_order(said) if sequence.components else said[0]
        return dataclasses.replace(
            sequence,
            id=f"{sequence.id} (degraded)",
            run_lengths=whole.run_lengths,
            proposes=whole.proposes,
            components=tuple(said) if sequence.components else (),
        )

    return TraceSet(traces.info, tuple(worse(sequence) for sequence in traces))


def _worse(
    said: DrafterTrace, kind: Component, kept_agreement: float, generator: np.random.Generator
) -> DrafterTrace:
    survives = generator.random(said.run_lengths.size) < kept_agreement
    if kind.drafting == "token":
        runs: IntArray = run_lengths_of(said.agreement & survives)
    else:
        runs = np.minimum(said.run_lengths, run_lengths_of(survives))
    return dataclasses.replace(said, run_lengths=runs)
