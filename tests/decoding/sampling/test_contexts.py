import numpy as np
import torch

from adaptive_spec.decoding.sampling import Contexts, Purpose

TEXTS = [[1, 2, 3], [4]]
SEEDS = np.array([7, 8], np.uint64)


def blocks() -> Contexts:
    return Contexts.along_blocks(TEXTS, SEEDS, torch.tensor([[5, 0], [6, 7]]), 10)


def test_ids_before_each_place_of_a_block() -> None:
    contexts = blocks()
    exact = [contexts.exact_ids(place)[0].tolist() for place in (0, 1, 3, 4, 5)]
    assert exact == [[1, 2, 3], [1, 2, 3, 5], [4], [4, 6], [4, 6, 7]]
    padded = contexts.padded_ids()
    for place, ids in zip((0, 1, 3, 4, 5), exact, strict=True):
        assert padded[place, : len(TEXTS[place // 3])].tolist() == TEXTS[place // 3]
        assert set(padded[place].tolist()) == set(ids)


def test_keys_are_by_sequence_position_and_purpose() -> None:
    keys = blocks().host_keys(Purpose.COUPLED)
    assert len(np.unique(keys)) == 6
    assert not set(keys) & set(blocks().host_keys(Purpose.DRAW))
    later = Contexts.along_blocks(
        [[1, 2, 3, 5]], SEEDS[:1], torch.zeros(1, 0, dtype=torch.long), 10
    )
    assert later.host_keys(Purpose.COUPLED)[0] == keys[1], "whatever was drafted before"
    assert later.host_keys(Purpose.DRAFT)[0] != blocks().host_keys(Purpose.DRAFT)[1]


def test_uniforms_lie_between_zero_and_one() -> None:
    uniforms = blocks().uniforms(Purpose.ACCEPT)
    assert uniforms.dtype == torch.float32
    assert ((uniforms > 0) & (uniforms < 1)).all()
