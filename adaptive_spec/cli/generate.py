"""``adaptive-spec generate``: decode prompts, and watch the draft being accepted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adaptive_spec._optional import require
from adaptive_spec.cli import options
from adaptive_spec.cli.constraint_options import ConstraintOptions
from adaptive_spec.cli.failures import Failures
from adaptive_spec.cli.live import say_if_memory_ran_out
from adaptive_spec.cli.live_options import ModelOptions, PromptOptions
from adaptive_spec.cli.output import STDOUT, note, print_exactly, results, rounded, write_json
from adaptive_spec.cli.rules import SamplingOptions
from adaptive_spec.cli.streaming import AnswerPrinter
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.errors import ConfigError
from adaptive_spec.prompts import Prompt
from adaptive_spec.registry import make_policy

if TYPE_CHECKING:
    from adaptive_spec.decoding.models import Verifier
    from adaptive_spec.decoding.requests import Completion

_PROMPTS = PromptOptions(max_new_tokens=128)


def generate(
    *,
    prompt: Annotated[
        str | None, typer.Argument(help="A prompt; without one, --prompts.", show_default=False)
    ] = None,
    asked: PromptOptions = _PROMPTS,
    policy: options.PolicyOption = "auto",
    models: ModelOptions,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="End an answer with this text; repeatable.", rich_help_panel="Requests"),
    ] = None,
    costs: options.CostsOption = None,
    max_draft_tokens: options.MaxDraftTokensOption = 10,
    promised: ConstraintOptions,
    sampling: SamplingOptions,
    seed: options.SeedOption = 0,
    cycles: Annotated[
        Path | None,
        typer.Option(
            help="Write every cycle to this Parquet file.",
            callback=options.file_to_write,
            rich_help_panel="Output",
        ),
    ] = None,
    json_file: options.JsonOption = None,
) -> None:
    """Decode prompts with a policy; tokens that were drafted and accepted are highlighted."""
    if prompt is not None and asked.prompts is not None:
        raise ConfigError("give either a PROMPT or --prompts FILE, not both")
    if cycles is not None:
        require("pyarrow", "trace")
    wanted = (Prompt("prompt", prompt),) if prompt is not None else asked.chosen()
    chosen = make_policy(policy)
    constraints = promised.chosen()
    given = None if costs is None else parse_costs(costs)
    rule = sampling.chosen(seed)
    models.require_room(max_draft_tokens)
    pair = models.load()
    failures = Failures(wanted)
    requests = failures.requests(pair, asked.max_new_tokens, asked.chat_template)
    if not requests:
        failures.raise_any()
    engine = pair.engine(
        chosen,
        pair.costs(given),
        requests=requests,
        max_draft_tokens=max_draft_tokens,
        batch_size=asked.batch_size,
        constraints=constraints,
        seed=seed,
        stop_strings=tuple(stop or ()),
        record_signals=cycles is not None,
        rule=rule,
    )
    from adaptive_spec.decoding.requests import Failed, Finished, TokensEmitted

    streams = asked.batch_size == 1 and json_file != STDOUT
    completions: list[Completion] = []
    answer: AnswerPrinter | None = None
    for event in engine.run(requests):
        if isinstance(event, TokensEmitted) and streams:
            if answer is None:
                answer = AnswerPrinter(pair.verifier)
                if len(requests) > 1:
                    _heading(event.id)
            answer.show(event)
            continue
        if answer is not None:
            answer.end()
        if isinstance(event, Failed):
            failures.add(event.request.id, event.error)
        elif isinstance(event, Finished):
            completions.append(event.completion)
            if answer is None and json_file != STDOUT:
                _heading(event.completion.id)
                print_exactly(f"{pair.verifier.decode(event.completion.token_ids)}\n")
        answer = None
    if not completions:
        failures.raise_any()
    say_if_memory_ran_out(engine)
    order = [request.id for request in requests]
    completions.sort(key=lambda completion: order.index(completion.id))
    if cycles is not None:
        from adaptive_spec.traces import write_cycles

        write_cycles(completions, cycles, rule=rule.label)
        note(f"cycles written to {cycles}")
    note(_totals(completions))
    report = {
        "policy": policy,
        "rule": rule.spec,
        "lossless": rule.lossless,
        "completions": [_as_dict(pair.verifier, completion) for completion in completions],
        "failures": failures.as_list(),
    }
    write_json(report, json_file)
    failures.raise_any()


def _heading(name: str) -> None:
    results.print(f"\n[{name}]", style="bold", markup=False, soft_wrap=True)


def _totals(completions: "list[Completion]") -> str:
    tokens = sum(len(completion.token_ids) for completion in completions)
    cycles = sum(len(completion.cycles) for completion in completions)
    drafted = sum(completion.num_draft_tokens for completion in completions)
    accepted = sum(completion.num_accepted_tokens for completion in completions)
    if cycles == 0:
        ended = sorted({completion.finish_reason for completion in completions})
        return f"\nno verifier pass was taken; requests ended by: {', '.join(ended)}"
    # Sequences of a batch share their cycles' time: each cycle counts once per sequence in it.
    seconds = (
        sum(
            (cycle.draft_ms + cycle.verify_ms) / cycle.batch_size
            for completion in completions
            for cycle in completion.cycles
        )
        / 1e3
    )
    return (
        f"\n{tokens} tokens in {cycles} verifier passes ({tokens / cycles:.2f} per pass), "
        f"{accepted} of {drafted} drafted tokens accepted, {tokens / seconds:.1f} tokens/s"
        f"{_shares(completions)}"
    )


def _shares(completions: "list[Completion]") -> str:
    """Who drafted how much, where several did."""
    shares = [drafter for completion in completions for drafter in completion.drafters]
    names = list(dict.fromkeys(share.name for share in shares))
    if len(names) < 2:
        return ""
    parts = (
        f"{name} {sum(share.num_accepted_tokens for share in shares if share.name == name)} of "
        f"{sum(share.num_draft_tokens for share in shares if share.name == name)}"
        for name in names
    )
    return f"\naccepted by drafter: {', '.join(parts)}"


def _as_dict(verifier: "Verifier", completion: "Completion") -> dict[str, Any]:
    return {
        "id": completion.id,
        "category": completion.category,
        "text": verifier.decode(completion.token_ids),
        "token_ids": list(completion.token_ids),
        "finish_reason": completion.finish_reason,
        "prompt_tokens": completion.prompt_tokens,
        "passes": len(completion.cycles),
        "num_draft_tokens": completion.num_draft_tokens,
        "num_accepted_tokens": completion.num_accepted_tokens,
        "drafters": [drafter._asdict() for drafter in completion.drafters],
        "reused_prefix_tokens": completion.reused_prefix_tokens,
        "prefill_ms": rounded(completion.prefill_ms),
        "decode_ms": rounded(completion.decode_ms),
    }
