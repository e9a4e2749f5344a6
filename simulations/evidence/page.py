"""The evidence as a page of Markdown: every cell at a glance, then drafter by drafter."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from adaptive_spec.simulations.evidence.judge import SMALLEST_SPAN
from adaptive_spec.simulations.evidence.results import (
    CHOSEN,
    HINDSIGHT,
    OPTIMUM,
    PLAIN,
    Cell,
    Evidence,
    Facts,
    LeftOut,
    Verdict,
)
from adaptive_spec.simulations.markdown import code, plain, table, with_interval

AS_GOOD_AS_STATIC = 0.99
AS_GOOD_AS_PLAIN = 0.98
"""A policy holds its own in a cell where it is at least this fast, over either mark."""

MIXTURE = "mixture"


class _Seen(NamedTuple):
    """A verdict, and the cell it is of."""

    cell: Cell
    verdict: Verdict


def markdown(evidence: Evidence, command: str) -> str:
    """The page.

    Args:
      evidence: what to show.
      command: what reproduces it.
    """
    sections = [_opening(command), _facts(evidence), _reading(evidence)]
    cells = evidence.cells
    if len({cell.drafter for cell in cells}) > 1:
        sections.append("## All drafters\n\n" + _across(cells))
    for facts in evidence.facts:
        own = [cell for cell in cells if cell.drafter == facts.drafter]
        left_out = [one for one in evidence.left_out if one.drafter == facts.drafter]
        sections.append(_drafter(facts, own, left_out))
    return "\n\n".join(sections) + "\n"


def _opening(command: str) -> str:
    return f"""# Evidence

How fast every policy is, replayed on recorded traces. This page was written by

```sh
{command}
```"""


def _facts(evidence: Evidence) -> str:
    rows = [
        [
            code(facts.drafter),
            code(facts.spec),
            code(facts.verifier),
            str(sum(facts.prompts.values())),
            f"{facts.tokens:,}",
            ", ".join(plain(text) for text in (facts.source, facts.rule, facts.numerics)),
        ]
        for facts in evidence.facts
    ]
    names = ["drafter", "its spec", "verifier", "prompts", "tokens", "trace"]
    lines = ["## What was judged", "", *table(names, rows, "lllrrl"), ""]
    by_prompts: dict[str, list[str]] = {}
    for facts in evidence.facts:
        counts = (f"{plain(name or 'no category')} {n}" for name, n in facts.prompts.items())
        by_prompts.setdefault(", ".join(counts), []).append(code(facts.drafter))
    lines += [
        f"Prompts of {_several(drafters)}: {counts}." for counts, drafters in by_prompts.items()
    ]
    return "\n".join(lines)


def _reading(evidence: Evidence) -> str:
    settings = evidence.settings
    return f"""Every other prompt, by category and id, belongs to the half on which a static tau is
chosen; all figures are of the other half, and of taus up to {settings.max_draft_tokens}.
A *cell* is a drafter, a category (or the mixture of all prompts), and what a cycle costs.

- *over plain*: speed over plain decoding, in tokens per time.
- *over chosen*: over the best static tau of the other half, which one could have deployed.
- *over hindsight*: over the static tau that turned out best on the very prompts judged.
- *span*: share of the way from the latter to the clairvoyant optimum, where that is at least
  {SMALLEST_SPAN:.0%} faster.

