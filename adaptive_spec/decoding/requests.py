"""What goes into the decoding engine, and what comes out of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from adaptive_spec._shares import DrafterShare
from adaptive_spec.errors import AdaptiveSpecError, PromptError
from adaptive_spec.policy import DraftSignals
from adaptive_spec.randomness import sequence_seed

FinishReason: TypeAlias = Literal["eos", "stop", "length", "budget", "deadline", "cancelled"]


@dataclass(frozen=True)
class Request:
    """One prompt to continue.

    Attributes:
      id: unique among the requests of a run.
      prompt_ids: the prompt's tokens, at least one.
      max_new_tokens: most tokens to emit, >= 1.
      category: free label.
      seed: of the sequence's noise where tokens are sampled, 0 to 2**64 - 1: the same seed and
        prompt give the same noise. None: a seed made of the rule's and ``id``.
      request_class: name of its class in the controller's constraints; None for the first.
      arrival_s: when it came, by ``time.monotonic()``, so that waiting counts towards its latency;
        None: when the engine takes it.
    """

    id: str
    prompt_ids: Sequence[int]
    max_new_tokens: int
    category: str = ""
    seed: int | None = None
    request_class: str | None = None
    arrival_s: float | None = None

    def __post_init__(self) -> None:
        if len(self.prompt_ids) == 0:
            raise PromptError(f"request {self.id!r}: the prompt has no tokens; give at least one")
        if self.max_new_tokens < 1:
            raise PromptError(
                f"request {self.id!r}: max_new_tokens = {self.max_new_tokens}; must be at least 1"
            )
        if self.seed is not None and not 0 <= self.seed < 1 << 64:
            raise PromptError(f"request {self.id!r}: seed = {self.seed}; must be 0 to 2**64 - 1")

    def noise_seed(self, rule_seed: int) -> int:
        """The seed of its noise, under a rule with this seed."""
        return sequence_seed(rule_seed, self.id) if self.seed is None else self.seed


@dataclass(frozen=True)
class CycleRecord:
    """One cycle of one sequence.

    Attributes:
      position: output position at which the cycle began.
      tau: tokens that the policy asked for.
      num_draft_tokens: tokens drafted and verified, <= ``tau``.
      num_accepted_tokens: of these, emitted; ``num_emitted_tokens``: emitted in all.
      agreement: ``[num_emitted_tokens]`` 1 where the drafter proposed the token emitted, 0 where it
        proposed another, -1 where drafting did not show it. Under rejection sampling and typical
        acceptance: 1 accepted, 0 refused.
      signals: ``[num_draft_tokens]`` arrays; None where not recorded.
      draft_ms, verify_ms: measured times of the batch's cycle.
      context_tokens: prompt and output tokens before the cycle.
      batch_size: sequences that shared the pass.
      drafter: name of who drafted; None where nothing was.
    """

    position: int
    tau: int
    num_draft_tokens: int
    num_accepted_tokens: int
    num_emitted_tokens: int
    agreement: tuple[int, ...]
    signals: DraftSignals | None
    draft_ms: float
    verify_ms: float
    context_tokens: int
    batch_size: int
    drafter: str | None = None


@dataclass(frozen=True)
class Completion:
    """One finished request.

    Attributes:
      id, category, prompt_tokens: of the request.
      token_ids: the output; a stop token is its last.
      finish_reason: "eos" (stop token), "stop" (stop string), "length" (``max_new_tokens`` or the
        context's end), "budget" (its verifier passes were spent), "deadline" (its time was) or
        "cancelled".
      cycles: every cycle, in order.
      prefill_ms: time of reading the prompt, verifier and drafter; prompts that were read together
        have it in common.
      reused_prefix_tokens: first tokens of the prompt that the verifier did not read, since another
        sequence's text begins alike.
      rule: spec of the verification rule; ``lossless``: whether outputs under it are distributed as
        the verifier's own.
    """

    id: str
    category: str
    prompt_tokens: int
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    cycles: tuple[CycleRecord, ...]
    prefill_ms: float
    rule: str = "greedy"
    lossless: bool = True
    reused_prefix_tokens: int = 0

    @property
    def cut_short(self) -> bool:
        """Whether it ended before the verifier's text did, or its length was reached."""
        return self.finish_reason in ("budget", "deadline", "cancelled")

    @property
    def decode_ms(self) -> float:
        """Time of all its cycles."""
        return sum(cycle.draft_ms + cycle.verify_ms for cycle in self.cycles)

    @property
    def num_draft_tokens(self) -> int:
        """Tokens drafted in all its cycles."""
        return sum(cycle.num_draft_tokens for cycle in self.cycles)

    @property
    def num_accepted_tokens(self) -> int:
        """Drafted tokens that were emitted."""
        return sum(cycle.num_accepted_tokens for cycle in self.cycles)

    @property
    def drafters(self) -> tuple[DrafterShare, ...]:
        """What each drafter contributed that drafted at all, in the order of their first cycles."""
        names = dict.fromkeys(cycle.drafter for cycle in self.cycles if cycle.drafter is not None)
        own = ([c for c in self.cycles if c.drafter == name] for name in names)
        return tuple(
            DrafterShare(
                name,
                len(cycles),
                sum(cycle.num_draft_tokens for cycle in cycles),
                sum(cycle.num_accepted_tokens for cycle in cycles),
            )
            for name, cycles in zip(names, own, strict=True)
        )


@dataclass(frozen=True)
class TokensEmitted:
    """Tokens of one sequence, as soon as a cycle verified them.

    Attributes:
      id: of the request.
      token_ids: the new tokens; the first ``num_accepted`` were drafted.
      num_accepted: drafted tokens among them.
      tau: tokens that the policy asked for; ``num_draft_tokens``: tokens drafted.
    """

    id: str
    token_ids: tuple[int, ...]
    num_accepted: int
    tau: int
    num_draft_tokens: int


@dataclass(frozen=True)
class Finished:
    """A sequence has ended."""

    completion: Completion


@dataclass(frozen=True)
class Failed:
    """A request could not be decoded, or not to its end; the others go on.

    Attributes:
      request: as it was given.
      error: the reason, to be shown or raised.
      token_ids: what was verified before.
    """

    request: Request
    error: AdaptiveSpecError
    token_ids: tuple[int, ...] = ()


Event: TypeAlias = TokensEmitted | Finished | Failed
