"""Which policies can be judged with a drafter, and why others cannot."""

from collections.abc import Iterable

from adaptive_spec.errors import ConfigError, PolicySpecError
from adaptive_spec.registry import make_policy, policy_names
from adaptive_spec.simulations.evidence.results import LeftOut
from adaptive_spec.simulations.evidence.subjects import Subject
from adaptive_spec.simulations.signals import SignalSource
from adaptive_spec.simulations.simulator import signals_for

BUILTIN = "builtin"
"""The drafter whose head policies with a fitted head have by default."""


def eligible(
    subject: Subject, policies: Iterable[str] | None, max_draft_tokens: int
) -> tuple[list[str], list[LeftOut]]:
    """The policies that can be judged with a drafter, and those that cannot.

    Args:
      subject: the drafter.
      policies: specs; None for all that are installed, with their defaults.
      max_draft_tokens: K.

    Raises:
      PolicySpecError: a spec, given by name, that builds no policy.
    """
    fit, unfit = [], []
    for spec in dict.fromkeys(policy_names() if policies is None else policies):
        reason = _obstacle(spec, subject, max_draft_tokens, asked_for=policies is not None)
        if reason is None:
            fit.append(spec)
        else:
            unfit.append(LeftOut(subject.drafter, spec, reason))
    return fit, unfit


def _obstacle(spec: str, subject: Subject, max_draft_tokens: int, asked_for: bool) -> str | None:
    """Why a policy cannot be judged; None if it can."""
    try:
        policy = make_policy(spec)
    except PolicySpecError as error:  # one broken package must not hide the others
        if asked_for:
            raise
        return f"cannot be built with its defaults ({error})"
    missing = [name for name in policy.signals if name not in _signals(subject)]
    if missing:
        words = " and ".join(name.replace("_", " ") for name in missing)
        return f"needs the drafter's {words}, which the trace does not hold"
    try:
        signals_for(policy, subject.judge, max_draft_tokens)
    except ConfigError as error:
        return str(error)
    specs = [drafter.spec for drafter in subject.judge.info.drafters]
    if not asked_for and getattr(policy, "head", "") is None and BUILTIN not in specs:
        return (
            "needs a head fitted to this drafter: `adaptive-spec fit-head`, then "
            f"`--policy {spec}:head=FILE`"
        )
    return None


def _signals(subject: Subject) -> set[str]:
    """Signals that some drafter has along every judged sequence."""
    try:
        source = SignalSource.of(subject.judge)
    except ConfigError:
        return set()
    return {name for drafter in source.drafters for name in drafter.first}
