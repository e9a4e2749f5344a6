"""What a trial has shown: both arms of a ``Split``, with intervals.

Requests are the units: cycles of one request are not independent. Time per token and passes per
token are ratios ``R = sum y / sum x`` over requests, with variance ``sum (y - R x)^2 / (n (n - 1)
mean(x)^2)`` (the ratio estimator: Cochran, Sampling Techniques, 1977, ch. 6); that of the ratio of
the two arms follows from those of their logarithms (delta method). Arms share verifier passes, so a
wide draft in one of them slows the other down: time tells less of a difference than there is,
passes per token tell all of it.
"""

import math
from dataclasses import dataclass

import numpy as np

from adaptive_spec.operations.requests import RequestRecord
from adaptive_spec.operations.split import Split

_Z = 1.959963984540054
"""Standard errors to either side of an interval that holds 95 % (the normal distribution)."""
_TOKENS, _MS, _PASSES, _DRAFTED, _ACCEPTED = range(5)


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; NaN where it is not known.

    Attributes:
      value, low, high: the number, and the interval's ends.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ArmReport:
    """One arm.

    Attributes:
      requests: finished; ``cancelled``: and not, which count in nothing else here.
      tokens, passes, draft_tokens, accepted_tokens: of finished requests.
      ms_per_token: time of decoding; ``passes_per_token``: verifier passes.
    """

    requests: int
    cancelled: int
    tokens: int
    passes: int
    draft_tokens: int
    accepted_tokens: int
    ms_per_token: Estimate
    passes_per_token: Estimate


@dataclass(frozen=True)
class TrialReport:
    """Both arms.

    Attributes:
      control, trial: the arms.
      time_ratio, passes_ratio: of the trial's per token over the control's; below 1 is better.
    """

    control: ArmReport
    trial: ArmReport
    time_ratio: Estimate
    passes_ratio: Estimate


class TrialWatch:
    """Counts the requests of each arm: ``Requests(controller, TrialWatch(split))``."""

    def __init__(self, split: Split) -> None:
        """Begins at zero."""
        self._split = split
        self._arms = _Arm(), _Arm()

    def __call__(self, record: RequestRecord) -> None:
        """Counts a request that ended."""
        in_trial = bool(self._split.in_trial(np.array([record.request_key]))[0])
        arm = self._arms[in_trial]
        if not record.finished:
            arm.cancelled += 1
            return
        of_record = (
            *(record.emitted_tokens, record.decode_ms, record.passes),
            *(record.draft_tokens, record.accepted_tokens),
        )
        sums = np.array(of_record, np.float64)
        arm.requests += 1
        arm.sums += sums
        arm.squares += np.outer(sums, sums)

    def report(self) -> TrialReport:
        """What is known so far."""
        control, trial = self._arms
        return TrialReport(
            control.report(),
            trial.report(),
            _ratio(trial.per_token(_MS), control.per_token(_MS)),
            _ratio(trial.per_token(_PASSES), control.per_token(_PASSES)),
        )


class _Arm:
    """Sums over finished requests, and of products."""

    def __init__(self) -> None:
        self.requests = self.cancelled = 0
        self.sums, self.squares = np.zeros(5), np.zeros((5, 5))

    def per_token(self, what: int) -> tuple[float, float]:
        """A ratio to tokens, and its standard error; NaN where there is none."""
        n, tokens = self.requests, float(self.sums[_TOKENS])
        if tokens == 0:
            return math.nan, math.nan
        ratio = float(self.sums[what]) / tokens
        if n < 2:
            return ratio, math.nan
        spread = (
            self.squares[what, what]
            - 2.0 * ratio * self.squares[what, _TOKENS]
            + ratio**2 * self.squares[_TOKENS, _TOKENS]
        )
        variance = max(float(spread), 0.0) / (n * (n - 1)) / (tokens / n) ** 2
        return ratio, math.sqrt(variance)

    def report(self) -> ArmReport:
        sums = self.sums.tolist()
        ms, passes = (
            Estimate(ratio, ratio - _Z * error, ratio + _Z * error)
            for ratio, error in (self.per_token(what) for what in (_MS, _PASSES))
        )
        return ArmReport(
            requests=self.requests,
            cancelled=self.cancelled,
            tokens=int(sums[_TOKENS]),
            passes=int(sums[_PASSES]),
            draft_tokens=int(sums[_DRAFTED]),
            accepted_tokens=int(sums[_ACCEPTED]),
            ms_per_token=ms,
            passes_per_token=passes,
        )


def _ratio(top: tuple[float, float], bottom: tuple[float, float]) -> Estimate:
    """Of two independent estimates with their standard errors."""
    (x, x_error), (y, y_error) = top, bottom
    if not (x > 0 and y > 0):
        return Estimate(math.nan, math.nan, math.nan)
    error = math.hypot(x_error / x, y_error / y)
    ratio = x / y
    return Estimate(ratio, ratio * math.exp(-_Z * error), ratio * math.exp(_Z * error))
