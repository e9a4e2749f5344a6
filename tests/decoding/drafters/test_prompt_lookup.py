import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec import DrafterSpecError
from adaptive_spec._arrays import BoolArray
from adaptive_spec.decoding import PromptLookupDrafter
from adaptive_spec.decoding.drafters import DraftRequest
from adaptive_spec.decoding.drafters.prompt_lookup import Match, copied, matches, run_length
from adaptive_spec.policy import DraftSignals

texts = st.lists(st.integers(0, 3), min_size=1, max_size=40)
sizes = st.tuples(st.integers(1, 3), st.integers(0, 5)).map(lambda s: (s[0], s[0] + s[1]))


def brute_force(text: list[int], shortest: int, longest: int) -> Match | None:
    for length in range(min(longest, len(text)), shortest - 1, -1):
        for source in range(len(text) - 1, length - 1, -1):
            if text[source - length : source] == text[len(text) - length :]:
                return Match(length, source)
    return None


def copy_token_by_token(text: list[int], source: int, count: int) -> list[int]:
    whole = list(text)
    for i in range(count):
        whole.append(whole[source + i])
    return whole[len(text) :]


@given(texts, sizes, st.data())
def test_matches_equal_brute_force_at_every_position(
    text: list[int], size: tuple[int, int], data: st.DataObject
) -> None:
    shortest, longest = size
    first = data.draw(st.integers(0, len(text)))
    found = list(matches(text, first, longest, shortest))
    wanted = [brute_force(text[:p], shortest, longest) for p in range(first, len(text) + 1)]
    assert found == wanted


@given(texts, sizes, st.data())
def test_live_drafter_proposes_what_the_pure_functions_find(
    text: list[int], size: tuple[int, int], data: st.DataObject
) -> None:
    shortest, longest = size
    drafter = PromptLookupDrafter(longest, shortest)
    position = data.draw(st.integers(1, len(text)))
    drafter.begin(0, text[:position])
    while position <= len(text):
        tau = data.draw(st.integers(0, 6))
        now = text[:position]
        draft = drafter.propose(DraftRequest([0], [now], np.array([tau]), want_signals=True))
        match = brute_force(now, shortest, longest)
        assert draft.signals is not None
        if match is None or tau == 0:
            assert draft.token_ids == [[]]
            assert np.isnan(draft.signals.match_length).all()
        else:
            assert draft.token_ids == [copy_token_by_token(now, match.source, tau)]
            assert draft.signals.match_length.tolist() == [[match.length] * tau]
        position += data.draw(st.integers(1, 8))


@given(texts, st.data())
def test_run_length_is_what_verification_would_accept(text: list[int], data: st.DataObject) -> None:
    position = data.draw(st.integers(1, len(text)))
    match = brute_force(text[:position], 1, 7)
    if match is not None:
        block = copied(text[:position], match.source, len(text))
        agreed = [a == b for a, b in zip(block, text[position:], strict=False)]
        wanted = agreed.index(False) if False in agreed else len(agreed)
        assert run_length(text, position, match.source) == wanted


def test_copy_goes_on_into_itself() -> None:
    assert copied([9, 1, 2], 1, 5) == [1, 2, 1, 2, 1]
    assert copied([1, 2, 3, 4], 1, 2) == [2, 3]


def test_most_recent_and_longest_match_wins() -> None:
    text = [1, 2, 3, 7, 2, 3, 8, 3, 9, 2, 3]
    assert list(matches(text, len(text))) == [Match(2, 6)]


def test_stops_where_told() -> None:
    drafter = PromptLookupDrafter()
    drafter.begin(0, [1, 2, 1, 2])
    drafter.begin(1, [1, 2])
    drafter.begin(2, [3, 3, 3])
    asked: list[int] = []

    def keep(depth: int, signals: DraftSignals) -> BoolArray:
        asked.append(depth)
        assert signals.match_length.shape == (3, depth)
        return np.array([True, True, False]) if depth == 2 else np.array([depth < 4, True, True])

    rows, now = [0, 1, 2], [[1, 2, 1, 2], [1, 2], [3, 3, 3]]
    draft = drafter.propose(DraftRequest(rows, now, np.array([6, 3, 5]), keep_drafting=keep))
    assert draft.token_ids == [[1, 2, 1, 2], [], [3, 3]]
    assert asked == [1, 2, 3, 4]
    assert draft.signals is not None
    known = ~np.isnan(draft.signals.match_length)
    np.testing.assert_array_equal(known, np.arange(6) < np.array([[4], [0], [2]]))


def test_rows_are_freed() -> None:
    drafter = PromptLookupDrafter()
    drafter.end(3)
    drafter.begin(0, [1, 1])
    drafter.end(0)
    drafter.begin(0, [2])
    assert drafter.propose(DraftRequest([0], [[2]], np.array([2]))).token_ids == [[]]


@pytest.mark.parametrize(("longest", "shortest"), [(0, 0), (1, 2), (7, 0), (65, 1)])
def test_lengths_out_of_range_are_refused(longest: int, shortest: int) -> None:
    with pytest.raises(DrafterSpecError, match="min_ngram"):
        PromptLookupDrafter(longest, shortest)
