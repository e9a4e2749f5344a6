"""Traces whose times can be worked out by hand.

With costs of .125 a token and K = 3, an answer of 12 tokens takes

                         tau = 0    1       2       3       optimum
    easy (all accepted)  12         6.75    5       4.125   4.125
    hard (all refused)   12         13.375  14.625  15.75   12

for tau is cut to the tokens left but one: a hard answer at tau = 3 takes 9 cycles of 1.375, then
1.25, 1.125 and 1. Half of each: 12, 10.0625, 9.8125, 9.9375 a prompt, and 8.0625 at the optimum.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from adaptive_spec import ConstantCosts
from adaptive_spec.simulations.evidence import Settings
from adaptive_spec.traces import (
    DrafterTrace,
    Hazards,
    SequenceTrace,
    SignalTrace,
    TraceInfo,
    TraceSet,
    synthetic_trace,
)
from tests.traces.test_compositions import composed

COSTS = ConstantCosts(0.125)
POINT = {"c = .125": COSTS}
SETTINGS = Settings(max_draft_tokens=3, shuffles=3, resamples=40)


def sequence(name: str, category: str, hazard: float, num_tokens: int = 12) -> SequenceTrace:
    made = synthetic_trace(Hazards(hazard), num_sequences=1, num_tokens=num_tokens)
    return dataclasses.replace(made.sequences[0], id=name, category=category)


def trace_of(sequences: Sequence[SequenceTrace], drafter: str = "drafter") -> TraceSet:
    return TraceSet(TraceInfo("verifier", drafter, "token"), tuple(sequences))


def easy_and_hard(prompts: int = 4) -> TraceSet:
    """As many of each, in categories of these names; half of them are judged."""
    hazards = {"easy": 0.0, "hard": 1.0}
    return trace_of(
        [sequence(f"{name}/{i}", name, h) for name, h in hazards.items() for i in range(prompts)]
    )


def lookup_and_model(prompts: int = 16) -> TraceSet:
    """A composition with signals that a drafter might give: 4 tokens deep, of the model's three."""

    def real(signal: SignalTrace) -> SignalTrace:
        return SignalTrace(*(np.minimum(np.abs(part), 1.0) for part in signal))

    def with_real(said: DrafterTrace) -> DrafterTrace:
        signals = {name: real(signal) for name, signal in said.signals.items()}
        return dataclasses.replace(said, signals=signals)

    traces = composed(prompts)
    sequences = (
        dataclasses.replace(s, components=tuple(map(with_real, s.components))) for s in traces
    )
    return TraceSet(traces.info, tuple(sequences))


def varied(prompts: int = 8, drafter: str = "drafter", seed: int = 0) -> TraceSet:
    """Prompts of different length and difficulty, in two categories."""
    return trace_of(
        [
            dataclasses.replace(
                synthetic_trace(
                    Hazards(0.1 + 0.8 * (i % 4) / 4, seed=seed + i),
                    num_sequences=1,
                    num_tokens=10 + 3 * i,
                ).sequences[0],
                id=f"p{i:02}",
                category="ab"[i % 4 < 2],
            )
            for i in range(prompts)
        ],
        drafter,
    )
