"""``check_policy``: the properties that every policy must have, tried on random histories.

Hypothesis makes up request histories (admissions, cancellations, late outcomes, extreme times and
prices) and shrinks a failure to a small one. What is checked:

- the decision: one integer per row, ``min_tau <= tau <= max_tau``; a drafter that is available;
- purity: ``decide``, ``keep_drafting`` and ``update`` change neither their arguments nor the
  policy's fields, and repeat themselves;
- determinism: the same history and seed give the same decisions, so that nothing is blamed on rows,
  on states or on the play where a policy draws random numbers of its own;
- independence: unless state is shared, a row's decision and new state do not depend on other rows;
- sanity: states stay free of NaN and keep their shapes and dtypes, whatever the outcomes;
- snapshots: a saved and reloaded state decides as the original.
"""

import copy
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec._optional import require
from adaptive_spec.errors import AdaptiveSpecError
from adaptive_spec.policy import Cycle, Decision, DraftSignals, Outcome, Policy, State
from adaptive_spec.registry import make_policy
from adaptive_spec.state import (
    is_empty,
    leaves,
    load_state,
    save_state,
    take_cycle,
    take_decision,
    take_outcome,
    take_rows,
)
from adaptive_spec.testing.histories import History, Play, play

_OWN_DRAWS = "draw from adaptive_spec.randomness, keyed by the cycle"

_ASKED_AGAIN = 20
"""Times that a policy is asked the same again before anything but its own draws is blamed."""


class PolicyCheckError(AdaptiveSpecError, AssertionError):
    """A policy lacks a property that every policy must have."""


def check_policy(policy: str | Policy[Any, Any], *, max_examples: int | None = None) -> None:
    """Tries a policy on random histories.

    Args:
      policy: a policy or its spec.
      max_examples: histories to try; None leaves it to the hypothesis profile in force.

    Raises:
      PolicyCheckError: a property does not hold; hypothesis prints the smallest history found.
      MissingDependencyError: hypothesis is not installed.
    """
    hypothesis = require("hypothesis", "testing")
    from adaptive_spec.testing.strategies import histories

    built = make_policy(policy)

    def holds(history: History) -> None:
        check_history(built, history)

    test = hypothesis.given(histories())(holds)
    # The lines that failing histories run, which ``explain`` would find out at length, are ours.
    phases = set(hypothesis.settings().phases) - {hypothesis.Phase.explain}
    settings: dict[str, Any] = {"deadline": None, "phases": phases}
    if max_examples is not None:
        settings["max_examples"] = max_examples
    try:
        hypothesis.settings(**settings)(test)()
    except hypothesis.errors.Flaky as error:
        raise PolicyCheckError(
            f"{type(built).__name__}: the same history goes differently each time; {_OWN_DRAWS}"
        ) from error


def check_history(policy: Policy[Any, Any], history: History) -> None:
    """Checks all properties of a policy on one history.

    Raises:
      PolicyCheckError: the first property found missing.
    """
    fields = copy.deepcopy(_fields(policy))
    audit = Audit(policy)
    audited = Play(audit, history)
    first = list(audited)
    _demand(fields == _fields(policy), policy, "its own fields changed; what it learns is state")
    again = play(policy, history)
    same = len(first) == len(again) and all(
        np.array_equal(a.tau, b.tau) and np.array_equal(a.drafter, b.drafter)
        for a, b in zip(first, again, strict=True)
    )
    _demand(same, policy, f"the same history and seed gave other decisions; {_OWN_DRAWS}")
    audit.check_snapshot()


