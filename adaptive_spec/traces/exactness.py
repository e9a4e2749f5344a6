"""How much of what policies would have done a trace can tell."""

from typing import Literal, get_args

Exactness = Literal["exact", "capped", "lower bound", "upper bound", "distribution", "averages"]

MEANING: dict[Exactness, str] = {
    "exact": "every run length is known: replay does what the engine would have done",
    "capped": "every run length is known up to a longest draft: replay is exact up to that tau",
    "lower bound": "tokens that nobody drafted are taken for rejected: under a constant tau replay "
    "takes at least as many passes as the engine would have",
    "upper bound": "tokens that nobody drafted are taken for accepted: under a constant tau replay "
    "takes at most as many passes as the engine would have",
    "distribution": "run lengths are drawn from the acceptance at each depth: averages over many "
    "requests mean something, a request and the order of its cycles do not",
    "averages": "only totals are known: nothing can be replayed",
}
"""What each grade means, from the best to the least."""

assert tuple(MEANING) == get_args(Exactness)
