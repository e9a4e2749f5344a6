"""Traces for the tests of this folder, and what it means for two of them to be equal."""

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from adaptive_spec.hints import Certainty
from adaptive_spec.traces import (
    SIGNALS,
    SequenceTrace,
    SignalTrace,
    TraceInfo,
    TraceSet,
    run_lengths_of,
)
from adaptive_spec.traces.records import Drafting


def random_sequence(
    rng: np.random.Generator,
    name: str,
    drafting: Drafting,
    *,
    signals: tuple[str, ...] = (),
    depth: int = 3,
    max_tokens: int = 12,
    recorded_ids: bool = True,
) -> SequenceTrace:
    """A valid sequence with float32 signals, recorded where its kind of drafter records them."""
    n = int(rng.integers(1, max_tokens + 1))
    proposes = rng.random(n) < rng.choice([0.5, 1.0])
    agreement = proposes & (rng.random(n) < 0.6)
    runs = run_lengths_of(agreement)
    if drafting == "block":
        runs = np.where(proposes, rng.integers(0, n - np.arange(n) + 1), 0)
    prompt_tokens = int(rng.integers(1, 9))
    found = {}
    for signal in signals:
        numbers = rng.normal(size=(n + 1, depth + 1)).astype(np.float32).astype(np.float64)
        numbers[rng.random(numbers.shape) < 0.1] = np.nan
        first, later = numbers[:, 0].copy(), numbers[:, 1:].copy()
        if drafting == "token":
            later[:-1][agreement] = np.nan
        found[signal] = SignalTrace(first, later)
    return SequenceTrace(
        id=name,
        category=str(rng.choice(["", "code", "résumé"])),
        prompt_tokens=prompt_tokens,
        run_lengths=runs,
        proposes=proposes,
        limit_tokens=None if rng.random() < 0.3 else n + int(rng.integers(0, 5)),
        draftable_tokens=None if rng.random() < 0.5 else int(rng.integers(0, 99)),
        finish_reason=str(rng.choice(["eos", "stop", "length", "unknown"])),
        signals=found,
        prompt_ids=rng.integers(0, 2**31, prompt_tokens) if recorded_ids else None,
        output_ids=rng.integers(0, 2**31, n) if recorded_ids else None,
        certainty=_certainty(rng, n) if recorded_ids else None,
    )


def _certainty(rng: np.random.Generator, n: int) -> Certainty:
    numbers = rng.exponential(size=(2, n)).astype(np.float32).astype(np.float64)
    numbers[rng.random(numbers.shape) < 0.1] = np.nan
    return Certainty(*numbers)


def example_trace(
    drafting: Drafting = "token", num_sequences: int = 5, seed: int = 0, *, signals: bool = True
) -> TraceSet:
    """The same trace every time."""
    rng = np.random.default_rng(seed)
    names = SIGNALS[:3] if drafting == "token" else SIGNALS[3:]
    return TraceSet(
        TraceInfo("verifier/é", "draft:x", drafting, numerics="float32 cpu"),
        tuple(
            random_sequence(rng, f"s/{i}", drafting, signals=names if signals else ())
            for i in range(num_sequences)
        ),
    )


@st.composite
def trace_sets(draw: st.DrawFn) -> TraceSet:
    """Traces of both kinds: any ids, sequences of one token, signals on some sequences only."""
    drafting: Drafting = draw(st.sampled_from(("token", "block")))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    ids = draw(st.lists(text, min_size=1, max_size=6, unique=True))
    return TraceSet(
        TraceInfo(draw(text), draw(text), drafting, draw(text), chat_template=draw(st.booleans())),
        tuple(
            random_sequence(
                rng,
                name,
                drafting,
                signals=tuple(draw(st.sets(st.sampled_from(SIGNALS), max_size=2))),
                depth=draw(st.integers(0, 4)),
                max_tokens=draw(st.sampled_from((1, 2, 20))),
                recorded_ids=draw(st.booleans()),
            )
            for name in ids
        ),
    )


def same_array(a: npt.NDArray[np.generic] | None, b: npt.NDArray[np.generic] | None) -> bool:
    if a is None or b is None:
        return a is b
    floats = a.dtype.kind == "f"
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=floats)


def same_sequence(a: SequenceTrace, b: SequenceTrace) -> bool:
    """Whether two sequences are equal in every field, NaN equal to NaN."""
    scalars = (
        "id",
        "category",
        "prompt_tokens",
        "limit_tokens",
        "draftable_tokens",
        "finish_reason",
    )
    arrays = ("run_lengths", "proposes", "prompt_ids", "output_ids")
    return (
        all(getattr(a, name) == getattr(b, name) for name in scalars)
        and all(same_array(getattr(a, name), getattr(b, name)) for name in arrays)
        and (a.certainty is None) == (b.certainty is None)
        and all(map(same_array, a.certainty or (), b.certainty or ()))
        and a.signals.keys() == b.signals.keys()
        and all(
            same_array(x, y)
            for name in a.signals
            for x, y in zip(a.signals[name], b.signals[name], strict=True)
        )
    )


def same_trace(a: TraceSet, b: TraceSet) -> bool:
    """Whether two traces are equal, order included."""
    return (
        a.info == b.info
        and len(a) == len(b)
        and all(same_sequence(x, y) for x, y in zip(a, b, strict=True))
    )
