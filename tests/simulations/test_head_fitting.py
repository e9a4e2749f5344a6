"""Heads are fitted to what a trace shows, on one half of it, and keep to it on the other."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from adaptive_spec import ConfigError
from adaptive_spec._arrays import BoolArray
from adaptive_spec.errors import TraceError
from adaptive_spec.policies._head import read_head
from adaptive_spec.simulations.halves import halves
from adaptive_spec.simulations.head_fitting import _examples, _log_loss, fit_head, save_head
from adaptive_spec.traces import (
    Component,
    SequenceTrace,
    SignalTrace,
    TraceInfo,
    TraceSet,
    run_lengths_of,
)

TOKEN = TraceInfo("verifier", "drafter", "token")


def sequence(
    name: str, agreement: BoolArray, probability: list[float], depth: int = 4
) -> SequenceTrace:
    """A sequence of a token-by-token drafter; entropy and margin follow the probability."""
    n, first = agreement.size, np.array(probability)
    assert first.size == n + 1
    later = np.full((n + 1, depth - 1), 0.5)
    later[:-1][agreement] = np.nan
    signals = {
        "top1_probability": SignalTrace(first, later),
        "entropy": SignalTrace(2.0 - first, 2.0 - later),
        "margin": SignalTrace(3.0 * first, 3.0 * later),
    }
    runs = run_lengths_of(agreement)
    return SequenceTrace(name, "", 10, runs, np.ones(n, np.bool_), signals=signals)


def trace(sequences: int, seed: int = 0, tokens: int = 150) -> TraceSet:
    """Acceptance is the square of the draft's probability: it is too sure of itself."""
    random = np.random.default_rng(seed)
    made = []
    for i in range(sequences):
        probability = random.random(tokens + 1)
        agreement = random.random(tokens) < probability[:-1] ** 2
        made.append(sequence(f"{i:02}", agreement, probability.tolist()))
    return TraceSet(TOKEN, tuple(made))


def test_halves_alternate_by_category_and_id() -> None:
    names = [("b", "3"), ("a", "2"), ("a", "1"), ("b", "1"), ("c", "0")]
    agreement = np.ones(2, np.bool_)
    made = [
        dataclasses.replace(sequence(i, agreement, [0.5] * 3), category=c, id=f"{c}/{i}")
        for c, i in names
    ]
    chosen, held_out = halves(TraceSet(TOKEN, tuple(made)))
    assert [s.id for s in chosen] == ["a/1", "b/1", "c/0"]
    assert [s.id for s in held_out] == ["a/2", "b/3"]


def test_examples_by_hand() -> None:
    # Agreement 1 1 0 1. Drafts from position 0: accepted, accepted, refused; from 1: accepted,
    # refused; from 2: refused; from 3: accepted, and what follows the end is not known.
    made = sequence("a", np.array([True, True, False, True]), [0.9, 0.8, 0.3, 0.7, 0.6])
    examples = _examples(TraceSet(TOKEN, (made,)))
    assert examples.probability.tolist() == [0.9, 0.8, 0.3, 0.8, 0.3, 0.3, 0.7]
    assert examples.accepted.tolist() == [True, True, False, True, False, False, True]
    assert np.exp(examples.features[:, 3]).round().tolist() == [1, 2, 3, 1, 2, 1, 1]


def test_drafts_end_with_the_recorded_depth() -> None:
    made = sequence("a", np.array([True, True, True, False]), [0.9] * 5, depth=2)
    examples = _examples(TraceSet(TOKEN, (made,)))
    assert np.exp(examples.features[:, 3]).round().tolist() == [1, 2, 1, 2, 1, 2, 1]


def test_of_a_composition_the_drafters_with_signals_are_taken() -> None:
    own = sequence("a", np.array([True, False, True]), [0.9, 0.8, 0.3, 0.7])
    silent = dataclasses.replace(own.drafters[0], signals={}, run_lengths=np.zeros(3, np.int64))
    both = dataclasses.replace(own, signals={}, components=(own.drafters[0], silent))
    parts = (Component("draft", "token"), Component("lookup", "block"))
    info = TraceInfo("verifier", "draft+lookup", "block", components=parts)
    alone, together = _examples(TraceSet(TOKEN, (own,))), _examples(TraceSet(info, (both,)))
    assert alone.probability.tolist() == together.probability.tolist()


