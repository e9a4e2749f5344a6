"""``adaptive-spec roofline``: what a cycle must at least cost on hardware that one doesn't have."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from adaptive_spec.cli import options
from adaptive_spec.cli.output import note, results_table, show, write_json
from adaptive_spec.cost_files import save_costs
from adaptive_spec.costs import MeasuredCosts
from adaptive_spec.errors import ConfigError
from adaptive_spec.roofline import (
    HARDWARE,
    Hardware,
    Placement,
    Transformer,
    hardware_named,
    roofline_costs,
)

_SHORT_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "fp8": "float8"}
_SHOWN_BATCHES = (1, 4, 16, 64, 256)
_SHOWN_TAU = 4
_MOST_WIDTH = 1025


@dataclass(frozen=True)
class HardwareOptions:
    """What a device does in a second: one of the table, or numbers of one's own."""

    hardware: Annotated[
        str | None,
        typer.Option(
            help=f"A device by its data sheet: {', '.join(HARDWARE)}. Without it, give "
            "--bandwidth and --peak."
        ),
    ] = None
    bandwidth: Annotated[
        float | None, typer.Option(help="Of memory, in 10^9 bytes a second.", show_default=False)
    ] = None
    peak: Annotated[
        float | None,
        typer.Option(
            help="Arithmetic in --dtype, in 10^12 operations a second.", show_default=False
        ),
    ] = None
    link: Annotated[
        float | None,
        typer.Option(help="Between devices, one way, in 10^9 bytes a second.", show_default=False),
    ] = None
    kernel_us: Annotated[
        float | None,
        typer.Option(
            help="Least time of a kernel, in microseconds; default: 3.4.", show_default=False
        ),
    ] = None

    def chosen(self, dtype: str, devices: int) -> Hardware:
        """The device, with the numbers given in place of its data sheet's."""
        given: dict[str, Any] = {}
        if self.bandwidth is not None:
            given["bandwidth_gb_s"] = self.bandwidth
        if self.peak is not None:
            given["peak_tflops"] = {dtype: self.peak}
        if self.link is not None:
            given["link_gb_s"] = self.link
        if self.kernel_us is not None:
            given["kernel_us"] = self.kernel_us
        if self.hardware is not None:
            sheet = hardware_named(self.hardware)
            name = sheet.name + (" with numbers of one's own" if given else "")
            return dataclasses.replace(sheet, name=name, **given)
        if self.bandwidth is None or self.peak is None:
            raise ConfigError(
                f"--hardware: name one of {', '.join(HARDWARE)}, or give both --bandwidth and "
                "--peak"
            )
        if devices > 1 and self.link is None:
            raise ConfigError(f"--tensor-parallel {devices}: give --link, too")
        return Hardware("hardware of one's own", **given)


