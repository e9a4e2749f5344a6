import dataclasses

import pytest

from adaptive_spec import PromptError
from adaptive_spec.decoding import Completion, CycleRecord, Request


def test_bad_requests_are_refused() -> None:
    with pytest.raises(PromptError, match=r"'a'.*no tokens"):
        Request("a", [], 1)
    with pytest.raises(PromptError, match="max_new_tokens = 0"):
        Request("a", [1], 0)


def test_completion_sums_its_cycles() -> None:
    cycles = tuple(CycleRecord(0, tau, tau, 1, 2, (1, 0), None, 0.5, 2.0, 3, 1) for tau in (2, 3))
    completion = Completion("a", "", 3, (1, 2, 3, 4), "length", cycles, 1.0)
    assert completion.num_draft_tokens == 5
    assert completion.num_accepted_tokens == 2
    assert completion.decode_ms == 5.0


def test_noise_seeds() -> None:
    own, other = Request("a", [1], 1), Request("b", [1], 1)
    assert own.noise_seed(0) == Request("a", [2], 9).noise_seed(0)
    assert len({own.noise_seed(0), own.noise_seed(1), other.noise_seed(0)}) == 3
    assert dataclasses.replace(own, seed=5).noise_seed(9) == 5
    for seed in (-1, 1 << 64):
        with pytest.raises(PromptError, match="seed"):
            Request("a", [1], 1, seed=seed)
