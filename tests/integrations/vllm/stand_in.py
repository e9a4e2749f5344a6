"""A scheduler and a model that do what vLLM's do to what ``Steering`` sees, and nothing else."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from adaptive_spec.integrations.vllm.steering import Steering

PLACEHOLDER = -1
"""What vLLM plans for a token that is drafted later; its list of them is shared by all requests."""


@dataclass
class StandInRequest:
    """What a scheduler knows of a request."""

    request_id: str
    max_tokens: int = 20
    num_prompt_tokens: int = 5
    chunks: int = 1
    extra_args: dict[str, Any] | None = None
    spec_token_ids: list[int] = field(default_factory=list)
    num_output_tokens: int = 0
    arrival_time: float = 0.0
    resumable: bool = False
    is_prefill_chunk: bool = True
    passes: int = 0
    drafted: list[int] = field(default_factory=list)
    accepted: int = 0
    output: list[int] = field(default_factory=list)

    @property
    def all_token_ids(self) -> list[int]:
        return [*range(self.num_prompt_tokens), *self.output]

    @property
    def sampling_params(self) -> Any:
        return SimpleNamespace(extra_args=self.extra_args)


class StandIn:
    """Requests in steps; which are left out, preempted or aborted, and what is accepted, is drawn.

    Attributes:
      requests: that run; ``done``: that ended, by themselves or not.
      widths: what the drafter was asked for, step by step.
    """

    def __init__(
        self, steering: Steering, rng: np.random.Generator, num_tokens: int, *, late: bool = False
    ) -> None:
        """Sets up; ``late`` plans a step before the outcome of the one before is known."""
        self.steering = steering
        self.rng = rng
        self.num_tokens = num_tokens
        self.late = late
        self.requests: dict[str, StandInRequest] = {}
        self.done: list[StandInRequest] = []
        self.aborted: list[StandInRequest] = []
        self.widths: list[int] = []
        self._unknown: list[Any] = []

    def add(self, request: StandInRequest) -> None:
        self.requests[request.request_id] = request

    def abort(self, one: str) -> None:
        self.aborted.append(self.requests.pop(one))
        self.steering.release(one, finished=False)

    def step(self, *, skip: set[str] = frozenset(), preempt: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """Plans a step, and runs it or the one before."""
        self.steering.before_schedule(self.requests.values())
        verified, scheduled = {}, {}
        for one, request in self.requests.items():
            if one in preempt:
                request.spec_token_ids, request.chunks = [], 1
                request.is_prefill_chunk = True
            elif one not in skip:
                if request.is_prefill_chunk:
                    request.chunks -= 1
                    scheduled[one] = 4
                    request.is_prefill_chunk = request.chunks > 0
                    continue
                if request.spec_token_ids:
                    verified[one] = request.spec_token_ids
                scheduled[one] = 1 + len(request.spec_token_ids)
                request.spec_token_ids = []
        output = SimpleNamespace(
            num_scheduled_tokens=scheduled,
            total_num_scheduled_tokens=sum(scheduled.values()),
            scheduled_spec_decode_tokens=verified,
            preempted_req_ids=set(preempt),
            num_spec_tokens_to_schedule=self.num_tokens,
            num_invalid_spec_tokens=None,
        )
        if self.late:
            shared = [PLACEHOLDER] * self.num_tokens
            for one in scheduled:
                if not self.requests[one].is_prefill_chunk:
                    self.requests[one].spec_token_ids = shared
        self.steering.after_schedule(output, self.requests)
        self.widths.append(output.num_spec_tokens_to_schedule)
        self._unknown.append(output)
        if not self.late or len(self._unknown) > 1:
            self._run(self._unknown.pop(0))

    def _run(self, output: Any) -> None:
        fared, ended, sampled = {}, {}, []
        for one in output.num_scheduled_tokens:
            request = self.requests.get(one)
            if request is None or (request.is_prefill_chunk and not self.late):
                continue
            drafted = len(output.scheduled_spec_decode_tokens.get(one, ()))
            accepted = int(self.rng.integers(0, drafted + 1))
            emitted = min(accepted + 1, request.max_tokens - request.num_output_tokens)
            request.num_output_tokens += emitted
            if one in self.steering.carried_out(output):
                fared[one] = accepted, [7] * emitted
            request.output += [7] * emitted
            request.passes += 1
            request.drafted.append(drafted)
            request.accepted += accepted
            sampled.append(one)
            if request.num_output_tokens == request.max_tokens:
                self.done.append(self.requests.pop(one))
                ended[one] = True
        self.steering.learn(output, fared, ended)
        if not self.late:
            self._draft(sampled, output.num_spec_tokens_to_schedule)

    def _draft(self, ids: list[str], width: int) -> None:
        lengths = [
            width if self.steering.driver.drafts_ahead else int(self.rng.integers(0, width + 1))
            for _ in ids
        ]
        drafts = [[7] * length for length in lengths]
        self.steering.cut_drafts(ids, drafts)
        for one, draft in zip(ids, drafts, strict=True):
            assert PLACEHOLDER not in draft
            if one in self.requests and not self.requests[one].is_prefill_chunk:
                self.requests[one].spec_token_ids = draft
