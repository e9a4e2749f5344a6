"""When to look how a drafter would do that is not drafting: by what looks have been worth.

A look costs a step: the drafter reads the text that it has not read. What is missed by not looking
grows as the square of the time since the last look: so does the chance that drafting has begun to
pay, times how long it has been missed. If drafting comes to be worth ``v`` tokens a token more with
every token of text, looks ``P`` tokens apart cost ``step / P + v P / 2`` a token, least at::

    P = sqrt(2 step / v)

where a look costs what is missed by waiting for it. This is the checking schedule of Keller
(Management Science 21, 1974; after Barlow, Hunter and Proschan, J. SIAM 11, 1963). A look that so
little text is left for that it can't bring its cost is left out.

``v`` is learned from the looks: what drafting was then found to gain, by the text read. It depends
on how far drafting was from paying before, so that this is told apart. Before any look, ``v`` is
such that ``P`` takes up the share of the time that may go into looking. More than that never does;
and as evidence fades, looking never ceases: what a change costs is bounded.
"""

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.policy import MAX_DRAFTERS

Number: TypeAlias = IntArray | FloatArray

_FARNESS = 4
"""Steps told apart, from drafting that nearly pays to drafting that brings nothing at all."""

_IMAGINED_TOKENS = 1_000.0
"""Text on which looks are taken to have been worth their time, before any. It bounds what a change
costs: pauses grow to ``sqrt(1 + memory / 1000)`` times the shortest at most, 3.3 by default."""
_LEAST_STEP = 1e-9


class Stakes(NamedTuple):
    """What it is about to look at a drafter, ``[B]`` each, in tokens.

    Attributes:
      gain: what a cycle would bring more if it drafted, mostly below 0.
      step: what a look costs; ``plain``: what a plain pass costs.
    """

    gain: FloatArray
    step: FloatArray
    plain: FloatArray

    @property
    def farness(self) -> IntArray:
        """How far drafting is from paying, 0 to 3; what it loses by is about a step at most."""
        quarters = np.floor(-_FARNESS * self.gain / np.maximum(self.step, _LEAST_STEP))
        return np.clip(quarters, 0, _FARNESS - 1).astype(np.int64)


class Looks(NamedTuple):
    """What looks have brought, by drafter and by how far it was from paying; discounted.

    Attributes:
      worth: ``[M, 4]`` tokens that a cycle was found to gain by drafting, summed over looks.
      read: ``[M, 4]`` tokens that were read at them.
    """

    worth: FloatArray
    read: FloatArray

    @classmethod
    def fresh(cls) -> "Looks":
        """Before any look."""
        return cls(*np.zeros((2, MAX_DRAFTERS, _FARNESS)))

    def after(
        self,
        drafter: int,
        stakes: Stakes,
        found: FloatArray,
        read_tokens: IntArray,
        memory: float,
    ) -> "Looks":
        """After ``n`` looks at one drafter.

        Args:
          drafter: whom they were at.
          stakes: before each of them.
          found: ``[n]`` the gain that they found; what is below 0 counts as 0.
          read_tokens: ``[n]`` tokens that were read.
          memory: tokens that are remembered.
        """
        farness = stakes.farness
        worth, read = self.worth.copy(), self.read.copy()
        more = np.bincount(farness, read_tokens, _FARNESS)
        # Not numpy's, which may differ in the last bit from what compiled code has.
        faded = np.array([math.exp(-tokens / memory) for tokens in more.tolist()])
        worth[drafter] *= faded
        worth[drafter] += np.bincount(farness, np.maximum(found, 0.0), _FARNESS)
        read[drafter] = faded * read[drafter] + more
        return Looks(worth, read)

    def pay(
        self,
        drafter: int,
        stakes: Stakes,
        unread_tokens: Number,
        remaining_tokens: Number,
        upkeep: float,
    ) -> BoolArray:
        """Whether a look is worth its step, ``[B]``.

        Args:
          drafter: whom to look at.
          stakes: with it.
          unread_tokens: ``[B]`` tokens since the last one.
          remaining_tokens: ``[B]`` tokens of which use may be made.
          upkeep: share of the time that may go into looking.
        """
        step, farness = np.maximum(stakes.step, _LEAST_STEP), stakes.farness
        shortest = shortest_pause(step, stakes.plain, upkeep)
        imagined = 2.0 * step / shortest**2 * _IMAGINED_TOKENS
        per_token = (self.worth[drafter, farness] + imagined) / (
            self.read[drafter, farness] + _IMAGINED_TOKENS
        )
        pause = np.maximum(np.sqrt(2.0 * step / per_token), shortest)
        pays: BoolArray = (unread_tokens >= pause) & (
            2.0 * unread_tokens * remaining_tokens >= pause**2
        )
        return pays


def looks_constants() -> dict[str, Any]:
    """Constants for compiled loops, as these name them."""
    return {
        "least_step": _LEAST_STEP,
        "imagined_tokens": _IMAGINED_TOKENS,
        "farness": _FARNESS,
    }


def shortest_pause(step: FloatArray, plain: FloatArray, upkeep: float) -> FloatArray:
    """Tokens between looks at which they take the share ``upkeep`` of the time, at least 1.

    A look costs ``step``, a plain pass ``plain``, in the same unit.
    """
    return np.maximum(step / (upkeep * plain), 1.0)
