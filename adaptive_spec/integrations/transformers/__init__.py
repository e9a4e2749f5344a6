"""Policies inside transformers' ``generate``: docs/transformers.md."""

from adaptive_spec.integrations.transformers.block import Adaptive, adaptive
from adaptive_spec.integrations.transformers.custom import AdaptiveGenerate, adaptive_generate
from adaptive_spec.integrations.transformers.run import Options, Run
from adaptive_spec.integrations.transformers.statistics import Statistics

__all__ = [
    "Adaptive",
    "AdaptiveGenerate",
    "Options",
    "Run",
    "Statistics",
    "adaptive",
    "adaptive_generate",
]
