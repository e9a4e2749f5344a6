"""Hints that policies are given in histories: any that there may be, NaN among them."""

import numpy as np

from adaptive_spec.hints import Hints


def invented_hints(random: np.random.Generator, num_sequences: int, num_drafters: int) -> Hints:
    """Random hints, each missing in about a third of all rows."""
    shape = num_sequences, num_drafters
    whole = Hints(
        random.exponential(1.0, num_sequences),
        random.exponential(2.0, num_sequences),
        random.integers(1, 8, shape).astype(np.float64),
        random.random(shape),
    )
    return Hints(*(np.where(random.random(part.shape) < 0.3, np.nan, part) for part in whole))
