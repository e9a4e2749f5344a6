"""``adaptive-spec distill``: a small draft model, trained on what the verifier writes."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TaskID

from adaptive_spec.cli import options
from adaptive_spec.cli.live import Pair, prompts_from
from adaptive_spec.cli.output import note, progress, results, results_table, write_json
from adaptive_spec.errors import ConfigError

_WRITING, _TRAINING = "Writing", "Training"


def distill(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the draft; give it to --drafter. Its work/ holds what an interrupted "
            "run needs to go on.",
            callback=options.folder_to_write,
        ),
    ],
    verifier: options.VerifierOption = "builtin",
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="JSON Lines with id and prompt to answer; default: the verifier makes up prompts "
            "of its own. Yours are better: a draft is as good as its texts are like your traffic. "
            "The verifier reads a line's answer_to_read instead of writing one, which is quicker.",
            rich_help_panel=_WRITING,
        ),
    ] = None,
    documents: Annotated[
        Path | None,
        typer.Option(
            help="Text file, or folder of .txt and .md files, on whose passages made-up prompts "
            "set tasks; the verifier's earlier answers serve too.",
            rich_help_panel=_WRITING,
        ),
    ] = None,
    limit: options.LimitOption = None,
    category: options.CategoryOption = None,
    chat_template: options.ChatTemplateOption = True,
    answer_tokens: Annotated[
        int, typer.Option(min=1000, help="Tokens to write.", rich_help_panel=_WRITING)
    ] = 400_000,
    max_new_tokens: Annotated[
        int, typer.Option(min=4, help="Most tokens of an answer.", rich_help_panel=_WRITING)
    ] = 192,
    passage_tokens: Annotated[
        int,
        typer.Option(
            min=1,
            help="Most tokens of the passages in a made-up prompt; raise it for long prompts.",
            rich_help_panel=_WRITING,
        ),
    ] = 768,
    task_share: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of made-up prompts with passages.", rich_help_panel=_WRITING
        ),
    ] = 0.25,
    writing_batch: Annotated[
        int, typer.Option(min=1, help="Sequences written at a time.", rich_help_panel=_WRITING)
    ] = 64,
    start_from: Annotated[
        str | None,
        typer.Option(
            help="Draft to train on from: 'builtin' or a folder; default: the verifier's layers.",
            metavar="DRAFT",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    layers: Annotated[
        str,
        typer.Option(
            help="The verifier's layers to start from; -1 is its last.",
            metavar="N,N...",
            rich_help_panel=_TRAINING,
        ),
    ] = "0,1,-1",
    head_tokens: Annotated[
        int,
        typer.Option(
            min=2,
            help="Tokens the draft can propose; the most frequent.",
            rich_help_panel=_TRAINING,
        ),
    ] = 8192,
    head_texts: Annotated[
        Path | None,
        typer.Option(
            help="Text file, or folder of .txt and .md files, that the draft's tokens are counted "
            "in as well: words that the answers are too few to hold.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    epochs: Annotated[
        int, typer.Option(min=1, help="Times every text is seen.", rich_help_panel=_TRAINING)
    ] = 8,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Texts of a step.", rich_help_panel=_TRAINING)
    ] = 16,
    learning_rate: Annotated[
        float, typer.Option(help="At its peak.", rich_help_panel=_TRAINING)
    ] = 1e-3,
    target_temperature: Annotated[
        float,
        typer.Option(
            help="Below 1 the draft learns the verifier's first choice above all, for greedy "
            "decoding; at 1 its whole distribution.",
            rich_help_panel=_TRAINING,
        ),
    ] = 1.0,
    max_tokens: Annotated[
        int, typer.Option(min=2, help="Texts are cut to this.", rich_help_panel=_TRAINING)
    ] = 1024,
    seed: options.SeedOption = 0,
    dtype: options.DtypeOption = "bfloat16",
    device: options.DeviceOption = None,
    json_file: options.JsonOption = None,
) -> None:
    """Train a small draft model for a verifier, on text that the verifier writes itself.

    The draft starts from a few of the verifier's layers and shares its embedding and the frequent
    part of its head. An interrupted run goes on when the same command is given again.
    """
    if prompts is not None and documents is not None:
        raise ConfigError("--documents are for made-up prompts; give it or --prompts, not both")
    if not learning_rate > 0:
        raise ConfigError(f"--learning-rate {learning_rate}: it must be above 0")
    if not target_temperature > 0:
        raise ConfigError(f"--target-temperature {target_temperature}: it must be above 0")
    pair = Pair.load(verifier, "none", dtype, device, prepared=False)
    from adaptive_spec.decoding.builtin import draft_dir
    from adaptive_spec.decoding.trimmed_draft import load_draft
    from adaptive_spec.distillation.distill import Distillation, distill
    from adaptive_spec.distillation.passages import Sources, read_documents
    from adaptive_spec.distillation.training import Training
    from adaptive_spec.distillation.writing import Writing, answer_ids

    settings = Distillation(
        answer_tokens=answer_tokens,
        layers=_numbers(layers),
        head_tokens=head_tokens,
        writing=Writing(
            batch_size=writing_batch,
            passage_tokens=passage_tokens,
            max_new_tokens=max_new_tokens,
            task_share=task_share,
            seed=seed,
        ),
        training=Training(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            target_temperature=target_temperature,
            max_tokens=max_tokens,
            seed=seed,
        ),
    )
    given, answers = [], []
    if prompts is not None:
        wanted = prompts_from(prompts, limit, category)
        given = [request.prompt_ids for request in pair.requests(wanted, 1, chat_template)]
        if any(one.answer_to_read for one in wanted):
            answers = [answer_ids(pair.verifier, one.answer_to_read) for one in wanted]
    sources = Sources(
        prompts=given,
        answers=answers,
        documents=() if documents is None else read_documents(documents),
        head_texts=() if head_texts is None else read_documents(head_texts),
    )
    start = None
    if start_from is not None:
        start = load_draft(draft_dir(start_from), pair.verifier.model)
    with progress() as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int, remark: str) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
                note(f"{stage}...")
            text = f"{stage}, {remark}" if remark else stage
            bar.update(tasks[stage], completed=done, total=total, description=text)

        try:
            found = distill(pair.verifier, output, settings, sources, start, show)
        except KeyboardInterrupt:
            note("interrupted; the same command goes on where this one stopped")
            raise
    write_json(
        {"num_tokens": found.num_tokens, "top1": found.top1, "by_depth": found.by_depth}, json_file
    )
    if json_file != Path("-"):
        table = results_table(
            "Agreement with the verifier, prompts kept aside",
            f"{found.num_tokens} tokens",
            ["right before", "right next"],
        )
        table.add_row("any", f"{found.top1:.3f}")
        for depth, share in enumerate(found.by_depth):
            table.add_row(f"{depth} in a row", f"{share:.3f}")
        results.print(table)
    note(f"draft written to {output}; use it with --drafter {output}")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(item) for item in text.split(","))
    except ValueError:
        raise ConfigError(f"--layers {text!r}: give whole numbers, as in 0,1,-1") from None