def test_it_learns_how_far_the_draft_is_to_be_trusted() -> None:
    traces = trace(16)
    head, report = fit_head(traces, hidden_units=4)
    theirs = _examples(halves(traces)[1])
    # The best that anyone can do knows the law. Fitting 25 numbers to some 1,600 tokens loses about
    # 25 / 3200 = 0.008 nats to it, and on as many held out the loss is known to about 0.02.
    best = _log_loss(theirs.probability**2, theirs.accepted)
    assert best < report.log_loss < best + 0.04
    assert report.log_loss < report.draft_log_loss - 0.05
    assert report.log_loss < report.base_rate_log_loss - 0.05
    assert report.calibration_error < 0.06
    assert report.sequences == report.held_out_sequences == 8
    assert report.held_out_tokens == theirs.accepted.size == sum(b.tokens for b in report.bins)
    chance = head.acceptance(theirs.features)
    assert report.log_loss == pytest.approx(_log_loss(chance, theirs.accepted))


def test_the_calibration_error_is_that_of_its_bins() -> None:
    _, report = fit_head(trace(4), hidden_units=2)
    off = [b.tokens * abs(b.predicted - b.accepted) for b in report.bins]
    assert report.calibration_error == pytest.approx(sum(off) / report.held_out_tokens)
    predicted = [b.predicted for b in report.bins]
    assert predicted == sorted(predicted)


def test_the_held_out_half_has_no_say() -> None:
    one, other = trace(4, tokens=60), trace(4, seed=1, tokens=60)
    mixed = tuple(
        ours if i % 2 == 0 else theirs
        for i, (ours, theirs) in enumerate(zip(one, other, strict=True))
    )
    head, report = fit_head(one, hidden_units=2)
    same, elsewhere = fit_head(TraceSet(TOKEN, mixed), hidden_units=2)
    assert head.hidden_weights.tolist() == same.hidden_weights.tolist()
    assert report.log_loss != elsewhere.log_loss


def test_a_head_is_written_as_it_was_reported_on(tmp_path: Path) -> None:
    head, report = fit_head(trace(4), hidden_units=3, seed=2)
    save_head(head, tmp_path / "head.json")
    read = read_head(tmp_path / "head.json")
    assert read.as_dict() == head.as_dict()
    assert read.hidden_weights.shape == (4, 3)
    assert read.fitted_on["drafter"] == "drafter"
    assert read.fitted_on["held_out_log_loss"] == round(report.log_loss, 4)


def test_long_traces_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adaptive_spec.simulations.head_fitting.MOST_STARTS", 100)
    long = sequence("a", np.arange(250) == 0, [0.5] * 251)
    # Every third position, 84 of 250; the first draft has two tokens that are judged.
    assert _examples(TraceSet(TOKEN, (long,))).accepted.size == 85


def test_traces_that_cannot_be_fitted_are_refused() -> None:
    with pytest.raises(TraceError, match="holds 1 sequence; two halves need at least 2"):
        fit_head(trace(1))
    with pytest.raises(ConfigError, match=r"hidden_units = 0; it must be in 1..256"):
        fit_head(trace(2), hidden_units=0)
    refused = tuple(sequence(i, np.zeros(5, np.bool_), [0.5] * 6) for i in "ab")
    with pytest.raises(TraceError, match="of the 5 drafted tokens in one half, 0 were accepted"):
        fit_head(TraceSet(TOKEN, refused))
    silent = tuple(dataclasses.replace(s, signals={}) for s in trace(2))
    with pytest.raises(ConfigError, match="holds no draft signals"):
        fit_head(TraceSet(TOKEN, silent))
    few = tuple(dataclasses.replace(s, signals={"entropy": s.signals["entropy"]}) for s in trace(2))
    with pytest.raises(TraceError, match="says nothing of top1_probability, entropy, margin"):
        fit_head(TraceSet(TOKEN, few))
