"""Evidence: how well every policy does, per drafter, category of prompts and costs.

``gather`` judges policies on traces that were split into a half to choose on and a half to judge
on; ``markdown`` writes the page. On the command line: ``adaptive-spec evidence``.
"""

from adaptive_spec.simulations.evidence.gathering import DEFAULTS, STYLISED, Progress, gather
from adaptive_spec.simulations.evidence.page import markdown
from adaptive_spec.simulations.evidence.results import Cell, Evidence, Settings, Verdict

__all__ = [
    "DEFAULTS",
    "STYLISED",
    "Cell",
    "Evidence",
    "Progress",
    "Settings",
    "Verdict",
    "gather",
    "markdown",
]
