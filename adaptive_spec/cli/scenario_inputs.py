"""What commands that run a scenario ask of every policy: its promises, texts and costs."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adaptive_spec.cli.output import note
from adaptive_spec.cli.traces import priced_trace
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.costs import CostModel
from adaptive_spec.simulations.scenarios import (
    Scenario,
    Workload,
    draw,
    load_scenario,
    made_up_trace,
)
from adaptive_spec.traces import TraceSet


class Asked(NamedTuple):
    """What is asked of every policy.

    Attributes:
      scenario: what is promised; ``workload``: the requests.
      costs: what cycles cost; ``described``: in words.
      traces: the texts; ``path``: where they come from, None where they are synthetic.
    """

    scenario: Scenario
    workload: Workload
    costs: CostModel
    described: str
    traces: TraceSet
    path: Path | None


def ask(
    name: str,
    path: Path | None,
    *,
    costs: str | None,
    requests: int | None,
    max_draft_tokens: int | None = None,
    signals: bool,
    seed: int,
) -> Asked:
    """Reads or makes the texts, and draws the requests; notes what is to be known of them.

    Args:
      name: of the scenario, or its file.
      path: recorded texts; None to make them up.
      costs: as on the command line; None for the scenario's.
      requests: how many; None for as many as the scenario says.
      max_draft_tokens: K; None for the scenario's.
      signals: whether to read what the drafters said of their tokens.
      seed: all randomness derives from it.
    """
    scenario = load_scenario(name)
    if requests is not None:
        scenario = dataclasses.replace(scenario, requests=requests)
    if max_draft_tokens is not None:
        scenario = dataclasses.replace(scenario, max_draft_tokens=max_draft_tokens)
    if costs is None:
        described = str(scenario.costs)
        model = scenario.costs.model(scenario.max_batch, scenario.max_draft_tokens)
    else:
        model = parse_costs(costs)
        described = str(model)
    if path is None:
        traces = made_up_trace(scenario, seed)
        model.require_drafters(traces.info.drafter_names)
    else:
        traces = priced_trace(path, model, signals=signals)
    generator, made_up = np.random.default_rng(seed), path is None
    workload = draw(scenario, traces, costs=model, generator=generator, made_up=made_up)
    for remark in workload.notes:
        note(remark)
    return Asked(scenario, workload, model, described, traces, path)
