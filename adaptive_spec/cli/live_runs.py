"""Live runs, each beside plain decoding and its own replay: what validating compares."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from adaptive_spec.cli.live import Pair, finished
from adaptive_spec.cli.output import note, rounded
from adaptive_spec.cli.record import recording
from adaptive_spec.constraints import Constraints
from adaptive_spec.costs import ConstantCosts, CostModel
from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.measured_times import MeasuredTimes
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.simulations.validation import ShownCycle, Validation, validate_cycles
from adaptive_spec.traces import TraceSet

if TYPE_CHECKING:
    from adaptive_spec.decoding.requests import Completion, Request
    from adaptive_spec.decoding.verification import VerificationRule


class LiveRun(NamedTuple):
    """A policy's live run beside its replay.

    Attributes:
      policy: its spec; ``validation``: cycle by cycle.
      different_outputs: ids whose output is not plain decoding's, with the reason.
      replayed_ms, measured_ms: time of all cycles, by the replay and by the clock.
      completions: of the live run.
      same_ledger: whether live and replayed requests took the same passes, tokens and time, by the
        books of what was promised.
    """

    policy: str
    validation: Validation
    different_outputs: dict[str, str]
    replayed_ms: float
    measured_ms: float
    completions: "list[Completion]"
    same_ledger: bool

    @property
    def holds(self) -> bool:
        """Whether cycles, outputs and books are identical."""
        return self.validation.identical and not self.different_outputs and self.same_ledger

    def as_dict(self) -> dict[str, Any]:
        """The run as JSON."""
        return {
            "policy": self.policy,
            "identical_cycles": self.validation.identical,
            "identical_outputs": not self.different_outputs,
            "identical_ledgers": self.same_ledger,
            "sequences": self.validation.sequences,
            "cycles": self.validation.cycles,
            "replayed_ms": rounded(self.replayed_ms),
            "measured_ms": rounded(self.measured_ms),
            "differences": [d._asdict() for d in self.validation.differences],
            "different_outputs": self.different_outputs,
        }


def decode_plainly(
    pair: Pair,
    requests: "list[Request]",
    batch_size: int,
    on_finished: Callable[[], None],
    *,
    rule: "VerificationRule | None" = None,
    stop_tokens: bool = True,
) -> "dict[str, Completion]":
    """Plain decoding of all requests; completions by id."""
    engine = pair.engine(
        make_policy("fixed:tau=0"),
        ConstantCosts(),
        requests=requests,
        batch_size=batch_size,
        drafting=False,
        rule=rule,
        stop_tokens=stop_tokens,
    )
    return finished(engine, requests, on_finished)


def record_all(
    pair: Pair,
    requests: "list[Request]",
    completions: "dict[str, Completion]",
    chat_template: bool,
    max_new_tokens: int,
    signal_depth: int,
    *,
    rule: "VerificationRule | None" = None,
) -> TraceSet:
    """The trace of decoded requests."""
    recorder, info = recording(
        pair, chat_template, max_new_tokens, signal_depth=signal_depth, rule=rule
    )
    return TraceSet(info, tuple(recorder.record(r, completions[r.id]) for r in requests))


def run_live(
    pair: Pair,
    requests: "list[Request]",
    traces: TraceSet,
    spec: str,
    costs: CostModel,
    *,
    max_draft_tokens: int = 10,
    batch_size: int = 1,
    seed: int = 0,
    constraints: Constraints | None = None,
    rule: "VerificationRule | None" = None,
    by_clock: bool = False,
    on_finished: Callable[[], None] = lambda: None,
) -> LiveRun:
    """Runs a policy live, and replays it on the trace.

    Both on the cost model's times, or ``by_clock``: live on what was measured, which the replay is
    then given.
    """
    policy = make_policy(spec)
    engine = pair.engine(
        policy,
        costs,
        requests=requests,
        max_draft_tokens=max_draft_tokens,
        batch_size=batch_size,
        constraints=constraints,
        seed=seed,
        record_signals=True,
        measured_times=by_clock,
        rule=rule,
    )
    done = finished(engine, requests, on_finished)
    completions = [done[request.id] for request in requests]
    measured = [MeasuredTimes.of(c.prefill_ms, c.cycles) for c in completions] if by_clock else None
    replayed = replay(
        policy,
        traces,
        costs=costs,
        max_draft_tokens=max_draft_tokens,
        constraints=constraints,
        seed=seed,
        concurrency=batch_size,
        measured=measured,
        log_cycles=True,
    )
    assert replayed.log is not None
    live = {
        name: [
            ShownCycle(cycle.tau, cycle.num_accepted_tokens, cycle.drafter)
            for cycle in completion.cycles
        ]
        for name, completion in done.items()
    }
    measured_ms = sum(
        (cycle.draft_ms + cycle.verify_ms) / cycle.batch_size
        for completion in done.values()
        for cycle in completion.cycles
    )
    return LiveRun(
        spec,
        validate_cycles(live, traces, replayed.log),
        _different_outputs(pair, requests, traces, done, rule),
        replayed.engine_ms,
        measured_ms,
        completions,
        engine.controller.ledgers == replayed.ledgers,
    )


def _different_outputs(
    pair: Pair,
    requests: "list[Request]",
    traces: TraceSet,
    done: "dict[str, Completion]",
    rule: "VerificationRule | None",
) -> dict[str, str]:
    from adaptive_spec.decoding.verification import GREEDY, explain_divergence

    rule = rule or GREEDY
    different = {}
    for request, sequence in zip(requests, traces, strict=True):
        assert sequence.output_ids is not None
        completion = done[request.id]
        plain_ids = sequence.output_ids.tolist()
        divergence = explain_divergence(
            pair.verifier.model,
            request.prompt_ids,
            plain_ids[: len(completion.token_ids)] if completion.cut_short else plain_ids,
            completion.token_ids,
            rule=rule,
            seed=request.noise_seed(rule.seed),
        )
        if divergence is not None:
            kind = "a tie within rounding" if divergence.is_tie else "a real difference"
            different[request.id] = (
                f"{kind} at output position {divergence.position}: the scores lie "
                f"{divergence.margin:.2g} apart"
            )
    return different


def explain(run: LiveRun) -> None:
    """Says where a run differed, if it did."""
    if not run.same_ledger:
        note(f"{run.policy}: live and replayed requests differ in passes, tokens or lateness")
    for name, reason in run.different_outputs.items():
        note(f"{run.policy}: {name}: output differs: {reason}")
    for difference in run.validation.differences:
        note(
            f"{run.policy}: {difference.id}: cycle {difference.cycle}: "
            f"live {_cycle(difference.live)}, replayed {_cycle(difference.replayed)}"
        )


def _cycle(shown: ShownCycle | None) -> str:
    if shown is None:
        return "has ended"
    return f"tau {shown.tau}, {shown.accepted} accepted, drafted by {shown.drafter or 'nobody'}"
