"""Rules by name, and what chooses tokens for the drafter of a batch."""

from adaptive_spec._specs import unknown_name
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification.base import VerificationRule
from adaptive_spec.decoding.verification.coupled import CoupledNoise
from adaptive_spec.decoding.verification.greedy import GreedyMatch
from adaptive_spec.decoding.verification.rejection import RejectionSampling
from adaptive_spec.decoding.verification.typical import TypicalAcceptance
from adaptive_spec.errors import ConfigError

RULES: dict[str, type[VerificationRule]] = {
    rule.name: rule for rule in (GreedyMatch, RejectionSampling, CoupledNoise, TypicalAcceptance)
}


def make_rule(
    name: str, sampling: SamplingParameters | None = None, seed: int = 0
) -> VerificationRule:
    """The rule of this name.

    Raises:
      ConfigError: an unknown name, or sampling parameters that the rule does not take.
    """
    if name not in RULES:
        raise ConfigError(unknown_name("verification rule", name, RULES))
    return RULES[name](sampling or SamplingParameters(), seed)  # type: ignore[call-arg]
