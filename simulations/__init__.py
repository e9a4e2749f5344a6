"""Traces in, answers out: replay of policies, the optimum, comparisons."""

if __name__ != "adaptive_spec.simulations":  # pragma: no cover
    # From the repository's root ``import simulations`` would also succeed, with every class twice.
    raise ImportError(f"{__name__} must be imported as adaptive_spec.simulations")

from adaptive_spec.simulations.comparison import Comparison, best_static_tau, compare
from adaptive_spec.simulations.hindsight import Optimum, least_passes, optimum
from adaptive_spec.simulations.simulator import Replay, replay, replay_parts
from adaptive_spec.simulations.summary import Summary

__all__ = [
    "Comparison",
    "Optimum",
    "Replay",
    "Summary",
    "best_static_tau",
    "compare",
    "least_passes",
    "optimum",
    "replay",
    "replay_parts",
]
