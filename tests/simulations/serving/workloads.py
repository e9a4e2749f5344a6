"""Requests for the tests of this folder."""

import numpy as np
from hypothesis import strategies as st

from adaptive_spec.simulations.serving import Arrivals, ClosedLoop, OpenLoop, Requests
from adaptive_spec.testing import strategies
from adaptive_spec.traces import TraceSet


@st.composite
def arrivals(draw: st.DrawFn, count: int) -> Arrivals:
    """All at once, crowded, sparse, or so many clients."""
    if draw(st.booleans()):
        return ClosedLoop(draw(st.integers(1, 6)))
    gap = draw(st.sampled_from([0.0, 0.7, 5.0, 1000.0]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    return OpenLoop(np.cumsum(generator.exponential(gap, count)))


@st.composite
def workloads(draw: st.DrawFn) -> tuple[TraceSet, Requests]:
    """Up to 20 requests of two classes, some of them for the same text."""
    traces = draw(strategies.traces())
    count = draw(st.integers(1, 20))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    return traces, Requests(
        generator.integers(0, len(traces), count),
        draw(arrivals(count)),
        generator.integers(0, 2, count),
        ("short", "long"),
    )
