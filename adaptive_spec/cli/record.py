"""``adaptive-spec record``: an exact trace of a model pair on prompts."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptive_spec._optional import require
from adaptive_spec.cli import options
from adaptive_spec.cli.failures import Failures
from adaptive_spec.cli.live import Pair, say_if_memory_ran_out
from adaptive_spec.cli.live_options import ModelOptions, PromptOptions
from adaptive_spec.cli.output import note, progress
from adaptive_spec.cli.rules import SamplingOptions
from adaptive_spec.costs import ConstantCosts
from adaptive_spec.errors import NumericsError
from adaptive_spec.registry import make_policy
from adaptive_spec.traces import Component, SequenceTrace, TraceInfo, TraceWriter

if TYPE_CHECKING:
    from adaptive_spec.decoding.recorder import Recorder
    from adaptive_spec.decoding.requests import Request
    from adaptive_spec.decoding.verification import VerificationRule

_PROMPTS = PromptOptions(max_new_tokens=128, batch_size=4)


def record(
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The trace: a .parquet file, or a folder of parts.",
            callback=options.path_to_write,
        ),
    ],
    asked: PromptOptions = _PROMPTS,
    models: ModelOptions,
    signals: Annotated[
        bool,
        typer.Option(
            "--signals/--no-signals",
            help="Record signals too, for policies that look inside the draft or take hints.",
        ),
    ] = True,
    max_draft_tokens: Annotated[
        int, typer.Option(min=1, max=1024, help="Largest tau for which signals are kept.")
    ] = 10,
    sampling: SamplingOptions,
    seed: options.SeedOption = 0,
) -> None:
    """Record what the verifier writes, and what the drafter would have proposed all along it.

    The trace replays any policy exactly. An interrupted run continues where it stopped when the
    same command is given again.
    """
    require("pyarrow", "trace")
    wanted = asked.chosen()
    models.require_drafter("record")
    rule = sampling.chosen_to_replay(seed)
    pair = models.load()
    failures = Failures(wanted)
    requests = failures.requests(pair, asked.max_new_tokens, asked.chat_template)
    depth = max_draft_tokens if signals else 0
    recorder, info = recording(
        pair, asked.chat_template, asked.max_new_tokens, signal_depth=depth, rule=rule
    )
    with TraceWriter(output, info) as writer, progress() as bar:
        left = [r for r in requests if not writer.is_done(r.id, r.prompt_ids)]
        if len(left) < len(requests):
            note(f"{len(requests) - len(left)} of {len(requests)} are recorded already")
        task = bar.add_task("recording", total=len(requests), completed=len(requests) - len(left))
        try:
            for sequence in _decoded(pair, recorder, left, asked.batch_size, rule, failures):
                writer.add(sequence)
                bar.advance(task)
        except KeyboardInterrupt:
            note(f"{len(writer.done_ids)} of {len(requests)} recorded; the same command continues")
            raise
        writer.close(order=[request.id for request in requests])
    if len(failures.errors) < len(wanted):
        note(f"trace written to {output}")
    failures.raise_any()


def _decoded(
    pair: Pair,
    recorder: "Recorder",
    requests: "list[Request]",
    batch_size: int,
    rule: "VerificationRule",
    failures: Failures,
) -> Iterator[SequenceTrace]:
    """Decodes requests plainly, and looks at each as soon as it is finished."""
    from adaptive_spec.decoding.requests import Failed, Finished

    by_id = {request.id: request for request in requests}
    engine = pair.engine(
        make_policy("fixed:tau=0"),
        ConstantCosts(),
        requests=requests,
        batch_size=batch_size,
        drafting=False,
        rule=rule,
    )
    for event in engine.run(requests):
        if isinstance(event, Failed):
            failures.add(event.request.id, event.error)
        elif isinstance(event, Finished):
            try:
                sequence = recorder.record(by_id[event.completion.id], event.completion)
            except NumericsError as error:
                failures.add(event.completion.id, error)
            else:
                yield sequence
    say_if_memory_ran_out(engine)


def recording(
    pair: Pair,
    chat_template: bool,
    max_new_tokens: int,
    *,
    signal_depth: int,
    rule: "VerificationRule | None" = None,
) -> "tuple[Recorder, TraceInfo]":
    """What records a pair's completions, greedy without a rule, and what its trace says of it."""
    from adaptive_spec.decoding.recorder import Recorder
    from adaptive_spec.decoding.runner import ModelRunner
    from adaptive_spec.decoding.verification import GREEDY

    rule = rule or GREEDY
    drafter = pair.make_drafter(1)
    assert drafter is not None
    parts = drafter.components if len(drafter.components) > 1 else ()
    runner = ModelRunner(pair.verifier.model)
    recorder = Recorder(
        drafter,
        runner.context_limit,
        signal_depth=signal_depth,
        rule=rule,
        vocab_size=runner.vocab_size,
        verifier=pair.verifier.model if signal_depth else None,
    )
    info = TraceInfo(
        verifier=pair.verifier.name,
        drafter=drafter.spec,
        drafting=drafter.drafting,
        numerics=pair.verifier.numerics,
        chat_template=chat_template,
        max_new_tokens=max_new_tokens,
        signal_depth=signal_depth,
        components=tuple(Component(part.spec, part.drafting) for part in parts),
        rule=rule.spec,
    )
    return recorder, info