In brackets: 95 % intervals by paired bootstrap over prompts ({settings.resamples:,} resamples).
Policies that learn across sequences were run in random orders of the prompts
({settings.shuffles} of them), each with a seed of its own: their figures are means, and whole
orders were resampled as well."""


def _drafter(facts: Facts, cells: Sequence[Cell], left_out: Sequence[LeftOut]) -> str:
    parts = [f"## {code(facts.drafter)}", _across(cells)]
    learners = {policy for cell in cells for policy, one in cell.policies.items() if one.orders > 1}
    if learners:
        parts.append(f"Run in several orders: {', '.join(map(code, sorted(learners)))}.")
    if left_out:
        reasons: dict[str, list[str]] = {}
        for one in left_out:
            reasons.setdefault(one.reason, []).append(code(one.policy))
        lines = [f"- {', '.join(policies)}: {reason}." for reason, policies in reasons.items()]
        parts.append("Left out:\n\n" + "\n".join(lines))
    parts += [_mixture(cell) for cell in cells if cell.category is None]
    return "\n\n".join(parts)


def _across(cells: Sequence[Cell]) -> str:
    """One row per policy: its worst and its median cell, and in how many it holds its own."""
    seen: dict[str, list[_Seen]] = {}
    for cell in cells:
        for policy, verdict in cell.policies.items():
            seen.setdefault(policy, []).append(_Seen(cell, verdict))
    drafters = {cell.drafter for cell in cells}

    def row(policy: str) -> list[str]:
        own = seen[policy]
        worst = min(own, key=_over_hindsight)
        place = [plain(worst.cell.category or MIXTURE), plain(worst.cell.costs)]
        if len(drafters) > 1:
            place.insert(0, code(worst.cell.drafter))
        return [
            code(policy),
            _count(own, _over_hindsight, AS_GOOD_AS_STATIC),
            _count(own, _over_plain, AS_GOOD_AS_PLAIN),
            f"{median(map(_over_hindsight, own)):.3f}",
            f"{_over_hindsight(worst):.3f}",
            ", ".join(place),
            f"{min(map(_over_plain, own)):.3f}",
        ]

    names = [
        "policy",
        f"cells ≥ {AS_GOOD_AS_STATIC:.0%} of hindsight",
        f"cells ≥ {AS_GOOD_AS_PLAIN:.0%} of plain",
        "median over hindsight",
        "worst",
        "worst cell",
        "worst over plain",
    ]
    ranked = sorted(seen, key=lambda policy: -median(map(_over_hindsight, seen[policy])))
    return "\n".join(table(names, map(row, ranked), "lrrrrlr"))


def _over_hindsight(seen: _Seen) -> float:
    return seen.verdict.over_hindsight.value


def _over_plain(seen: _Seen) -> float:
    return seen.verdict.over_plain.value


def _count(seen: Sequence[_Seen], figure: Callable[[_Seen], float], least: float) -> str:
    return f"{sum(figure(one) >= least for one in seen)}/{len(seen)}"


def _mixture(cell: Cell) -> str:
    """All figures of all policies on a drafter's mixture at some costs, the fastest first."""
    marks = [
        ("plain decoding", PLAIN),
        (f"static, chosen: tau = {cell.chosen_tau}", CHOSEN),
        (f"static, hindsight: tau = {cell.hindsight_tau}", HINDSIGHT),
        ("clairvoyant optimum", OPTIMUM),
    ]
    ranked = sorted(cell.policies.items(), key=lambda item: -item[1].over_plain.value)
    rows = [_figures(f"*{name}*", cell.marks[mark]) for name, mark in marks]
    rows += [_figures(code(policy), verdict) for policy, verdict in ranked]
    names = ["policy", "over plain", "over chosen", "over hindsight", "span", "tokens per pass"]
    title = f"### {code(cell.drafter)} at {plain(cell.costs)}"
    size = f"Mixture of {cell.prompts} prompts, {cell.tokens:,} tokens."
    return "\n".join([title, "", size, "", *table(names, rows, "lrrrrr")])


def _figures(name: str, verdict: Verdict) -> list[str]:
    ratios = (verdict.over_plain, verdict.over_chosen, verdict.over_hindsight)
    share = verdict.span_share
    return [
        name,
        *(with_interval(ratio, ".3f", ".2f") for ratio in ratios),
        "" if share is None else with_interval(share, "+z.0%", "+z.0%"),
        f"{verdict.tokens_per_cycle:.2f}",
    ]


def _several(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]
