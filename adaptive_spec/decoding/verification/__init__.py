"""Verification: which drafted tokens stand, and what follows them. One rule a file.

Greedy match, rejection sampling and coupled noise are lossless; greedy match and coupled noise give
the same output for every tau, too. Typical acceptance is lossy.
"""

from adaptive_spec.decoding.verification.base import Block, Choice, Verdict, VerificationRule
from adaptive_spec.decoding.verification.chooser import Chooser, DraftChoices
from adaptive_spec.decoding.verification.coupled import CoupledNoise
from adaptive_spec.decoding.verification.divergence import Divergence, explain_divergence
from adaptive_spec.decoding.verification.greedy import (
    GREEDY,
    GreedyMatch,
    greedy_tokens,
)
from adaptive_spec.decoding.verification.rejection import RejectionSampling
from adaptive_spec.decoding.verification.rules import RULES, make_rule
from adaptive_spec.decoding.verification.typical import TypicalAcceptance

__all__ = [
    "GREEDY",
    "RULES",
    "Block",
    "Choice",
    "Chooser",
    "CoupledNoise",
    "Divergence",
    "DraftChoices",
    "GreedyMatch",
    "RejectionSampling",
    "TypicalAcceptance",
    "Verdict",
    "VerificationRule",
    "explain_divergence",
    "greedy_tokens",
    "make_rule",
]
