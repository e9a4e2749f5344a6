"""Replay: any policy on a trace, cycle for cycle what the live engine would have done.

Three things are kept apart: what happens (the trace), what it costs (the cost model) and who
decides (the controller, the same one that drives live decoding). Replay is exact because run
lengths do not depend on tau (docs/exactness.md).

Sequences that cannot influence each other run in parallel *lanes*, thousands to a numpy call;
otherwise they run ``concurrency`` at a time in order, as in the live engine. Where a rule brings
the same in compiled code, and nothing is asked for beyond that, it runs there (``compiled``).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.constraints import AnyConstraints
from adaptive_spec.controller import Controller
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.compiled import CompiledReplays
from adaptive_spec.simulations.driven import DrivenReplay, Part
from adaptive_spec.simulations.measured_times import Clock, MeasuredTimes
from adaptive_spec.simulations.results import CycleLog, DrafterShares, Replay
from adaptive_spec.simulations.signals import SignalSource, has_signals
from adaptive_spec.traces.flat import FlatTrace
from adaptive_spec.traces.records import TraceSet
from adaptive_spec.traces.windows import WindowedTrace

__all__ = [
    "AnyTrace",
    "CycleLog",
    "DrafterShares",
    "Replay",
    "flat_of",
    "replay",
    "replay_parts",
    "signals_for",
]

AnyTrace: TypeAlias = TraceSet | WindowedTrace | FlatTrace
"""What can be replayed."""

LANES = 8192


def flat_of(traces: AnyTrace, max_draft_tokens: int) -> FlatTrace:
    """The arrays that replay works on.

    Raises:
      ConfigError: the trace does not tell of drafts that long.
    """
    if isinstance(traces, FlatTrace):
        return traces
    traces.info.require_known(max_draft_tokens)
    return traces.flat()


def replay(
    policy: str | Policy[Any, Any],
    traces: AnyTrace,
    *,
    costs: CostModel,
    max_draft_tokens: int = 10,
    constraints: AnyConstraints = None,
    seed: int = 0,
    order: Sequence[int] | IntArray | None = None,
    concurrency: int | None = None,
    measured: Sequence[MeasuredTimes] | None = None,
    log_cycles: bool = False,
    on_finished: Callable[[int], None] | None = None,
) -> Replay:
    """Replays a policy on a trace.

    Args:
      policy: a policy or its spec.
      traces: a trace, or windows of one (a ``FlatTrace`` for policies that do not look inside the
        draft).
      costs: what cycles cost.
      max_draft_tokens: K, largest tau.
      constraints: what is promised; every sequence is of the first class.
      seed: the policy's randomness.
      order: sequences to run and their order, as indices; None for all, as recorded. It matters to
        policies and constraints that carry something from one sequence to the next.
      concurrency: sequences decoded together in one verifier pass. None: one at a time, and all at
        once in lanes (which gives the same) where no sequence can influence another.
      measured: times of the live run that is replayed, in the trace's order; None for the cost
        model's. The live run's ``concurrency`` must be given.
      log_cycles: keep every cycle.
      on_finished: called with the number of sequences finished since the last call.

    Raises:
      ConfigError: an empty or impossible order, concurrency below 1, measured times without a
        concurrency or of other sequences, or a policy that looks inside the draft on a trace
        without signals.
    """
    policy = make_policy(policy)
    flat = flat_of(traces, max_draft_tokens)
    pending = np.arange(flat.start.size) if order is None else np.asarray(order, np.int64)
    if pending.size == 0 or pending.min() < 0 or pending.max() >= flat.start.size:
        raise ConfigError(f"order: must name sequences 0..{flat.start.size - 1}, at least one")
    if np.unique(pending).size < pending.size:
        raise ConfigError("order: names a sequence twice; totals are kept per sequence")
    if concurrency is not None and concurrency < 1:
        raise ConfigError(f"concurrency = {concurrency}; it must be at least 1")
    if measured is not None and (concurrency is None or len(measured) != flat.start.size):
        raise ConfigError(
            f"measured: times of {len(measured)} sequences at concurrency {concurrency}; give "
            f"those of all {flat.start.size} of the trace, and the live run's concurrency"
        )
    signals = signals_for(policy, traces, max_draft_tokens)
    clock = None if measured is None else Clock(measured)

    replays = _replays(
        policy,
        flat.drafters,
        costs=costs,
        max_draft_tokens=max_draft_tokens,
        constraints=constraints,
        seed=seed,
        concurrency=concurrency,
        inside=signals is not None,
        context_tokens=_longest_context(flat),
    )
    part = Part(flat, pending, signals, clock)
    return replays.run(part, log_cycles=log_cycles, on_finished=on_finished)


def replay_parts(
    policy: str | Policy[Any, Any],
    parts: Iterable[AnyTrace],
    *,
    costs: CostModel,
    max_draft_tokens: int = 10,
    constraints: AnyConstraints = None,
    seed: int = 0,
    concurrency: int | None = None,
) -> Iterator[Replay]:
    """Replays what is too long for memory, part by part, as if it were one trace.

    What policy and promises carry from one sequence to the next goes on from part to part; so do
    the ledgers. Sequences of different parts never share a pass.

    Args:
      policy: a policy or its spec.
      parts: traces with the same drafters, all of them with signals or none, each made when the one
        before it is done.
      costs: what cycles cost.
      max_draft_tokens: K, largest tau.
      constraints: what is promised; every sequence is of the first class.
      seed: the policy's randomness.
      concurrency: sequences decoded together.

    Yields:
      What ``replay`` returns, of each part.

    Raises:
      ConfigError: as ``replay``; or a part that is unlike the first.
    """
    policy = make_policy(policy)
    replays: DrivenReplay | CompiledReplays | None = None
    for traces in parts:
        flat = flat_of(traces, max_draft_tokens)
        signals = signals_for(policy, traces, max_draft_tokens)
        kind = flat.drafters, signals is not None
        if replays is None:
            first = kind
            replays = _replays(
                policy,
                flat.drafters,
                costs=costs,
                max_draft_tokens=max_draft_tokens,
                constraints=constraints,
                seed=seed,
                concurrency=concurrency,
                inside=signals is not None,
                context_tokens=_longest_context(flat),
            )
        if kind != first:
            raise ConfigError(
                f"parts: one has drafters {', '.join(kind[0])} and signals {kind[1]}, the first "
                f"{', '.join(first[0])} and {first[1]}; they must be alike"
            )
        yield replays.run(Part(flat, np.arange(flat.start.size), signals))


def _replays(
    policy: Policy[Any, Any],
    drafters: tuple[str, ...],
    *,
    costs: CostModel,
    max_draft_tokens: int,
    constraints: AnyConstraints,
    seed: int,
    concurrency: int | None,
    inside: bool,
    context_tokens: int,
) -> DrivenReplay | CompiledReplays:
    """Who replays: the rule itself where it can, else the controller, in lanes where it can."""

    def controller(lockstep: bool) -> Controller:
        return Controller(
            policy,
            costs=costs,
            max_draft_tokens=max_draft_tokens,
            constraints=constraints,
            seed=seed,
            lockstep=lockstep,
            drafters=drafters,
        )

    driver = controller(lockstep=True)
    if concurrency is not None:
        return DrivenReplay(driver, concurrency)
    compiled = None if inside else CompiledReplays.of(driver, context_tokens)
    if compiled is not None:
        return compiled
    if driver.sequences_are_independent:
        return DrivenReplay(controller(lockstep=False), LANES)
    return DrivenReplay(driver, 1)


def _longest_context(flat: FlatTrace) -> int:
    return int((flat.prompt_tokens + flat.num_tokens).max())


def signals_for(
    policy: Policy[Any, Any], traces: AnyTrace, max_draft_tokens: int
) -> SignalSource | None:
    """The signals that a policy is shown in a replay.

    None where it does not look inside drafts, or can do without and the trace has none: it is then
    replayed as on a drafter that says nothing of its tokens.

    Raises:
      ConfigError: it needs signals of drafts that long, and the trace lacks them.
    """
    if not policy.looks_inside_draft:
        return None
    recorded = traces.traces if isinstance(traces, WindowedTrace) else traces
    if not policy.needs_signals and not (isinstance(recorded, TraceSet) and has_signals(recorded)):
        return None
    if not isinstance(recorded, TraceSet):
        raise ConfigError(f"{type(policy).__name__} looks inside the draft: pass a TraceSet")
    signals = SignalSource.of(recorded)
    if isinstance(traces, WindowedTrace):
        signals = signals.windows(traces.windows)
    if max_draft_tokens > signals.depth:
        raise ConfigError(
            f"trace: holds signals of drafts up to {signals.depth} tokens, and "
            f"{type(policy).__name__} looks inside drafts up to {max_draft_tokens}; lower "
            "max_draft_tokens, or record with more"
        )
    return signals
