"""What policies do under a scenario's promises, as a page of Markdown."""

from collections.abc import Sequence
from typing import NamedTuple

from adaptive_spec.simulations.evidence.results import LeftOut
from adaptive_spec.simulations.markdown import code, plain, table, with_interval
from adaptive_spec.simulations.scenarios.running import ScenarioResult, ScenarioRun
from adaptive_spec.simulations.scenarios.trials import Trial
from adaptive_spec.simulations.scenarios.verdicts import TOLERANCE, Verdict

_PASSES, _LATENCY = "average passes", "p95 latency"


class Setting(NamedTuple):
    """What a reader must know beside the figures.

    Attributes:
      texts: where they come from; ``costs``; ``time_unit``.
      left_out: policies that cannot be run on these texts.
    """

    texts: str
    costs: str
    time_unit: str
    left_out: Sequence[LeftOut] = ()


def markdown(run: ScenarioRun, trials: Sequence[Trial], setting: Setting, command: str) -> str:
    """The page.

    Args:
      run: of the scenario.
      trials: of the policies, at least one.
      setting: where the figures come from.
      command: what reproduces it.
    """
    ranked = sorted(trials, key=lambda trial: -trial.held.speedup.value)
    sections = [_opening(run, command), _facts(run, setting), _READING, _all_requests(ranked)]
    for number, kind in enumerate(run.scenario.classes):
        if kind.name in trials[0].held.by_class:
            sections.append(_of_class(run, number, ranked))
    return "\n\n".join(sections) + "\n"


def _opening(run: ScenarioRun, command: str) -> str:
    return f"""# Promises: {code(run.scenario.name)}

What every policy does under the promises of a [scenario](scenarios.md). This page was written by

```sh
{command}
```"""


def _facts(run: ScenarioRun, setting: Setting) -> str:
    scenario = run.scenario
    tokens = int(run.workload.traces.windows.num_tokens.sum())
    asked = f"{scenario.requests:,} requests, {tokens:,} tokens"
    limits = f"at most {scenario.max_batch} together; tau up to {scenario.max_draft_tokens}"
    facts = [
        plain(scenario.description),
        f"{asked}, {limits}",
        f"Texts: {setting.texts}",
        f"Costs: {plain(setting.costs)}; times in {setting.time_unit}",
        f"Success: every promise kept, and {scenario.least_speedup:g} times plain decoding's speed",
        *map(plain, run.workload.notes),
    ]
    lines = ["## What was asked", "", *(f"- {fact}." for fact in facts)]
    reasons: dict[str, list[str]] = {}
    for one in setting.left_out:
        reasons.setdefault(one.reason, []).append(code(one.policy))
    lines += [f"- Left out: {', '.join(own)}: {why}." for why, own in reasons.items()]
    return "\n".join(lines)


_READING = f"""## How to read it

Every policy serves the same requests twice: held to the promises by the controller, and *on its
own*, with nothing promised. Both are judged by the same promises.

- **kept**, **not kept**, or *infeasible*: not even foresight could. An average of passes counts as
  kept up to {TOLERANCE:.0%} over. `~`: the 95 % interval holds the promise, so that another run
  might end otherwise.
- *over plain*: emitted tokens per time that clients wait, over plain decoding's.
- *made to draft more*, *less*: share of the cycles in which the controller overruled the policy:
  its tau was too small, or it would have stopped drafting earlier; or its tau was too large. What
  a policy does because it heeds the price of a pass is its own decision, and not in there.

In brackets: 95 % intervals, of passes and speed by bootstrap over recorded prompts, of the 95th
percentile of the latency by order statistics."""


def _all_requests(ranked: Sequence[Trial]) -> str:
    names = [
        "policy",
        "promises kept",
        "over plain",
        "made to draft more",
        "less",
        "on its own: promises kept",
        "over plain",
    ]
    rows = [
        [
            code(trial.policy),
            _kept(trial.held),
            with_interval(trial.held.speedup, ".3f", ".2f"),
            f"{trial.overruled.raised_share:.1%}",
            f"{trial.overruled.lowered_share:.1%}",
            _kept(trial.alone),
            with_interval(trial.alone.speedup, ".3f", ".2f"),
        ]
        for trial in ranked
    ]
    return "\n".join(["## All requests", "", *table(names, rows, "lrrrrrr")])


def _kept(result: ScenarioResult) -> str:
    kept = sum(verdict.verdict == "kept" for verdict in result.verdicts)
    return f"{kept}/{len(result.verdicts)}"


def _of_class(run: ScenarioRun, number: int, ranked: Sequence[Trial]) -> str:
    kind, bound = run.scenario.classes[number], run.bounds[number]
    target = kind.target_ms(run.costs)
    promised = [
        "" if kind.average_passes is None else f"{kind.average_passes:g} passes on average",
        "" if target is None else f"a 95th percentile of the latency of {target:g}",
    ]
    said = " and ".join(filter(None, promised)) or "nothing"
    names = ["policy", "passes", "p95 latency", "on its own: passes", "p95 latency"]
    rows = [
        [
            code(trial.policy),
            *_figures(trial.held, kind.name),
            *_figures(trial.alone, kind.name),
        ]
        for trial in ranked
    ]
    facts = (
        f"Promised: {said}. With foresight {bound.passes:.2f} passes suffice; each request decoded "
        f"alone and at once, with foresight, makes a 95th percentile of {bound.latency_ms:.1f}."
    )
    return "\n".join([f"## {code(kind.name)}", "", facts, "", *table(names, rows, "lrrrr")])


def _figures(result: ScenarioResult, name: str) -> list[str]:
    own = result.by_class[name]
    said = {v.promise: _said(v) for v in result.verdicts if v.request_class == name}
    return [
        with_interval(own.passes_per_request, ".2f", ".2f") + said.get(_PASSES, ""),
        with_interval(own.latency_ms.p95, ".1f", ".1f") + said.get(_LATENCY, ""),
    ]


def _said(verdict: Verdict) -> str:
    return f" {verdict.verdict}{'' if verdict.clear else '~'}"
