"""Published tests for ending a draft, as pure functions of what the drafter says of its tokens.

Each is True where drafting should end after that token, which is still verified. All work
elementwise, on arrays of any shape, and are False where the signal is NaN: a drafter that says
nothing is not stopped. With ``H`` the entropy of the draft distribution in nats:

- max-confidence: ``q(x) < threshold`` (transformers' ``assistant_confidence_threshold``);
- SVIP: ``sqrt(coefficient H) > threshold`` (Zhang et al., EMNLP 2025, arXiv 2411.18462);
- AdaEDL: ``1 - sqrt(coefficient H) < threshold`` (Agrawal, Jeon, Lee 2024, arXiv 2410.18351);
- logit margin: ``top-1 logit - top-2 logit < threshold`` (an arm of TapOut, arXiv 2511.02017).

The two entropy tests are monotone in ``H``, so they differ in where they cut, not in what they see.
"""

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray

MAX_CONFIDENCE_THRESHOLD = 0.4
"""transformers' default."""

SVIP_THRESHOLD = 0.3
"""The paper's ``h``: drafting ends above 0.6 nats."""

SVIP_COEFFICIENT = 0.15
"""The paper's constant under the root."""

ADAEDL_THRESHOLD = 0.6
"""Where ``lambda`` begins; the paper's value is not known to us. Drafting ends above 0.8 nats."""

ADAEDL_COEFFICIENT = 0.2
"""The paper's ``gamma``."""

MARGIN_THRESHOLD = 0.7
"""The paper's value is not known to us; here the first choice is twice as likely as the second."""


def unconfident(
    top1_probability: FloatArray, threshold: float | FloatArray = MAX_CONFIDENCE_THRESHOLD
) -> BoolArray:
    """Max-confidence: the drafted token's probability is below ``threshold``, in [0, 1]."""
    stop: BoolArray = top1_probability < threshold
    return stop


def svip_stops(
    entropy: FloatArray,
    threshold: float | FloatArray = SVIP_THRESHOLD,
    coefficient: float = SVIP_COEFFICIENT,
) -> BoolArray:
    """SVIP: the bound on divergence, ``sqrt(coefficient H)``, is above ``threshold``, >= 0."""
    stop: BoolArray = np.sqrt(coefficient * entropy) > threshold
    return stop


def adaedl_stops(
    entropy: FloatArray,
    threshold: float | FloatArray = ADAEDL_THRESHOLD,
    coefficient: float = ADAEDL_COEFFICIENT,
) -> BoolArray:
    """AdaEDL: the bound on acceptance, ``1 - sqrt(coefficient H)``, is below ``threshold``."""
    stop: BoolArray = 1.0 - np.sqrt(coefficient * entropy) < threshold
    return stop


def undecided(margin: FloatArray, threshold: float | FloatArray = MARGIN_THRESHOLD) -> BoolArray:
    """Logit margin: the two likeliest tokens are less than ``threshold``, >= 0, apart."""
    stop: BoolArray = margin < threshold
    return stop
