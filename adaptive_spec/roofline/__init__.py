"""Costs of hardware that one does not have: what a pass must at least take, from first principles.

The roofline of Williams, Waterman & Patterson (2009): a kernel takes the time of its arithmetic at
peak or of its memory traffic at full bandwidth, whichever is longer. ``transformer`` says how much
of either a model needs, ``hardware`` what devices do in a second, ``passes`` how long a pass takes,
``curves`` makes costs of it that every command takes.
"""

from adaptive_spec.roofline.curves import roofline_costs
from adaptive_spec.roofline.hardware import DTYPES, HARDWARE, Hardware, hardware_named
from adaptive_spec.roofline.passes import PassTimes, Placement
from adaptive_spec.roofline.transformer import Transformer

__all__ = [
    "DTYPES",
    "HARDWARE",
    "Hardware",
    "PassTimes",
    "Placement",
    "Transformer",
    "hardware_named",
    "roofline_costs",
]