class Audit(Policy[Any, Any]):
    """A policy in a glass box: passes every call on and checks what comes back."""

    def __init__(self, inner: Policy[Any, Any]) -> None:
        """Wraps ``inner``."""
        self.inner = inner
        self.decided: tuple[State[Any, Any], Cycle, Decision] | None = None

    @property
    def looks_inside_draft(self) -> bool:
        return self.inner.looks_inside_draft

    @property
    def looks_back(self) -> bool:  # type: ignore[override]
        return self.inner.looks_back

    @property
    def takes_hints(self) -> bool:  # type: ignore[override]
        return self.inner.takes_hints

    @property
    def heeds_prices(self) -> bool:  # type: ignore[override]
        return self.inner.heeds_prices

    def init(self, num_sequences: int, seed: int) -> State[Any, Any]:
        state = self.inner.init(num_sequences, seed)
        _demand(isinstance(state, State), self.inner, "init must return a State(rows, shared)")
        for name, leaf in leaves(state):
            named = not any(part.isdigit() for part in name.split("."))
            _demand(
                isinstance(leaf, np.ndarray) and named,
                self.inner,
                f"init: {name} must be in a NamedTuple of arrays, got {type(leaf).__name__}",
            )
        for name, leaf in leaves(state.rows):
            _demand(
                bool(leaf.shape[:1] == (num_sequences,)),
                self.inner,
                f"init: rows.{name} must be an array with one row per sequence",
            )
        if num_sequences == 1:
            three = self.inner.init(3, seed)
            alike = all(_equal(take_rows(three.rows, np.array([i])), state.rows) for i in range(3))
            _demand(alike, self.inner, "init: rows must all be alike, whatever their number")
        return state

    def decide(self, state: State[Any, Any], cycle: Cycle) -> Decision:
        before = _copied(state, cycle)
        decision = self.inner.decide(state, cycle)
        self._check_decision(decision, cycle)
        self.decided = (state, cycle, decision)
        unchanged = _equal(before, (state, cycle))
        _demand(unchanged, self.inner, "decide must not change its arguments")

        def steady() -> bool:
            return _same_choice(self.inner.decide(state, cycle), decision)

        _demand(steady(), self.inner, f"decide must repeat itself: {_OWN_DRAWS}")
        some = np.arange(0, cycle.max_tau.size, 2)
        if is_empty(state.shared) and some.size:
            alone = self.inner.decide(_rows_of(state, some), take_cycle(cycle, some))
            chosen = None if decision.drafter is None else decision.drafter[some]
            if not _same_choice(alone, Decision(decision.tau[some], drafter=chosen)):
                self._blame(
                    "decide",
                    "a row's tau or drafter depends on other rows, though no state is shared",
                    steady,
                )
        return decision

    def _check_decision(self, decision: Decision, cycle: Cycle) -> None:
        _demand(isinstance(decision, Decision), self.inner, "decide must return a Decision(tau)")
        _demand(
            isinstance(decision.tau, np.ndarray)
            and decision.tau.shape == cycle.max_tau.shape
            and np.issubdtype(decision.tau.dtype, np.integer),
            self.inner,
            "decide: tau must be one integer per row (use cycle.clip)",
        )
        within = (decision.tau >= cycle.min_tau) & (decision.tau <= cycle.max_tau)
        _demand(
            bool(within.all()),
            self.inner,
            f"decide: tau {decision.tau.tolist()} outside {cycle.min_tau.tolist()}.."
            f"{cycle.max_tau.tolist()} (use cycle.clip)",
        )
        if decision.drafter is not None:
            self._check_drafter(decision.drafter, cycle)
        for name, leaf in leaves(decision.memo) if decision.memo is not None else ():
            _demand(
                isinstance(leaf, np.ndarray) and leaf.shape[:1] == decision.tau.shape,
                self.inner,
                f"decide: memo {name} must be an array with one row per sequence",
            )

    def _check_drafter(self, drafter: IntArray, cycle: Cycle) -> None:
        _demand(
            isinstance(drafter, np.ndarray)
            and drafter.shape == cycle.max_tau.shape
            and np.issubdtype(drafter.dtype, np.integer),
            self.inner,
            "decide: drafter must be one integer per row, or None",
        )
        there = {(row, index) for row, index in np.argwhere(cycle.available).tolist()}
        there |= set(enumerate(cycle.drafter.tolist()))
        _demand(
            set(enumerate(drafter.tolist())) <= there,
            self.inner,
            f"decide: drafter {drafter.tolist()} must be available, or the default",
        )

    def keep_drafting(
        self,
        state: State[Any, Any],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        before = _copied(state, cycle, decision, signals)
        on = self.inner.keep_drafting(state, cycle, decision, depth, signals)
        _demand(
            isinstance(on, np.ndarray) and on.dtype == np.bool_ and on.shape == cycle.max_tau.shape,
            self.inner,
            "keep_drafting must return one boolean per row",
        )
        _demand(
            _equal(before, (state, cycle, decision, signals)),
            self.inner,
            "keep_drafting must not change its arguments",
        )

        def steady() -> bool:
            repeated = self.inner.keep_drafting(state, cycle, decision, depth, signals)
            return np.array_equal(repeated, on)

        _demand(steady(), self.inner, f"keep_drafting must repeat itself: {_OWN_DRAWS}")
        some = np.arange(0, cycle.max_tau.size, 2)
        if is_empty(state.shared) and some.size:
            alone = self.inner.keep_drafting(
                _rows_of(state, some),
                take_cycle(cycle, some),
                take_decision(decision, some),
                depth,
                take_rows(signals, some),
            )
            if not np.array_equal(alone, on[some]):
                self._blame(
                    "keep_drafting",
                    "a row depends on other rows, though no state is shared",
                    steady,
                )
        return on

    def update(self, state: State[Any, Any], outcome: Outcome) -> State[Any, Any]:
        cycle = outcome.cycle
        before = _copied(state, outcome)
        updated = self.inner.update(state, outcome)
        _demand(
            _equal(before, (state, outcome)), self.inner, "update must not change its arguments"
        )
        _demand(isinstance(updated, State), self.inner, "update must return a State(rows, shared)")
        old, new = dict(leaves(state)), dict(leaves(updated))
        for name, leaf in new.items():
            _demand(
                name in old and leaf.shape == old[name].shape and leaf.dtype == old[name].dtype,
                self.inner,
                f"update: {name} changed its shape or dtype",
            )
            finite = not np.issubdtype(leaf.dtype, np.floating) or not np.isnan(leaf).any()
            _demand(finite, self.inner, f"update: {name} has NaN")

        def steady() -> bool:
            return _equal(self.inner.update(state, outcome), updated)

        _demand(steady(), self.inner, f"update must repeat itself: {_OWN_DRAWS}")
        some = np.arange(0, cycle.max_tau.size, 2)
        if is_empty(state.shared) and some.size:
            alone = self.inner.update(_rows_of(state, some), take_outcome(outcome, some))
            if not _equal(alone.rows, take_rows(updated.rows, some)):
                self._blame(
                    "update",
                    "a row's state depends on other rows, though no state is shared",
                    steady,
                )
        return updated

    def _blame(self, method: str, what: str, steady: Callable[[], bool]) -> NoReturn:
        """Reports ``what``, unless ``method`` answers otherwise whatever the rows or the state."""
        if all(steady() for _ in range(_ASKED_AGAIN)):
            raise PolicyCheckError(f"{type(self.inner).__name__}: {method}: {what}")
        raise PolicyCheckError(
            f"{type(self.inner).__name__}: {method} must repeat itself: {_OWN_DRAWS}"
        )

    def check_snapshot(self) -> None:
        """A state that was saved and loaded is the same, and decides the same."""
        if self.decided is None:
            return
        state, cycle, decision = self.decided
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state.npz"
            save_state(state, path)
            loaded = load_state(path, like=self.inner.init(0, 0))
        _demand(_equal(loaded, state), self.inner, "a saved state must load as it was")
        if not _same_choice(self.inner.decide(loaded, cycle), decision):
            self._blame(
                "decide",
                "a state that was saved and loaded decides otherwise",
                lambda: _same_choice(self.inner.decide(state, cycle), decision),
            )


def _same_choice(a: Decision, b: Decision) -> bool:
    if a.drafter is None or b.drafter is None:
        return np.array_equal(a.tau, b.tau) and a.drafter is b.drafter
    return np.array_equal(a.tau, b.tau) and np.array_equal(a.drafter, b.drafter)


def _fields(policy: Policy[Any, Any]) -> dict[str, Any]:
    if not dataclasses.is_dataclass(policy):
        return {}
    return {field.name: getattr(policy, field.name) for field in dataclasses.fields(policy)}


def _demand(condition: bool, policy: Policy[Any, Any], what: str) -> None:
    if not condition:
        raise PolicyCheckError(f"{type(policy).__name__}: {what}")


def _rows_of(state: State[Any, Any], index: IntArray) -> State[Any, Any]:
    return State(take_rows(state.rows, index), state.shared)


def _copied(*records: Any) -> tuple[Any, ...]:
    """Arrays of nested tuples, copied, and whatever else is in them; in the order of ``leaves``."""
    return tuple(
        leaf.copy() if isinstance(leaf, np.ndarray) else leaf for _, leaf in leaves(records)
    )


def _equal(a: Any, b: Any) -> bool:
    """Whether two nested tuples hold equal leaves, in order; NaN equals NaN."""
    left, right = list(leaves(a)), list(leaves(b))
    return len(left) == len(right) and all(
        _same_leaf(x, y) for (_, x), (_, y) in zip(left, right, strict=True)
    )


def _same_leaf(x: Any, y: Any) -> bool:
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        return np.array_equal(x, y, equal_nan=np.issubdtype(x.dtype, np.floating))
    return x is y or (type(x) is type(y) and bool(x == y))
