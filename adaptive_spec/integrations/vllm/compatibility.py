"""What vLLM is set up for, and what of it a policy cannot be driven in."""

from dataclasses import dataclass
from typing import Any

from adaptive_spec.costs import ConstantCosts, CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.integrations.configuration import Configuration
from adaptive_spec.policy import Policy

OLDEST = (0, 32)
"""First release whose scheduler is as expected here."""

AT_HAND = ("ngram", "suffix", "medusa", "custom_class")
"""Methods whose drafts the scheduler holds before it plans their verification."""

AHEAD = ("draft_model", "eagle", "eagle3", "mtp")
"""Methods that draft as many tokens as the step before asks them to, one by one."""


@dataclass(frozen=True)
class Engine:
    """What an engine is set up for.

    Attributes:
      version: vLLM's.
      method: of speculation; None for none.
      num_speculative_tokens: longest draft.
      ngram: shortest and longest suffix that an n-gram lookup looks up; None for other methods.
      parallel_drafting: whether the drafter proposes all tokens at once.
      adaptive_verification: whether vLLM trims drafts by itself.
      async_scheduling: whether a step is planned before the one before is done.
      data_parallel_size, pipeline_parallel_size: ranks.
    """

    version: str
    method: str | None
    num_speculative_tokens: int
    ngram: tuple[int, int] | None = None
    parallel_drafting: bool = False
    adaptive_verification: bool = False
    async_scheduling: bool = False
    data_parallel_size: int = 1
    pipeline_parallel_size: int = 1

    @property
    def drafts_ahead(self) -> bool:
        """Whether drafts are made as long as was decided a step before (``Driver``)."""
        return self.method in AHEAD

    @property
    def costs(self) -> CostModel:
        """Costs where none are configured: the common ratio for a draft model, or free drafts."""
        return ConstantCosts(draft=0.125 if self.drafts_ahead else 0.0, verify=0.02)


def require_supported(engine: Engine) -> None:
    """Refuses engines in which no policy can be driven.

    Raises:
      ConfigError: with the reason, and what to change.
    """
    if _release(engine.version) < OLDEST:
        raise ConfigError(
            f"vLLM {engine.version} is not supported; 0.32 or newer is: pip install 'vllm>=0.32'"
        )
    if engine.method is None:
        raise ConfigError(
            "vLLM is set up without speculation; give it a drafter, as in --speculative-config "
            '\'{"method": "ngram", "num_speculative_tokens": 6, "prompt_lookup_max": 4}\', or drop '
            "--scheduler-cls"
        )
    if engine.method not in (*AT_HAND, *AHEAD):
        raise ConfigError(
            f"speculative method {engine.method!r} is not supported; supported are "
            f"{', '.join((*AHEAD, *AT_HAND))}: change --speculative-config, or drop --scheduler-cls"
        )
    for found, what, fix in (
        (engine.parallel_drafting, "parallel drafting", "drop parallel_drafting"),
        (
            engine.adaptive_verification,
            "vLLM's own adaptive verification",
            "drop enable_adaptive_verification: one of the two must decide",
        ),
        (
            engine.pipeline_parallel_size > 1,
            f"pipeline_parallel_size = {engine.pipeline_parallel_size}",
            "use tensor parallelism",
        ),
        (
            engine.data_parallel_size > 1,
            f"data_parallel_size = {engine.data_parallel_size} (ranks must draft alike, and don't)",
            "run one engine per replica behind a load balancer",
        ),
    ):
        if found:
            raise ConfigError(f"{what} is not supported; {fix}, or drop --scheduler-cls")


def require_fitting(
    engine: Engine, configuration: Configuration, policy: Policy[Any, Any], costs: CostModel
) -> None:
    """Refuses what does not fit together.

    Raises:
      ConfigError: with the reason, and what to change.
    """
    if policy.looks_inside_draft and policy.needs_signals:
        raise ConfigError(
            f"policy = {configuration.policy!r} looks inside the draft as it is written, which "
            "vLLM does not show; take one that decides beforehand, such as 'auto'"
        )
    promised = configuration.by_class.constraints
    if engine.async_scheduling and any(one.can_end_requests for one in promised):
        raise ConfigError(
            "constraints: a hard budget, max_passes and deadline_ms may end a request, and with "
            "asynchronous scheduling vLLM has begun its next pass by then; use "
            "--no-async-scheduling, or an average budget and a latency target"
        )
    if costs.time_unit != "ms" and any(one.latency is not None for one in promised):
        raise ConfigError(
            "constraints: latency is in milliseconds, and costs are in plain passes; give the time "
            "of a plain pass as in costs = 'draft=0.1,verify=0.02,plain_ms=25', or a profile"
        )


def _release(version: str) -> tuple[int, ...]:
    parts = version.partition("+")[0].split(".")[:2]
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in parts)
