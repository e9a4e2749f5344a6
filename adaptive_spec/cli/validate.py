"""``adaptive-spec validate``: is what the simulator says what the live engine does?"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from adaptive_spec.cli import options
from adaptive_spec.cli.live import Pair, finished, prompts_from
from adaptive_spec.cli.output import note, progress, results_table, rounded, show, write_json
from adaptive_spec.cli.record import recording
from adaptive_spec.cli.rules import chosen_rule
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.costs import ConstantCosts, CostModel
from adaptive_spec.errors import DrafterSpecError
from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.simulations.validation import ShownCycle, Validation, validate_cycles
from adaptive_spec.traces import TraceSet

if TYPE_CHECKING:
    from adaptive_spec.decoding.requests import Completion, Request
    from adaptive_spec.decoding.verification import VerificationRule

DEFAULT_POLICIES = ("fixed:tau=3", "ewma", "bandit")


class LiveRun(NamedTuple):
    """A policy's live run beside its replay.

    Attributes:
      policy: its spec; ``validation``: cycle by cycle.
      different_outputs: ids whose output is not plain decoding's, with the reason.
      predicted_ms, measured_ms: time of all cycles, by the cost model and by the clock.
      completions: of the live run.
    """

    policy: str
    validation: Validation
    different_outputs: dict[str, str]
    predicted_ms: float
    measured_ms: float
    completions: "list[Completion]"

    @property
    def holds(self) -> bool:
        """Whether cycles and outputs are identical."""
        return self.validation.identical and not self.different_outputs

    def as_dict(self) -> dict[str, Any]:
        """The run as JSON."""
        return {
            "policy": self.policy,
            "identical_cycles": self.validation.identical,
            "identical_outputs": not self.different_outputs,
            "sequences": self.validation.sequences,
            "cycles": self.validation.cycles,
            "predicted_ms": rounded(self.predicted_ms),
            "measured_ms": rounded(self.measured_ms),
            "differences": [d._asdict() for d in self.validation.differences],
            "different_outputs": self.different_outputs,
        }


def validate(
    prompts: options.PromptsOption = None,
    limit: options.LimitOption = None,
    category: options.CategoryOption = None,
    policy: options.PoliciesOption = None,
    verifier: options.VerifierOption = "builtin",
    drafter: options.DrafterOption = options.AUTO,
    max_new_tokens: options.MaxNewTokensOption = 64,
    batch_size: options.BatchSizeOption = 1,
    chat_template: options.ChatTemplateOption = True,
    costs: options.CostsOption = None,
    max_draft_tokens: options.MaxDraftTokensOption = 10,
    rule: options.RuleOption = None,
    temperature: options.TemperatureOption = None,
    top_k: options.TopKOption = None,
    top_p: options.TopPOption = None,
    min_p: options.MinPOption = None,
    repetition_penalty: options.RepetitionPenaltyOption = None,
    seed: options.SeedOption = 0,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = None,
    json_file: options.JsonOption = None,
) -> None:
    """Run policies live and replay them on a trace of the same prompts; every cycle must agree.

    Live decisions are made on the cost model's times, not the clock's, so that both sides see the
    same. Exit code 1 if any cycle or any output differs.
    """
    specs = policy or DEFAULT_POLICIES
    for spec in specs:
        make_policy(spec)  # refuse a wrong one before any model is loaded
    given = None if costs is None else parse_costs(costs)
    wanted = prompts_from(prompts, limit, category)
    if drafter == "none":
        raise DrafterSpecError("validate: --drafter none leaves nothing to replay; try lookup")
    chosen_by = chosen_rule(
        rule, temperature, top_k, top_p, min_p, repetition_penalty, seed, to_sample="coupled"
    )
    from adaptive_spec.decoding.recorder import require_tau_invariant

    require_tau_invariant(chosen_by)
    pair = Pair.load(verifier, drafter, dtype, device)
    requests = pair.requests(wanted, max_new_tokens, chat_template)
    model = pair.costs(given)
    batch_size = min(batch_size, len(requests))
    with progress() as bar:
        task = bar.add_task("plain decoding", total=len(requests))
        plain = decode_plainly(
            pair, requests, batch_size, lambda: bar.advance(task), rule=chosen_by
        )
        traces = record_all(
            pair, requests, plain, chat_template, max_new_tokens, max_draft_tokens, rule=chosen_by
        )
        runs = []
        for spec in specs:
            task = bar.add_task(spec, total=len(requests))
            runs.append(
                run_live(
                    pair,
                    requests,
                    traces,
                    spec,
                    model,
                    max_draft_tokens=max_draft_tokens,
                    batch_size=batch_size,
                    seed=seed,
                    rule=chosen_by,
                    on_finished=lambda task=task: bar.advance(task),  # type: ignore[misc]
                )
            )
    show(validation_table(runs, f"{pair.verifier.name}, {traces.info.drafter}"), json_file)
    for run in runs:
        explain(run)
    write_json({"costs": str(model), "runs": [run.as_dict() for run in runs]}, json_file)
    if not all(run.holds for run in runs):
        raise typer.Exit(1)


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
    rule: "VerificationRule | None" = None,
    on_finished: Callable[[], None] = lambda: None,
) -> LiveRun:
    """Runs a policy live on the cost model's times, and replays it on the trace."""
    policy = make_policy(spec)
    engine = pair.engine(
        policy,
        costs,
        max_draft_tokens=max_draft_tokens,
        batch_size=batch_size,
        seed=seed,
        record_signals=True,
        measured_times=False,
        rule=rule,
    )
    done = finished(engine, requests, on_finished)
    replayed = replay(
        policy,
        traces,
        costs=costs,
        max_draft_tokens=max_draft_tokens,
        seed=seed,
        concurrency=batch_size,
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
        [done[request.id] for request in requests],
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
        divergence = explain_divergence(
            pair.verifier.model,
            request.prompt_ids,
            sequence.output_ids.tolist(),
            done[request.id].token_ids,
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


def validation_table(runs: list[LiveRun], title: str) -> Table:
    """Live against replayed, a row per policy."""
    names = ["policy", "cycles", "cycles as\nreplayed", "output\nas plain", "predicted", "measured"]
    table = results_table(
        title, "decisions on the cost model's times; measured by the clock", names
    )
    for run in runs:
        table.add_row(
            Text(run.policy),
            f"{run.validation.cycles:,}",
            _verdict(len(run.validation.differences)),
            _verdict(len(run.different_outputs)),
            f"{run.predicted_ms / 1e3:.1f} s",
            f"{run.measured_ms / 1e3:.1f} s",
        )
    return table


def explain(run: LiveRun) -> None:
    """Says where a run differed, if it did."""
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


def _verdict(different: int) -> str:
    return "all identical" if different == 0 else f"{different} differ"
