from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from adaptive_spec import ConfigError, Empty, State, make_policy
from adaptive_spec._arrays import FloatArray
from adaptive_spec.state import is_empty, load_state, put_rows, save_state, take_rows


class Inner(NamedTuple):
    b: FloatArray


class Rows(NamedTuple):
    a: FloatArray
    inner: Inner


def rows(n: int) -> Rows:
    return Rows(np.arange(float(n)) + 0.5, Inner(np.arange(2.0 * n).reshape(n, 2)))


def test_take_and_put_work_on_nested_records() -> None:
    taken = take_rows(rows(4), np.array([3, 1]))
    assert taken.a.tolist() == [3.5, 1.5]
    assert taken.inner.b.tolist() == [[6, 7], [2, 3]]
    before = rows(4)
    after = put_rows(before, np.array([0, 2]), taken)
    assert after.a.tolist() == [3.5, 1.5, 1.5, 3.5]
    assert before.a.tolist() == [0.5, 1.5, 2.5, 3.5], "the original stays as it was"


def test_emptiness_is_about_arrays() -> None:
    assert is_empty(Empty())
    assert not is_empty(rows(0))


def test_states_round_trip(tmp_path: Path) -> None:
    state = State(rows(3), Inner(np.array([1.0, np.nan])))
    save_state(state, tmp_path / "state.npz")
    loaded = load_state(tmp_path / "state.npz", like=State(rows(0), Inner(np.zeros(2))))
    assert loaded.rows.inner.b.tolist() == state.rows.inner.b.tolist()
    np.testing.assert_array_equal(loaded.shared.b, state.shared.b)


def test_foreign_and_damaged_files_are_refused(tmp_path: Path) -> None:
    like = make_policy("ewma").init(0, 0)
    path = tmp_path / "state.npz"
    with pytest.raises(ConfigError, match="cannot be read"):
        load_state(path, like)
    save_state(make_policy("bandit").init(0, 0), path)
    with pytest.raises(ConfigError, match="load it with the policy that saved it"):
        load_state(path, like)
    save_state(make_policy("bandit").init(0, 0), path)
    with pytest.raises(ConfigError, match=r"sums has shape \(1, 3, 7\).*\(1, 3, 2\)"):
        load_state(path, make_policy("bandit:arms=0/1").init(0, 0))
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ConfigError, match="not a state saved by adaptive-spec"):
        load_state(path, like)
    save_state(like, path)
    for cut in (0, 10, path.stat().st_size // 2):
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(ConfigError):
            load_state(path, like)
