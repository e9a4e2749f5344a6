"""Tables from batch size to draft length: checks that the rules with such a table share."""

import itertools

from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policy import MAX_TAU


def require_taus(rule: str, field: str, taus: tuple[int, ...], least: int = 0) -> None:
    """Refuses draft lengths that are none at all, or out of range.

    Raises:
      PolicySpecError: naming the rule and the field.
    """
    if not taus or min(taus) < least or max(taus) > MAX_TAU:
        raise PolicySpecError(
            f"{rule}: {field} = {taus}; give one or more draft lengths in {least}..{MAX_TAU}"
        )


def require_table(rule: str, batch_sizes: tuple[int, ...], taus: tuple[int, ...]) -> None:
    """Refuses a table whose batch sizes do not rise from 1 or more, with one tau for each.

    Raises:
      PolicySpecError: naming the rule and the field.
    """
    rising = all(a < b for a, b in itertools.pairwise(batch_sizes))
    if not batch_sizes or batch_sizes[0] < 1 or not rising:
        raise PolicySpecError(
            f"{rule}: batch_sizes = {batch_sizes}; they must be at least 1 and increasing"
        )
    require_taus(rule, "taus", taus)
    if len(taus) != len(batch_sizes):
        raise PolicySpecError(
            f"{rule}: taus = {taus}; there must be one for each of batch_sizes = {batch_sizes}"
        )


def require_tiers(rule: str, tiers: tuple[int, ...], least: int) -> None:
    """Refuses draft lengths to switch between that are out of range or do not increase.

    Raises:
      PolicySpecError: naming the rule and the field.
    """
    require_taus(rule, "tiers", tiers, least)
    if any(a >= b for a, b in itertools.pairwise(tiers)):
        raise PolicySpecError(f"{rule}: tiers = {tiers}; they must be increasing")


def first_tier(tiers: tuple[int, ...], initial: int) -> int:
    """Index of the tier to begin with: ``initial`` where it is one, else the middle one."""
    return tiers.index(initial) if initial in tiers else len(tiers) // 2
