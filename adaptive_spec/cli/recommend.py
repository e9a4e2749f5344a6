"""``adaptive-spec recommend``: constant draft lengths for engines that take no policy."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from adaptive_spec.cli import options
from adaptive_spec.cli.output import STDOUT, note, print_exactly, results_table, show, write_json
from adaptive_spec.cli.traces import tell_exactness
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations import engine_settings
from adaptive_spec.simulations.engine_settings import Setting
from adaptive_spec.simulations.static_lengths import (
    Length,
    TokensPerPass,
    best,
    best_threshold,
    lengths,
    of_acceptance,
    of_totals,
    of_trace,
    served_costs,
)
from adaptive_spec.traces import TraceSet, read_trace
from adaptive_spec.traces.imports import FORMATS, Totals, import_file

TRACE = "trace"
ENGINES = ("llama", "tensorrt-llm", "vllm")

_UNKNOWN_CONTEXT_TOKENS = 512
_WORTH = 1.01
"""A threshold is recommended where it is that much faster in replay than a constant length."""


class _Known(NamedTuple):
    tokens: TokensPerPass
    totals: Totals
    context_tokens: int
    traces: TraceSet | None = None


def recommend(
    engine: Annotated[
        str,
        typer.Argument(help=f"One of {', '.join(ENGINES)}.", show_default=False, metavar="ENGINE"),
    ],
    file: Annotated[
        Path, typer.Argument(help="A trace, or records.", show_default=False, metavar="FILE")
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format", help=f"What the file is: 'trace', or one of {', '.join(FORMATS)}."
        ),
    ] = TRACE,
    costs: options.CostsOption = None,
    plain_ms: Annotated[
        float | None,
        typer.Option(
            min=1e-6,
            help="In place of --costs, for records that hold times: milliseconds per token of the "
            "same server without speculation.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            help="Batch size to find a length for; repeatable. Default: 1.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    context_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Text before a cycle, for measured costs; default: the mean of the file, else "
            f"{_UNKNOWN_CONTEXT_TOKENS}.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    max_draft_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Largest length; default: 10, or what the file tells of.",
            rich_help_panel=options.CONTROL,
        ),
    ] = None,
    json_file: options.JsonOption = None,
) -> None:
    """Recommend constant draft lengths for an engine, with what they are expected to bring."""
    if engine not in ENGINES:
        raise ConfigError(f"engine {engine!r}: there are {', '.join(ENGINES)}")
    if engine == "llama" and batch_size and len(batch_size) > 1:
        raise ConfigError("--batch-size: llama-server has one length for all; give one batch size")
    known = _known(form, file, max_draft_tokens)
    model = _costs(costs, plain_ms, known.totals)
    context = context_tokens or known.context_tokens
    by_batch = {
        size: lengths(known.tokens, model, size, context) for size in sorted(set(batch_size or [1]))
    }
    chosen = {size: best(found) for size, found in by_batch.items()}
    longest = known.tokens.least.size - 1
    if engine == "llama":
        [fastest] = chosen.values()
        settings = _for_llama(fastest, known, model, longest)
    else:
        in_words = engine_settings.vllm if engine == "vllm" else engine_settings.tensorrt_llm
        settings = in_words(engine_settings.spans({size: one.tau for size, one in chosen.items()}))
    assumed = f"tokens per pass: {known.tokens.rests_on}; costs: {model}, context: {context} tokens"
    for size, found in by_batch.items():
        title = f"{engine}, batch of {size}: tau = {chosen[size].tau}"
        names = ["tau", "tokens\n/pass", "cycle,\nplain passes", "speedup\nover plain"]
        table = results_table(title, assumed, names)
        for one in found:
            table.add_row(*_row(one), style="bold" if one == chosen[size] else "")
        show(table, json_file)
    if json_file != STDOUT:
        print_exactly("".join(f"{text}\n    {why}\n" for text, why in settings))
    write_json(
        {
            "engine": engine,
            "rests_on": known.tokens.rests_on,
            "costs": str(model),
            "context_tokens": context,
            "lengths": {str(s): [one.as_dict() for one in f] for s, f in by_batch.items()},
            "chosen": {str(size): one.tau for size, one in chosen.items()},
            "settings": [setting._asdict() for setting in settings],
        },
        json_file,
    )


def _known(form: str, file: Path, max_draft_tokens: int | None) -> _Known:
    """What the file says of constant lengths."""
    longest = max_draft_tokens or 10
    if form == TRACE:
        traces = read_trace(file)
        tell_exactness(file, traces)
        if max_draft_tokens is None and traces.info.known_draft_tokens:
            longest = min(longest, traces.info.known_draft_tokens)
        prompts = sum(sequence.prompt_tokens for sequence in traces)
        totals = Totals(len(traces), traces.num_tokens, prompt_tokens=prompts)
        return _Known(of_trace(traces, longest), totals, _context(totals), traces)
    found = import_file(form, file)
    for lack in found.missing:
        note(f"{file}: missing: {lack}")
    if found.acceptance is not None and found.acceptance.longest_draft:
        tokens = of_acceptance(found.acceptance, longest)
    elif found.traces is not None:
        tokens = of_trace(found.traces, longest)
    else:
        tokens = of_totals(found.totals, longest)
    return _Known(tokens, found.totals, _context(found.totals))


def _context(totals: Totals) -> int:
    """Mean text before a cycle: the prompt and half of the output."""
    if not totals.requests or totals.prompt_tokens is None or totals.tokens is None:
        return _UNKNOWN_CONTEXT_TOKENS
    return max(round((totals.prompt_tokens + totals.tokens / 2) / totals.requests), 1)


def _costs(costs: str | None, plain_ms: float | None, totals: Totals) -> CostModel:
    if (costs is None) == (plain_ms is None):
        raise ConfigError(
            "give --costs (a profile, or draft=...,verify=...), or --plain-ms where the records "
            "hold times; one of the two"
        )
    return parse_costs(costs) if costs is not None else served_costs(totals, plain_ms or 1.0)


def _for_llama(fastest: Length, known: _Known, costs: CostModel, longest: int) -> list[Setting]:
    """With a threshold where the drafter's probabilities are known and it is worth it."""
    found = None
    if known.traces is not None:
        found = best_threshold(known.traces, costs, (fastest.tau, longest), longest)
    if found is None:
        why = (
            "its default: these records hold no probabilities of the drafter, as a trace that "
            "`record` wrote of a draft model does"
        )
        return engine_settings.llama(fastest.tau, longest, None, why)
    if found.speedup < _WORTH * fastest.speedup[0]:
        why = f"its default: no threshold made replay faster (the best by {found.speedup:.2f})"
        return engine_settings.llama(fastest.tau, longest, None, why)
    why = (
        f"in replay a speedup of {found.speedup:.2f} for one request at a time, by a rule that "
        "verifies the token that falls short, where llama-server drops it"
    )
    return engine_settings.llama(found.tau, longest, found.p_min, why)


def _row(one: Length) -> list[str]:
    def both(ends: tuple[float, float]) -> str:
        low, high = (f"{end:.2f}" for end in ends)
        return low if low == high else f"{low}..{high}"

    return [str(one.tau), both(one.tokens_per_pass), f"{one.cycle:.2f}", both(one.speedup)]
