"""A policy for tests whose tau jumps about, and helpers to decode with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adaptive_spec import ConstantCosts, Constraints, Controller
from adaptive_spec._arrays import BoolArray
from adaptive_spec.decoding import (
    DecodingEngine,
    Drafter,
    DraftModelDrafter,
    ModelRunner,
    PromptLookupDrafter,
    Request,
    early_exit_drafter,
    explain_divergence,
)
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Empty, Outcome, Policy, State
from tests.tiny_models import VOCABULARY, perturbed

DRAFTERS = ("draft-model", "lookup", "early-exit")


@dataclass(frozen=True)
class Scripted(Policy[Empty, Empty]):
    """Decides a fixed tau, or random ones with stretches of plain decoding among them.

    Attributes:
      tau: 0 or more; -1 for random.
    """

    tau: int = -1

    def init(self, num_sequences: int, seed: int) -> State[Empty, Empty]:
        return State(Empty(), Empty())

    def decide(self, state: State[Empty, Empty], cycle: Cycle) -> Decision:
        if self.tau >= 0:
            return Decision(cycle.clip(np.full(cycle.max_tau.shape, self.tau)))
        keys = zip(cycle.sequence_id.tolist(), cycle.cycle_index.tolist(), strict=True)
        tau = [
            0
            if np.random.default_rng((sequence, index // 4)).random() < 0.4
            else np.random.default_rng((sequence, index)).integers(cycle.max_draft_tokens + 1)
            for sequence, index in keys
        ]
        return Decision(cycle.clip(np.array(tau, np.int64)))

    def update(self, state: State[Empty, Empty], outcome: Outcome) -> State[Empty, Empty]:
        return state


@dataclass(frozen=True)
class Stopping(Scripted):
    """Looks inside the draft: goes on while the last token's signal exceeds a threshold."""

    threshold: float = 0.3
    signal: str = "top1_probability"

    def keep_drafting(
        self,
        state: State[Empty, Empty],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        values = getattr(signals, self.signal)
        assert values.shape == (cycle.max_tau.size, depth)
        on: BoolArray = values[:, -1] > self.threshold
        return on


def controller(policy: Policy[Any, Any], constraints: Constraints | None = None) -> Controller:
    return Controller(policy, costs=ConstantCosts(), max_draft_tokens=8, constraints=constraints)


def make_drafter(name: str, model: Any, slots: int) -> Drafter:
    if name == "lookup":
        return PromptLookupDrafter(max_ngram=3)
    if name == "early-exit":
        return early_exit_drafter(model, 2, slots=slots)
    return DraftModelDrafter(ModelRunner(perturbed(model), slots=slots), "perturbed")


def engine(
    model: Any,
    drafter: str | Drafter | None,
    policy: Policy[Any, Any],
    batch_size: int = 1,
    **options: Any,
) -> DecodingEngine:
    if isinstance(drafter, str):
        drafter = make_drafter(drafter, model, batch_size)
    constraints = options.pop("constraints", None)
    verifier = ModelRunner(model, slots=batch_size, capacity_tokens=64)
    return DecodingEngine(
        verifier, drafter, controller(policy, constraints), batch_size=batch_size, **options
    )


def prompts(count: int, longest: int = 40) -> list[list[int]]:
    """Prompts of different lengths, 1 token among them; every other one repeats itself."""
    generator = np.random.default_rng(11)
    lengths = [1, *generator.integers(2, longest, count - 1).tolist()]
    texts = [generator.integers(0, VOCABULARY, length).tolist() for length in lengths]
    return [(text[:5] * 9)[: len(text)] if i % 2 else text for i, text in enumerate(texts)]


def requests(count: int, new_tokens: int = 18) -> list[Request]:
    """Requests that end one after the other."""
    return [
        Request(f"r{i}", prompt, new_tokens - (5 * i) % 12)
        for i, prompt in enumerate(prompts(count))
    ]


def generate(model: Any, prompt: Sequence[int], max_new_tokens: int, **options: Any) -> list[int]:
    """Plain decoding by transformers."""
    ids = torch.tensor([list(prompt)])
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=0,
        **options,
    )
    tokens: list[int] = output[0, len(prompt) :].tolist()
    return tokens


def assert_same(
    model: Any, prompt: Sequence[int], expected: Sequence[int], got: Sequence[int]
) -> None:
    difference = explain_divergence(model, prompt, expected, got)
    assert difference is None, difference
