"""Costs on a grid, as a profile has them, from rooflines of both models.

Between the points of the grid the costs are linear. A roofline is a maximum of straight lines along
each axis, so that it is met at the points and nearly so between them.
"""

from collections.abc import Sequence

import numpy as np

from adaptive_spec.costs import DraftCurve, MeasuredCosts
from adaptive_spec.errors import CostsError
from adaptive_spec.roofline.passes import Placement
from adaptive_spec.roofline.transformer import Transformer

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CONTEXTS = (1, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
WIDTHS = (
    *range(1, 18),
    *(20, 24, 28, 33, 40, 48, 56, 65, 80, 97, 113, 129, 161, 193, 225, 257),
    *(321, 385, 449, 513, 641, 769, 897, 1025),
)


def roofline_costs(
    verifier: Transformer,
    drafter: Transformer | None,
    placement: Placement,
    drafter_placement: Placement | None = None,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    contexts: Sequence[int] = CONTEXTS,
    widths: Sequence[int] = WIDTHS,
) -> MeasuredCosts:
    """What cycles take at least.

    A drafted token is a pass of the drafter over one token; beginning a draft costs what one more
    token in that pass does, since the drafter has not read the verifier's last token and, after
    a draft that was accepted whole, its own last one either. Prompt lookups cost nothing.

    Args:
      verifier: the target model.
      drafter: the draft model; None where all drafts are looked up.
      placement: where the verifier runs.
      drafter_placement: where the drafter runs; None for the same.
      batch_sizes: points of the grid, as in ``MeasuredCosts``.
      contexts: the same.
      widths: the same.

    Raises:
      CostsError: a point below 1, or axes that do not rise or begin above 1.
    """
    axes = [np.asarray(axis, np.int64) for axis in (batch_sizes, contexts, widths)]
    for name, axis in zip(("batch_sizes", "contexts", "widths"), axes, strict=True):
        if (axis < 1).any():
            raise CostsError(f"costs: {name} = {axis.tolist()}; all must be at least 1")
    batch, context = axes[0][:, None], axes[1][None, :]
    verify = placement.pass_times(verifier, batch[..., None], context[..., None], axes[2]).total_ms
    free = np.zeros(verify.shape[:2])
    start, step = free, free
    where = drafter_placement or placement
    if drafter is not None:
        step = where.pass_times(drafter, batch, context, 1).total_ms
        start = where.pass_times(drafter, batch, context, 2).total_ms - step
    return MeasuredCosts(
        tuple(batch_sizes),
        tuple(contexts),
        tuple(widths),
        verify,
        start,
        step,
        hardware=_described(placement),
        note=_note(verifier, drafter, placement, where),
        drafts=(("lookup", DraftCurve(free, free)),),
        origin="roofline",
    )


def _described(placement: Placement) -> str:
    many = f"{placement.devices} x " if placement.devices > 1 else ""
    bits = "" if placement.weight_bits is None else f", weights of {placement.weight_bits:g} bits"
    return f"{many}{placement.hardware.name}, {placement.dtype}{bits}"


def _note(
    verifier: Transformer, drafter: Transformer | None, placement: Placement, drafting: Placement
) -> str:
    drafts = "prompt lookup" if drafter is None else f"drafter of {drafter.weights:.3g} weights"
    elsewhere = f" on {_described(drafting)}" if drafting != placement else ""
    return f"verifier of {verifier.weights:.3g} weights, {drafts}{elsewhere}"
