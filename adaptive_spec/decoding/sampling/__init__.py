"""From logits to tokens: sampling parameters, distributions, and noise that has a key."""

from adaptive_spec.decoding.sampling.contexts import Contexts
from adaptive_spec.decoding.sampling.distributions import (
    Distribution,
    DraftDistributions,
    over_vocabulary,
    probabilities_of,
)
from adaptive_spec.decoding.sampling.noise import Purpose, gumbel
from adaptive_spec.decoding.sampling.parameters import SamplingParameters

__all__ = [
    "Contexts",
    "Distribution",
    "DraftDistributions",
    "Purpose",
    "SamplingParameters",
    "gumbel",
    "over_vocabulary",
    "probabilities_of",
]
