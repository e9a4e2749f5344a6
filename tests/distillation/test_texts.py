"""Parts of texts on disk."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_spec.distillation.texts import Text, load_texts, save_texts
from adaptive_spec.errors import DistillError

TEXTS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=9),
        st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=9),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


def same(ours: Text, theirs: Text) -> bool:
    return (
        ours.token_ids.tolist() == theirs.token_ids.tolist()
        and ours.answer_start == theirs.answer_start
        and ours.is_greedy == theirs.is_greedy
    )


@given(TEXTS)
def test_a_part_comes_back_as_it_was(drawn: list[tuple[list[int], list[int], bool]]) -> None:
    import tempfile

    texts = [Text(np.array(p + a, np.int64), len(p), greedy) for p, a, greedy in drawn]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts-0000.npz"
        save_texts(path, texts)
        back = load_texts(path)
    assert len(back) == len(texts)
    assert all(same(a, b) for a, b in zip(texts, back, strict=True))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts-0000.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(DistillError, match="delete it"):
        load_texts(path)


def test_a_part_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts-0000.npz"
    with path.open("wb") as file:
        np.savez_compressed(
            file, token_ids=[1, 2, 3], lengths=[3], answer_starts=[3], is_greedy=[True]
        )
    with pytest.raises(DistillError, match="contradict"):
        load_texts(path)
