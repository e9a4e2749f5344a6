"""What a lookup would have proposed, by asking it again at every position."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec.integrations.vllm.ngram import NgramTexts, first_match
from adaptive_spec.runs import window_of
from tests.integrations.vllm.conftest import TIMEOUT_S

TEXTS = st.lists(st.integers(0, 2), min_size=1, max_size=40)
SIZES = st.tuples(st.integers(1, 3), st.integers(0, 3)).map(lambda pair: (pair[0], sum(pair)))


def looked_up(text: list[int], min_ngram: int, max_ngram: int) -> int | None:
    """Word for word: the longest suffix that occurred before, where it occurred first."""
    for size in range(max_ngram, min_ngram - 1, -1):
        for start in range(len(text) - size):
            if text[start : start + size] == text[-size:]:
                return start + size
    return None


@given(TEXTS, SIZES)
def test_the_longest_suffix_counts_where_it_occurred_first(
    text: list[int], sizes: tuple[int, int]
) -> None:
    assert first_match(np.array(text), *sizes) == looked_up(text, *sizes)


@given(TEXTS, st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), max_size=12), SIZES)
def test_every_position_s_draft_is_followed_as_far_as_the_text_goes(
    prompt: list[int], steps: list[list[int]], sizes: tuple[int, int]
) -> None:
    texts, depth = NgramTexts(*sizes, max_draft_tokens=1), window_of(1)
    texts.begin("a", prompt)
    output: list[int] = []
    for step in steps:
        texts.extend("a", step)
        output += step
    runs, text = texts.runs(["a"]), prompt + output
    assert runs.end.tolist() == [len(output)]
    assert runs.known.tolist() == [[len(output)]]
    for position in range(max(len(output) - depth, 0), len(output)):
        begin = len(prompt) + position
        source = looked_up(text[:begin], *sizes)
        draft = [] if source is None else text[source:begin]
        pairs = zip(draft, text[begin:], strict=False)
        length = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
        if length is None:
            length = min(len(draft), len(text) - begin)
        column = position - len(output)
        assert runs.length[0, 0, column] == length
        assert runs.proposes[0, 0, column] == (source is not None)


def test_requests_that_are_gone_are_forgotten() -> None:
    texts = NgramTexts(1, 2, max_draft_tokens=3)
    texts.begin("a", [1, 2, 1])
    texts.end("a")
    texts.extend("a", [2])
    texts.end("a")
    texts.begin("a", [1, 2])
    assert texts.runs(["a"]).end.tolist() == [0]


AGAINST_VLLM = """
import numpy as np
from vllm.v1.spec_decode import ngram_proposer
from adaptive_spec.integrations.vllm.ngram import first_match
theirs = ngram_proposer._find_longest_matched_ngram_and_propose_tokens
rng = np.random.default_rng(0)
for number in range(2000):
    text = rng.integers(3, size=rng.integers(1, 60)).astype(np.int32)
    least = int(rng.integers(1, 4))
    most = least + int(rng.integers(0, 3))
    source = first_match(text, least, most)
    expected = theirs(text, least, most, 1000, 5)
    ours = text[:0] if source is None else text[source : source + 5]
    assert ours.tolist() == expected.tolist(), (text, least, most)
print("alike")
"""


@pytest.mark.vllm
def test_it_is_what_vllm_proposes(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AGAINST_VLLM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.stdout.endswith("alike\n"), done.stderr[-4000:]
