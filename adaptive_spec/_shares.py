"""Who drafted how much: the same record for a live request, a replay and an optimum."""

from typing import NamedTuple


class DrafterShare(NamedTuple):
    """What one drafter contributed: cycles that it drafted for, tokens drafted and accepted."""

    name: str
    cycles: int
    num_draft_tokens: int
    num_accepted_tokens: int
