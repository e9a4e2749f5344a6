"""What to take if you don't want to choose: the ``portfolio`` with all its defaults.

No hyperparameters, no tuning, no warm-up prompts. What stands behind this name may become another
policy as better ones are found; pin ``portfolio`` or ``marginal`` where that matters.
"""

from dataclasses import dataclass, field

from adaptive_spec.policies.portfolio import Portfolio


@dataclass(frozen=True)
class Auto(Portfolio):
    """Needs no choices: the best that is known here, with nothing to set."""

    experts: tuple[str, ...] = field(default=Portfolio.experts, init=False)
    confidence: float = field(default=Portfolio.confidence, init=False)
    memory: float = field(default=Portfolio.memory, init=False)
