"""Replay by a rule's own compiled loop, where that covers what is asked for.

It gives what the controller gives, cycle for cycle and bit for bit, some hundred times sooner.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.compiled_replay import CompiledReplay, CycleCounts, CyclePrices, Texts
from adaptive_spec.constraints import Constraints, Ledger
from adaptive_spec.controller import Controller
from adaptive_spec.costs import CostModel
from adaptive_spec.policy import NO_DRAFTER, Policy
from adaptive_spec.simulations.driven import Part
from adaptive_spec.simulations.results import CycleLog, DrafterShares, Replay
from adaptive_spec.traces.flat import FlatTrace

_MOST_PRICES = 1 << 28
"""By context, tau and widest tau: what a table of prices may take to work out, some seconds."""

_TOKENS_AT_ONCE = 1 << 20
"""Text of one call into compiled code, which can be neither watched nor interrupted."""


def compiled_rule(policy: Policy[Any, Any], drafters: int = 1) -> CompiledReplay | None:
    """The policy's own loop for so many drafters, unless its class has changed the rule since."""
    kinds = type(policy).__mro__
    own = next(kind for kind in kinds if "compiled_replay" in vars(kind))
    changed = {"init", "decide", "update"}.intersection(
        name for kind in kinds[: kinds.index(own)] for name in vars(kind)
    )
    return None if changed else policy.compiled_replay(drafters)


class CompiledReplays:
    """Replays sequences that are alone and to whom nothing is promised, one after the other.

    What the rule carries from one sequence to the next, it carries from trace to trace.
    """

    def __init__(self, controller: Controller, rule: CompiledReplay) -> None:
        """Sets up; the controller only says what it would have been asked for."""
        self._controller = controller
        self._rule = rule
        self._prices: CyclePrices | None = None
        self._done = Ledger()

    @staticmethod
    def of(controller: Controller, context_tokens: int) -> "CompiledReplays | None":
        """Replays of the controller's policy, at its costs; None where it must be driven.

        ``context_tokens``: of the longest context that is to be expected.
        """
        promised = controller.constraints.constraints
        if any(constraints != Constraints() for constraints in promised):
            return None
        depths = controller.max_draft_tokens + 1
        rows = controller.costs.table(depths - 1, 1, np.array([1, context_tokens])).shape[0]
        if rows > 1 and context_tokens * depths**2 > _MOST_PRICES:
            return None
        rule = compiled_rule(controller.policy, len(controller.drafters))
        return None if rule is None else CompiledReplays(controller, rule)

    def run(
        self,
        part: Part,
        *,
        log_cycles: bool = False,
        on_finished: Callable[[int], None] | None = None,
    ) -> Replay:
        """Replays sequences without signals or a clock; the rest is as in ``simulator.replay``."""
        flat, order = part.flat, _plain(part.order)
        texts = Texts(*(_plain(getattr(flat, name)) for name in Texts._fields))
        prices = self._prices_upto(int((flat.prompt_tokens + flat.num_tokens)[order].max()))
        tokens = np.zeros(flat.start.size, np.int64)
        tokens[order] = flat.num_tokens[order]
        counts = _counts(flat, int(tokens.sum()) if log_cycles else 1)
        pieces = tokens[order].cumsum() // _TOKENS_AT_ONCE
        for piece in np.split(order, np.flatnonzero(np.diff(pieces)) + 1):
            self._rule(piece, texts, prices, counts)
            if on_finished is not None:
                on_finished(piece.size)
        emitted, cycles = int(tokens.sum()), int(counts.cycles.sum())
        self._done = self._done.plus(Ledger(order.size, cycles, emitted))
        controller = self._controller
        first, *others = controller.constraints.names
        return Replay(
            tokens,
            counts.cycles,
            counts.num_draft_tokens.sum(axis=1),
            counts.num_accepted_tokens.sum(axis=1),
            counts.time_ms,
            float(counts.time_ms.sum()),
            np.zeros_like(tokens),
            {first: self._done, **dict.fromkeys(others, Ledger())},
            controller.feasibility,
            DrafterShares(flat.drafters, *counts[2:5]),
            _cycle_log(flat, counts) if log_cycles else None,
        )

    def _prices_upto(self, context_tokens: int) -> CyclePrices:
        """Prices of cycles in contexts up to that, kept for the next trace."""
        known = self._prices
        if known is None or 1 < known.shown_ms.shape[1] <= context_tokens:
            controller = self._controller
            self._prices = known = cycle_prices(
                controller.costs,
                controller.drafters,
                controller.max_draft_tokens,
                context_tokens,
            )
        return known


def cycle_prices(
    costs: CostModel, drafters: tuple[str, ...], max_draft_tokens: int, context_tokens: int
) -> CyclePrices:
    """What cycles take, as the controller and ``cycle_times`` have it for a batch of one.

    Args:
      costs: the cost model.
      drafters: names of the drafters.
      max_draft_tokens: K.
      context_tokens: of the longest context.
    """
    context = np.maximum(np.arange(context_tokens + 1), 1)
    own = [costs.of_drafter(name) for name in drafters]
    shown = [costs.table(max_draft_tokens, 1, context) for costs in own]
    if all(table.shape[0] == 1 for table in shown):
        context = context[:1]
    depths = range(max_draft_tokens + 1)
    draft = np.stack([_by_tau(costs.draft_ms, depths, context) for costs in own])
    draft[:, :, 0] = 0.0  # where nothing is drafted, nobody drafts
    return CyclePrices(
        np.stack([np.broadcast_to(table, draft.shape[1:]) for table in shown]),
        draft,
        _by_tau(costs.verify_ms, depths, context),
        np.array([costs.plain_ms]),
    )


def _by_tau(
    cost_ms: Callable[[IntArray, int, IntArray], FloatArray], depths: range, context: IntArray
) -> FloatArray:
    """A cost by context and tau, ``[C, K + 1]``."""
    columns = (np.full(context.size, tau, np.int64) for tau in depths)
    return np.stack([cost_ms(tau, 1, context) for tau in columns], axis=1)


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array without gaps, writeable: code is compiled once for each kind of array."""
    return np.require(array, None, ["C", "W"])


def _counts(flat: FlatTrace, most_cycles: int) -> CycleCounts:
    sequences, drafters = flat.draftable_tokens.shape
    drafter_cycles, drafted, accepted = np.zeros((3, sequences, drafters), np.int64)
    return CycleCounts(
        np.zeros(sequences, np.int64),
        np.zeros(sequences),
        drafter_cycles,
        drafted,
        accepted,
        np.zeros((most_cycles, 6), np.int64),
        np.zeros(most_cycles),
        np.zeros(1, np.int64),
    )


def _cycle_log(flat: FlatTrace, counts: CycleCounts) -> CycleLog:
    logged = int(counts.logged[0])
    sequence, position, tau, source, drafted, accepted = counts.log[:logged].T
    return CycleLog(
        sequence,
        position,
        tau,
        drafted,
        accepted,
        np.minimum(accepted + 1, flat.num_tokens[sequence] - position),
        counts.log_ms[:logged],
        np.where(drafted > 0, source, NO_DRAFTER),
        np.ones_like(tau),
    )
