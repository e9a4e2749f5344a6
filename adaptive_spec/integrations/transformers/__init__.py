"""Policies inside transformers' ``generate``: docs/transformers.md."""

from adaptive_spec.integrations.transformers.entry import (
    Adaptive,
    AdaptiveGenerate,
    adaptive,
    adaptive_generate,
)
from adaptive_spec.integrations.transformers.run import Run
from adaptive_spec.integrations.transformers.statistics import Statistics

__all__ = ["Adaptive", "AdaptiveGenerate", "Run", "Statistics", "adaptive", "adaptive_generate"]
