"""Operations on rows: take and put them, save and load states without pickle."""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import IntArray
from adaptive_spec._files import atomic_write
from adaptive_spec.errors import ConfigError, PolicyContractError
from adaptive_spec.policy import Cycle, Decision, Outcome, State

PartT = TypeVar("PartT")

_FORMAT = "adaptive-spec.state/1"


def _map(part: PartT, function: Callable[..., Any], *others: PartT) -> PartT:
    """Applies ``function`` to each array of a (nested) NamedTuple."""
    if isinstance(part, tuple):
        if not hasattr(part, "_fields"):
            raise PolicyContractError(
                "state: its parts must be NamedTuples of arrays, got a plain tuple"
            )
        mapped = (
            _map(child, function, *(o[i] for o in others))  # type: ignore[index]
            for i, child in enumerate(part)
        )
        return type(part)(*mapped)
    return function(part, *others)  # type: ignore[no-any-return]


def take_rows(rows: PartT, index: IntArray) -> PartT:
    """The rows at ``index``."""
    return _map(rows, lambda array: array[index])


def put_rows(rows: PartT, index: IntArray, values: PartT) -> PartT:
    """A copy of ``rows`` with the rows at ``index`` replaced by ``values``."""

    def put(array: Any, value: Any) -> Any:
        changed = array.copy()
        changed[index] = value
        return changed

    return _map(rows, put, values)


def combine(parts: Sequence[PartT], function: Callable[[list[Any]], Any]) -> PartT:
    """One part made of several alike: each array is ``function`` of theirs."""
    return _map(parts[0], lambda *arrays: function(list(arrays)), *parts[1:])


def take_cycle(cycle: Cycle, index: IntArray) -> Cycle:
    """The cycle of the rows at ``index``."""
    arrays: dict[str, Any] = _arrays_at(cycle, index)
    hints = None if cycle.hints is None else take_rows(cycle.hints, index)
    return cycle._replace(hints=hints, **arrays)


def take_decision(decision: Decision, index: IntArray) -> Decision:
    """The decision for the rows at ``index``."""
    tau, memo, drafter, catch_up = decision
    return Decision(
        tau[index],
        None if memo is None else take_rows(memo, index),
        None if drafter is None else drafter[index],
        None if catch_up is None else catch_up[index],
    )


def take_outcome(outcome: Outcome, index: IntArray) -> Outcome:
    """The outcome of the rows at ``index``."""
    arrays: dict[str, Any] = _arrays_at(outcome, index)
    return outcome._replace(
        cycle=take_cycle(outcome.cycle, index),
        decision=take_decision(outcome.decision, index),
        signals=None if outcome.signals is None else take_rows(outcome.signals, index),
        runs=None if outcome.runs is None else take_rows(outcome.runs, index),
        **arrays,
    )


def _arrays_at(record: Cycle | Outcome, index: IntArray) -> dict[str, Any]:
    return {k: v[index] for k, v in record._asdict().items() if isinstance(v, np.ndarray)}


def is_empty(part: Any) -> bool:
    """Whether a part of a state holds no arrays."""
    return not any(True for _ in leaves(part))


def leaves(part: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays of a (nested) tuple, each with its dotted path of field names."""
    if not isinstance(part, tuple):
        yield path, part
        return
    names = getattr(part, "_fields", range(len(part)))
    for name, child in zip(names, part, strict=True):
        yield from leaves(child, f"{path}.{name}" if path else str(name))


def save_state(state: State[Any, Any], path: str | Path) -> None:
    """Saves a state as ``.npz``: plain arrays under their field names, and a format tag."""
    write_arrays(path, state, {"__format__": _FORMAT})


def load_state(path: str | Path, like: State[Any, Any]) -> State[Any, Any]:
    """Loads a state saved by ``save_state``.

    Args:
      path: the ``.npz`` file.
      like: a state of the same policy (``policy.init``), which gives structure and dtypes.

    Raises:
      ConfigError: the file is foreign, or was saved by another policy.
    """
    arrays = read_arrays(path)
    if str(arrays.pop("__format__", "")) != _FORMAT:
        raise ConfigError(f"state file {path}: not a state saved by adaptive-spec (version 1)")
    return fill(like, arrays, path)


def write_arrays(path: str | Path, part: Any, texts: Mapping[str, str]) -> None:
    """Writes the arrays of a (nested) tuple under their names, with texts beside them.

    Raises:
      OSError: it cannot be written; what was there stays as it was.
    """
    arrays = {name: np.asarray(leaf) for name, leaf in leaves(part)}
    arrays |= {name: np.asarray(text) for name, text in texts.items()}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_arrays(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of a ``.npz`` file, by name; pickled ones are refused.

    Raises:
      ConfigError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ConfigError(f"state file {path}: cannot be read ({error})") from None


def fill(like: PartT, arrays: Mapping[str, npt.NDArray[Any]], path: str | Path) -> PartT:
    """A (nested) NamedTuple like another, of arrays read from a file.

    Raises:
      ConfigError: other names, or shapes; the number of rows may differ.
    """
    expected = [name for name, _ in leaves(like)]
    if sorted(arrays) != sorted(expected):
        raise ConfigError(
            f"state file {path}: holds {sorted(arrays)}, this policy's state has {expected}; "
            "load it with the policy that saved it"
        )
    for name, leaf in leaves(like):
        wanted, got = np.shape(leaf), arrays[name].shape
        # The number of rows may differ, the rest of a row may not.
        same = wanted[1:] == got[1:] if name.startswith("rows") else wanted == got
        if not same:
            raise ConfigError(
                f"state file {path}: {name} has shape {got}, this policy's has {wanted}; load it "
                "with the policy that saved it, its fields included"
            )
        if arrays[name].dtype.kind not in "biuf":
            raise ConfigError(
                f"state file {path}: {name} holds {arrays[name].dtype}, it must hold numbers; the "
                "file is damaged or foreign"
            )
    loaded = iter([arrays[name] for name in expected])
    return _map(like, lambda leaf: next(loaded).astype(np.asarray(leaf).dtype, copy=False))
