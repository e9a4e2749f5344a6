"""A request while it runs: its text so far, where it ends, and what its cycles showed."""

from dataclasses import dataclass, field

from adaptive_spec.decoding.requests import Completion, CycleRecord, FinishReason, Request
from adaptive_spec.decoding.stopping import StopWatch
from adaptive_spec.decoding.verification import VerificationRule


@dataclass
class RunningSequence:
    """A request that has a row.

    Attributes:
      text: prompt and verified output; ``limit``: most output tokens.
      watch: tells where it ends; ``cycles``: what its cycles showed.
      seed: of its noise.
    """

    request: Request
    text: list[int]
    limit: int
    watch: StopWatch
    seed: int = 0
    prefill_ms: float = 0.0
    reused_prefix_tokens: int = 0
    cycles: list[CycleRecord] = field(default_factory=list)

    @property
    def output(self) -> tuple[int, ...]:
        """The tokens verified so far."""
        return tuple(self.text[len(self.request.prompt_ids) :])

    def emit(self, token_ids: list[int]) -> tuple[list[int], FinishReason | None]:
        """Appends verified tokens up to the sequence's end; returns them, and why it ends."""
        room = self.limit - (len(self.text) - len(self.request.prompt_ids))
        kept, reason = self.watch.cut(token_ids, room)
        self.text.extend(token_ids[:kept])
        return token_ids[:kept], reason

    def completion(self, reason: FinishReason, rule: VerificationRule) -> Completion:
        """What became of the request, which ends for this reason."""
        return Completion(
            id=self.request.id,
            category=self.request.category,
            prompt_tokens=len(self.request.prompt_ids),
            token_ids=self.output,
            finish_reason=reason,
            cycles=tuple(self.cycles),
            prefill_ms=self.prefill_ms,
            rule=rule.spec,
            lossless=rule.lossless,
            reused_prefix_tokens=self.reused_prefix_tokens,
        )
