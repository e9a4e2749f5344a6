"""Options that several commands share, so that they read and mean the same everywhere."""

import os
from pathlib import Path
from typing import Annotated

import typer

from adaptive_spec.cli.output import STDOUT
from adaptive_spec.errors import ConfigError

AUTO = "auto"
"""The drafter where none is named."""

MODELS, REQUESTS, CONTROL, OUTPUT = "Models", "Requests", "Control", "Output"

VerifierOption = Annotated[
    str,
    typer.Option(
        help="Target model: 'builtin' (SmolLM2-135M-Instruct), a folder, or a hub id.",
        rich_help_panel=MODELS,
    ),
]
DrafterOption = Annotated[
    str,
    typer.Option(
        help="What drafts: 'lookup[:max_ngram=7,min_ngram=1]', 'early-exit[:layers=10]', 'builtin' "
        "(the built-in verifier's draft model), the folder of a distilled draft, the folder or "
        "hub id of a smaller model with the same vocabulary, 'synthetic:hazard=0.3' for prescribed "
        "rejections, 'none', or several, as in 'lookup+builtin': the first that proposes "
        "something. 'auto' is that one for the built-in verifier, else 'lookup'.",
        rich_help_panel=MODELS,
    ),
]
DtypeOption = Annotated[
    str,
    typer.Option(
        help="float32, bfloat16 or float16. Only in float32 is the output exactly that of plain "
        "decoding.",
        rich_help_panel=MODELS,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(help="torch device; default: cuda if there is one.", rich_help_panel=MODELS),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        help="JSON Lines with id, prompt and optional category; default: the prompts that come "
        "with the package.",
        rich_help_panel=REQUESTS,
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(min=1, help="Take the first so many prompts.", rich_help_panel=REQUESTS),
]
CategoryOption = Annotated[
    list[str] | None,
    typer.Option("--category", help="Only prompts of it; repeatable.", rich_help_panel=REQUESTS),
]
MaxNewTokensOption = Annotated[
    int, typer.Option(min=1, help="Most tokens of an answer.", rich_help_panel=REQUESTS)
]
BatchSizeOption = Annotated[
    int,
    typer.Option(min=1, help="Sequences decoded at a time.", rich_help_panel=REQUESTS),
]
ChatTemplateOption = Annotated[
    bool,
    typer.Option(
        "--chat-template/--no-chat-template",
        help="Put prompts into the tokenizer's chat template.",
        rich_help_panel=REQUESTS,
    ),
]
PolicyOption = Annotated[
    str,
    typer.Option(
        help="Who chooses tau, such as 'fixed:tau=3' or 'ewma:smoothing=0.3,margin=1'; see "
        "`adaptive-spec policies`.",
        rich_help_panel=CONTROL,
    ),
]
PoliciesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        "-p",
        help="A policy, such as 'fixed:tau=3' or 'ewma'; repeatable. See `adaptive-spec policies`.",
        rich_help_panel=CONTROL,
    ),
]
_COSTS = typer.Option(
    help="A file written by `adaptive-spec profile`, `roofline` or `fit-costs`, or "
    "draft=0.125,verify=0.0 in plain verifier passes per token.",
    rich_help_panel=CONTROL,
)
CostsOption = Annotated[str | None, _COSTS]
ReplayCostsOption = Annotated[str, _COSTS]
MaxDraftTokensOption = Annotated[
    int, typer.Option(min=0, max=1024, help="Largest tau.", rich_help_panel=CONTROL)
]
SeedOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=(1 << 32) - 1,
        help="All randomness derives from it.",
        rich_help_panel=CONTROL,
    ),
]


def file_to_write(target: Path | None) -> Path | None:
    """Refuses a file that cannot be written, before the work whose results it is to hold."""
    if target is None or target == STDOUT:
        return target
    if target.is_dir():
        raise ConfigError(f"{target}: cannot be written, it is a folder; give the name of a file")
    if target.is_file() and target.absolute().is_relative_to("/dev"):
        # Redirected standard output: files are replaced whole, here it would be the device.
        raise ConfigError(f"{target}: cannot be written; give - for standard output")
    return path_to_write(target)


def folder_to_write(target: Path) -> Path:
    """Refuses a folder that cannot be written to, or made."""
    if target.exists() and not target.is_dir():
        raise ConfigError(
            f"{target}: cannot be written to, it is a file; give the name of a folder"
        )
    return path_to_write(target)


def path_to_write(target: Path) -> Path:
    """Refuses a path that can be neither written nor made."""
    there = next(p for p in (target, *target.absolute().parents) if p.exists())
    if there != target and not there.is_dir():
        raise ConfigError(f"{target}: cannot be written, {there} is not a folder")
    if not os.access(there, os.W_OK):
        raise ConfigError(f"{target}: cannot be written, {there} is write-protected")
    return target


JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        help="Also write the results as JSON to this file; '-' writes them to standard output, "
        "alone.",
        callback=file_to_write,
        rich_help_panel=OUTPUT,
    ),
]
TraceArgument = Annotated[
    Path, typer.Argument(help="A trace: file or folder.", show_default=False, metavar="TRACE")
]
CostsFileOption = Annotated[
    Path,
    typer.Option("--output", "-o", help="Where the costs go: a .json.", callback=file_to_write),
]

PageOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="The page, in Markdown; default: standard output.",
        callback=file_to_write,
        rich_help_panel=OUTPUT,
    ),
]
