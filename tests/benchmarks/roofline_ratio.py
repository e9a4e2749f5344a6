"""How near a roofline comes to a profile: the built-in pair on this machine, in one run.

    python -m tests.benchmarks.roofline_ratio --threads 1

What the machine does in a second is measured first, by kernels as plain as can be: a matrix too
large for any cache times a vector (bandwidth), a product of two matrices (peak), and an addition of
one number (the least time of a kernel). From these and the models' shapes the roofline follows; the
profile is that of `adaptive-spec profile`. Ratios above 1: passes take longer than the bound.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from adaptive_spec.costs import MeasuredCosts
from adaptive_spec.decoding.builtin import draft_dir
from adaptive_spec.decoding.drafters.loading import load_drafter
from adaptive_spec.decoding.models import load_verifier
from adaptive_spec.decoding.profiler import hardware_name, profile_costs
from adaptive_spec.decoding.trimmed_draft import load_draft
from adaptive_spec.roofline import Hardware, Placement, Transformer, roofline_costs

WIDTHS = (1, 2, 4, 8, 16, 32)
CONTEXTS = (64, 512)
BATCH_SIZES = (1, 4)
LARGE, SQUARE, SMALL_CALLS = 8192, 2048, 2000


def middle_s(call: Callable[[], object], repeats: int = 9) -> float:
    """Median time of a call, in seconds, as the profile takes it; the first one is not counted."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def measured_hardware(name: str) -> Hardware:
    """What this machine does in a second, in float32."""
    matrix, vector = torch.ones(LARGE, LARGE), torch.ones(LARGE)
    square, number = torch.ones(SQUARE, SQUARE), torch.ones(1)
    bandwidth = matrix.numel() * matrix.element_size() / middle_s(lambda: matrix @ vector)
    peak = 2 * SQUARE**3 / middle_s(lambda: square @ square)
    small = middle_s(lambda: [number + number for _ in range(SMALL_CALLS)]) / SMALL_CALLS
    return Hardware(name, {"float32": peak / 1e12}, bandwidth / 1e9, kernel_us=small * 1e6)


def report(measured: MeasuredCosts, bound: MeasuredCosts) -> list[str]:
    """Lines of a table: time of the profile, that of the roofline, and their ratio."""
    points = [(b, c) for b in range(len(measured.batch_sizes)) for c in range(len(CONTEXTS))]
    heads = [f"batch {measured.batch_sizes[b]}, context {CONTEXTS[c]}" for b, c in points]
    lines = [f"{'':16}" + "".join(f"{head:>26}" for head in heads)]
    rows = [
        (f"verify {width}", measured.verify_grid_ms[..., w], bound.verify_grid_ms[..., w])
        for w, width in enumerate(measured.widths)
    ]
    rows.append(("draft step", measured.draft_step_ms, bound.draft_step_ms))
    for name, taken, least in rows:
        cells = [f"{taken[p]:10.2f} {least[p]:8.2f} {taken[p] / least[p]:6.2f}" for p in points]
        lines.append(f"{name:16}" + "".join(cells))
    for name, costs in (("profile", measured), ("roofline", bound)):
        draft = costs.draft_step_ms / costs.verify_grid_ms[..., 0]
        lines.append(f"draft step over plain pass, {name}: {np.round(draft, 3).tolist()}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--repeats", type=int, default=3, help="measurements of each point")
    options.add_argument("--threads", type=int, help="torch threads")
    chosen = options.parse_args(arguments)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    verifier = load_verifier("builtin", dtype="float32", device="cpu")
    draft = load_draft(draft_dir("builtin"), verifier.model).model
    hardware = measured_hardware(hardware_name(verifier.model))
    measured = profile_costs(
        verifier.model,
        load_drafter("builtin", verifier),
        batch_sizes=BATCH_SIZES,
        contexts=CONTEXTS,
        widths=WIDTHS,
        repeats=chosen.repeats,
        generator=np.random.default_rng(0),
        on_progress=lambda done, total: print(f"{done}/{total}", end="\r", file=sys.stderr),  # noqa: T201
    )
    bound = roofline_costs(
        Transformer.of_config(verifier.model.config.to_dict()),
        Transformer.of_config(draft.config.to_dict()),
        Placement(hardware, "float32"),
        batch_sizes=BATCH_SIZES,
        contexts=CONTEXTS,
        widths=WIDTHS,
    )
    print(  # noqa: T201
        f"{hardware.name}; torch {torch.__version__}; {hardware.bandwidth_gb_s:.1f} GB/s, "
        f"{hardware.peak_tflops['float32'] * 1e3:.0f} GFLOP/s, {hardware.kernel_us:.2f} us a kernel"
    )
    print("\n".join(report(measured, bound)))  # noqa: T201


if __name__ == "__main__":
    main()
