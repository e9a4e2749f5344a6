"""``adaptive-spec record``: an exact trace of a model pair on prompts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptive_spec._optional import require
from adaptive_spec.cli import options
from adaptive_spec.cli.live import Pair, prompts_from
from adaptive_spec.cli.output import notes, progress
from adaptive_spec.costs import ConstantCosts
from adaptive_spec.errors import DrafterSpecError
from adaptive_spec.registry import make_policy
from adaptive_spec.traces import TraceInfo, TraceWriter

if TYPE_CHECKING:
    from adaptive_spec.decoding.recorder import Recorder


def record(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The trace: a .parquet file, or a folder of parts."),
    ],
    prompts: options.PromptsOption = None,
    limit: options.LimitOption = None,
    category: options.CategoryOption = None,
    verifier: options.VerifierOption = "builtin",
    drafter: options.DrafterOption = "lookup",
    max_new_tokens: options.MaxNewTokensOption = 128,
    batch_size: Annotated[
        int,
        typer.Option(min=1, help="Sequences decoded at a time.", rich_help_panel="Requests"),
    ] = 4,
    chat_template: options.ChatTemplateOption = True,
    signals: Annotated[
        bool,
        typer.Option(
            "--signals/--no-signals",
            help="Record the drafter's signals too, for policies that look inside the draft.",
        ),
    ] = True,
    max_draft_tokens: Annotated[
        int, typer.Option(min=1, max=1024, help="Largest tau for which signals are kept.")
    ] = 10,
    dtype: options.DtypeOption = "float32",
    device: options.DeviceOption = None,
) -> None:
    """Record what the verifier writes, and what the drafter would have proposed all along it.

    The trace replays any policy exactly. An interrupted run continues where it stopped when the
    same command is given again.
    """
    require("pyarrow", "trace")
    wanted = prompts_from(prompts, limit, category)
    if drafter == "none":
        raise DrafterSpecError("record: --drafter none leaves nothing to record; try lookup")
    pair = Pair.load(verifier, drafter, dtype, device)
    requests = pair.requests(wanted, max_new_tokens, chat_template)
    recorder, info = recording(
        pair, chat_template, max_draft_tokens=max_draft_tokens, signals=signals
    )
    with TraceWriter(output, info) as writer, progress() as bar:
        done = writer.done_ids
        left = [request for request in requests if request.id not in done]
        if len(left) < len(requests):
            notes.print(f"{len(requests) - len(left)} of {len(requests)} are recorded already")
        engine = pair.engine(
            make_policy("fixed:tau=0"), ConstantCosts(), batch_size=batch_size, drafting=False
        )
        from adaptive_spec.decoding.requests import Finished

        by_id = {request.id: request for request in left}
        task = bar.add_task("recording", total=len(requests), completed=len(requests) - len(left))
        for event in engine.run(left):
            if isinstance(event, Finished):
                writer.add(recorder.record(by_id[event.completion.id], event.completion))
                bar.advance(task)
        writer.close(order=[request.id for request in requests])
    notes.print(f"trace written to {output}", markup=False)


def recording(
    pair: Pair, chat_template: bool, *, max_draft_tokens: int = 10, signals: bool = True
) -> "tuple[Recorder, TraceInfo]":
    """What records a pair's completions, and what its trace says of it."""
    from adaptive_spec.decoding.recorder import Recorder
    from adaptive_spec.decoding.runner import ModelRunner

    drafter = pair.make_drafter(1)
    assert drafter is not None
    context = ModelRunner(pair.verifier.model).context_limit
    recorder = Recorder(drafter, context, max_draft_tokens=max_draft_tokens, signals=signals)
    info = TraceInfo(
        verifier=pair.verifier.name,
        drafter=drafter.spec,
        drafting=drafter.drafting,
        numerics=pair.verifier.numerics,
        chat_template=chat_template,
    )
    return recorder, info