def roofline(
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Where the costs go: a .json; default: only show what follows.",
            callback=options.file_to_write,
        ),
    ] = None,
    machine: HardwareOptions,
    verifier_params: Annotated[
        float | None,
        typer.Option(
            help="Parameters of the verifier, as in 70e9.", rich_help_panel=options.MODELS
        ),
    ] = None,
    verifier_config: Annotated[
        Path | None,
        typer.Option(
            help="Its config.json, or the folder that has it: its shape, instead of one that is "
            "usual for its size.",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    drafter_params: Annotated[
        float | None,
        typer.Option(
            help="Parameters of the draft model; without it and its config, drafts are looked up "
            "and cost nothing.",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    drafter_config: Annotated[
        Path | None,
        typer.Option(help="Its config.json, likewise.", rich_help_panel=options.MODELS),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            help="float32, bfloat16, float16 or float8 (fp32, bf16, fp16, fp8): of arithmetic, the "
            "KV cache, and weights unless --weight-bits says otherwise.",
            rich_help_panel=options.MODELS,
        ),
    ] = "bfloat16",
    weight_bits: Annotated[
        float | None,
        typer.Option(help="Bits of a stored weight, as in 4.", rich_help_panel=options.MODELS),
    ] = None,
    tensor_parallel: Annotated[
        int, typer.Option(min=1, max=1024, help="Devices that share every matrix.")
    ] = 1,
    drafter_tensor_parallel: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="The same of the draft model; default: as many."),
    ] = None,
    context: Annotated[
        int, typer.Option(min=1, max=1 << 20, help="Tokens before the block, in the table shown.")
    ] = 1024,
    json_file: options.JsonOption = None,
) -> None:
    """Compute what cycles must at least take, from data sheets and sizes of models.

    The file is like that of `profile`; give it to --costs.
    """
    if output is not None and output.suffix != ".json":
        raise ConfigError(f"--output {output}: costs are JSON; give a name that ends in .json")
    dtype = _SHORT_DTYPES.get(dtype, dtype)
    verifier = _model(verifier_params, verifier_config)
    if verifier is None:
        raise ConfigError("give --verifier-params (as in 70e9) or --verifier-config")
    drafter = _model(drafter_params, drafter_config)
    drafter_devices = drafter_tensor_parallel or tensor_parallel
    hardware = machine.chosen(dtype, max(tensor_parallel, drafter_devices))
    placement = Placement(hardware, dtype, weight_bits, tensor_parallel)
    drafting = dataclasses.replace(placement, devices=drafter_devices)
    costs = roofline_costs(verifier, drafter, placement, drafting)
    points = [_point(costs, placement, verifier, batch, context) for batch in _SHOWN_BATCHES]
    show(_table(costs, points, context), json_file)
    if output is not None:
        save_costs(costs, output)
        note(f"costs written to {output}")
    write_json({"costs": str(costs), "context_tokens": context, "points": points}, json_file)


def _model(params: float | None, config: Path | None) -> Transformer | None:
    """The shape of a config, with so many weights where that is given too."""
    if config is None:
        return None if params is None else Transformer.of_size(params)
    shape = Transformer.of_file(config)
    return shape if params is None else dataclasses.replace(shape, weights=params)


def _point(
    costs: MeasuredCosts, placement: Placement, verifier: Transformer, batch: int, context: int
) -> dict[str, Any]:
    """What is worth knowing of one batch size."""
    at = batch, np.array([context])
    plain, block = (float(costs.verify_ms(np.array([tau]), *at)[0]) for tau in (0, _SHOWN_TAU))
    drafts = [float(costs.draft_ms(np.array([tau]), *at)[0]) for tau in (1, 2)]
    widths = np.arange(1, _MOST_WIDTH + 1)
    times = placement.pass_times(verifier, batch, context, widths)
    full = np.flatnonzero(times.arithmetic_ms >= times.weights_ms)
    return {
        "batch_size": batch,
        "plain_ms": plain,
        "bound_by": placement.pass_times(verifier, batch, context, 1).bound_by(),
        "draft_ms": drafts[1] - drafts[0],
        "draft": (drafts[1] - drafts[0]) / plain,
        f"verify_{_SHOWN_TAU}": block / plain - 1.0,
        "ridge_tokens": int(widths[full[0]]) if full.size else None,
    }


def _table(costs: MeasuredCosts, points: list[dict[str, Any]], context: int) -> Table:
    caption = (
        f"{costs}\n{costs.note}\nat a context of {context:,} tokens; ridge: tokens a sequence "
        "from which on arithmetic\ntakes longer than reading weights"
    )
    names = [
        "batch",
        "plain pass,\nms",
        "bound by",
        "draft step,\nms",
        "over a\nplain pass",
        f"{_SHOWN_TAU} more tokens,\nplain passes",
        "ridge,\ntokens",
    ]
    table = results_table("What a cycle takes at least", caption, names)
    for point in points:
        ridge = point["ridge_tokens"]
        table.add_row(
            str(point["batch_size"]),
            f"{point['plain_ms']:.3f}",
            point["bound_by"],
            f"{point['draft_ms']:.3f}",
            f"{point['draft']:.3f}",
            f"{point[f'verify_{_SHOWN_TAU}']:+.3f}",
            f"{ridge:,}" if ridge is not None else f"> {_MOST_WIDTH:,}",
        )
    return table
