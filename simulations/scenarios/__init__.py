"""Scenarios as data: workload, constraints, costs, and what counts as success."""

from adaptive_spec.simulations.scenarios.drawing import Workload, draw, made_up_trace
from adaptive_spec.simulations.scenarios.frontier import FrontierRun, PolicyFrontier
from adaptive_spec.simulations.scenarios.loading import load_scenario, scenario_names
from adaptive_spec.simulations.scenarios.running import ScenarioResult, ScenarioRun
from adaptive_spec.simulations.scenarios.scenario import Scenario
from adaptive_spec.simulations.scenarios.verdicts import Verdict

__all__ = [
    "FrontierRun",
    "PolicyFrontier",
    "Scenario",
    "ScenarioResult",
    "ScenarioRun",
    "Verdict",
    "Workload",
    "draw",
    "load_scenario",
    "made_up_trace",
    "scenario_names",
]
