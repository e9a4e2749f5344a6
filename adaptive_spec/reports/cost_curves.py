"""What a cycle costs by tau, and which tau was chosen."""

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.costs import CostModel, MeasuredCosts
from adaptive_spec.reports.charts import Axis, Chart, Mark, Panel, Series
from adaptive_spec.reports.replays import Replayed

_TAU = Axis("τ: tokens drafted", zero=True, whole=True)

MOST_TAU = 16
"""The largest tau of a profile's curves; more than policies are commonly allowed."""


def of_profile(name: str, costs: MeasuredCosts) -> Panel:
    """The curves of a profile: drafting, verifying, and both, for every drafter and batch."""
    tau = np.arange(min(MOST_TAU, max(costs.widths[-1] - 1, 1)) + 1)
    context = costs.context_tokens[len(costs.context_tokens) // 2]
    charts = []
    for drafter in [drafter for drafter, _ in costs.drafts] or ["drafter"]:
        for batch in costs.batch_sizes:
            series = _curves(costs.of_drafter(drafter), tau, batch, context)
            axis = Axis("ms", zero=True)
            charts.append(Chart(f"{drafter} · batch of {batch}", _TAU, axis, series))
    says = (
        f"Measured on {costs.hardware}, at {context} tokens of context. Where verifying is flat, "
        "more drafts ride along for free; drafting sets the slope."
    )
    return Panel("costs", f"What a cycle costs: {name}", says, tuple(charts))


def _curves(costs: CostModel, tau: IntArray, batch: int, context: int) -> tuple[Series, ...]:
    where = np.array([context])
    draft = [float(costs.draft_ms(tau[[i]], batch, where)[0]) for i in range(tau.size)]
    verify = [float(costs.verify_ms(tau[[i]], batch, where)[0]) for i in range(tau.size)]
    both = [a + b for a, b in zip(draft, verify, strict=True)]
    return (
        Series("whole cycle", tau, both),
        Series("verify", tau, verify),
        Series("draft", tau, draft),
    )


def of_replays(found: Replayed) -> Panel:
    """Which tau policies chose, and what a token costs at every constant one."""
    unit = found.costs.time_unit
    per_token = [float(run.time_ms.sum() / run.tokens.sum()) for run in found.statics]
    best = int(np.argmin(per_token))
    top = np.arange(found.max_draft_tokens + 1)
    chosen = [
        Series(
            spec,
            top,
            _shares(found.log(spec).num_draft_tokens, found.max_draft_tokens),
            policy=spec,
        )
        for spec in found.specs
    ]
    reached = [
        Series(
            spec,
            [float(found.log(spec).num_draft_tokens.mean())],
            [float(run.time_ms.sum() / run.tokens.sum())],
            policy=spec,
            look="points",
            notes=["at its mean draft"],
        )
        for spec, run in found.runs.items()
    ]
    charts = (
        Chart(
            "time of a token",
            _TAU,
            Axis(f"time per emitted token, {unit}", zero=True),
            (Series("constant τ", top, per_token), *reached),
            (Mark("x", float(best), f"best constant, τ = {best}"),),
        ),
        Chart(
            "tokens drafted in a cycle",
            _TAU,
            Axis("share of cycles", zero=True, percent=True),
            tuple(chosen),
        ),
    )
    says = (
        f"Costs: {found.costs}. Constants trace a curve with a bottom; a policy below it does what "
        "no constant can."
    )
    return Panel("costs", f"τ chosen, and what it costs: {found.name}", says, charts)


def _shares(drafted: IntArray, most: int) -> FloatArray:
    counts = np.bincount(drafted, minlength=most + 1)
    shares: FloatArray = counts / counts.sum()
    return shares
