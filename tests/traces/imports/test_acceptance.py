import numpy as np
import pytest
from hypothesis import given

from adaptive_spec.errors import TraceError
from adaptive_spec.traces.acceptance import Acceptance
from tests.traces.imports.engines import Request, histogram_of, requests


def of(some: list[Request]) -> Acceptance:
    drafted = np.array([d for request in some for d in request.drafted])
    return Acceptance.of_drafts(drafted, np.array([a for r in some for a in r.accepted]))


@given(requests(least_draft=0))
def test_drafts_one_by_one_are_counted_as_a_naive_count_does(some: list[Request]) -> None:
    found = of(some)
    drafts = [pair for r in some for pair in zip(r.drafted, r.accepted, strict=True)]
    for i in range(found.accepted.size):
        assert found.accepted[i] == sum(a > i for _, a in drafts)
        judged = sum(d > i and a >= i for d, a in drafts)
        assert found.judged_least[i] == found.judged_most[i] == judged
    assert found.is_certain


@given(requests(least_draft=0))
def test_totals_bracket_what_the_drafts_themselves_say(some: list[Request]) -> None:
    longest = max(d for request in some for d in request.drafted)
    histogram = np.sum([histogram_of(request, longest) for request in some], axis=0)
    drafted = sum(d for request in some for d in request.drafted)
    true, found = of(some), Acceptance.of_histogram(histogram, drafted)
    assert (found.accepted == true.accepted).all()
    assert (found.judged_least <= true.judged_most).all()
    assert (true.judged_most <= found.judged_most).all()
    depths = min(true.longest_draft, found.longest_draft) + 1
    exact = true.survival()[:depths]
    assert (found.survival()[:depths] <= exact + 1e-12).all()
    assert (exact <= found.survival(most=True)[:depths] + 1e-12).all()


@given(requests())
def test_drafts_of_one_length_are_known_exactly_from_a_histogram(some: list[Request]) -> None:
    alike = [r for r in some if set(r.drafted) == {3}]
    for request in alike:
        found = Acceptance.of_histogram(np.array(histogram_of(request, 3)), sum(request.drafted))
        assert found.is_certain
        assert found.survival() == pytest.approx(of([request]).survival())


def test_a_draft_accepted_whole_is_no_rejection() -> None:
    found = Acceptance.of_drafts(np.array([1, 1, 3]), np.array([1, 1, 3]))
    assert found.survival().tolist() == [1, 1, 1, 1]
    assert found.hazards == (0, 0, 0)


def test_counts_of_several_add_up_whatever_their_depths() -> None:
    parts = [
        Acceptance.of_drafts(np.array([2]), np.array([1])),
        Acceptance.of_drafts(np.array([3]), np.array([3])),
    ]
    total = Acceptance.sum(parts)
    assert total.accepted.tolist() == [2, 1, 1]
    assert total.judged_most.tolist() == [2, 2, 1]
    assert Acceptance.sum([]).longest_draft == 0


def test_counts_that_rise_with_the_depth_are_refused() -> None:
    with pytest.raises(TraceError, match="only 3 the one before"):
        Acceptance.of_totals(5, np.array([3, 4]), 10)
    with pytest.raises(TraceError, match="have 1 to 4 tokens"):
        Acceptance.of_histogram(np.array([1, 1, 0]), 5)
