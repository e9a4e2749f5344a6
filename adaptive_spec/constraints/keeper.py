"""Keeps what was promised: the part of the controller that knows budgets and latency targets.

Live decoding, the simulator and serving adapters share it through the controller, so that what is
promised is accounted in the same way, pass for pass.
"""

import math
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec._rows import UNLIMITED_PASSES, UNLIMITED_TOKENS, Counters
from adaptive_spec.constraints.account import Account
from adaptive_spec.constraints.bucket import Payment
from adaptive_spec.constraints.ledger import Ledger
from adaptive_spec.constraints.prices import least_tau, pass_price, urgency
from adaptive_spec.constraints.promises import ByClass, Constraints
from adaptive_spec.errors import ConfigError
from adaptive_spec.policy import Outcome

_GOLDEN = 0.6180339887498949
"""Its multiples are spread over [0, 1) as evenly as can be (Weyl's sequence)."""
_OWN_PACE_TOKENS = 8.0
"""A request's own pace counts as much as that of its class after so many tokens."""


class EndReason(IntEnum):
    """Why the keeper ends a request; the lower-case name is its ``finish_reason``."""

    NONE = 0
    BUDGET = 1
    DEADLINE = 2


class Terms(NamedTuple):
    """What a cycle is decided under, ``[B]``.

    Attributes:
      pass_price: of a verifier pass, in plain passes.
      min_tau, max_tau: least and largest tau allowed; the least may be above the largest.
    """

    pass_price: FloatArray
    min_tau: IntArray
    max_tau: IntArray


class Keeper:
    """Accounts of all classes of requests.

    Attributes:
      by_class: what was promised.
      accounts: of each class.
      shared: whether what one request spends matters to others.
    """

    def __init__(self, by_class: ByClass, max_draft_tokens: int, *, heeds_prices: bool) -> None:
        """Opens the accounts.

        Args:
          by_class: what is promised.
          max_draft_tokens: K.
          heeds_prices: whether the policy weighs prices; if not, least and largest tau make it.
        """
        self.by_class = by_class
        self._max_draft_tokens = max_draft_tokens
        self._heeds_prices = heeds_prices
        self.accounts = [Account(promised, max_draft_tokens) for promised in by_class.constraints]
        self._take_note()

    @property
    def ledger(self) -> Ledger:
        """The books of all classes together."""
        total = Ledger()
        for account in self.accounts:
            total = total.plus(account.ledger)
        return total

    def change(self, by_class: ByClass) -> None:
        """Other promises from now on, for the classes that there are, and for new ones.

        Raises:
          ConfigError: a class is missing, or they come in another order.
        """
        known = len(self.accounts)
        if by_class.names[:known] != self.by_class.names:
            raise ConfigError(
                f"constraints: classes {', '.join(by_class.names)}; the first must be those that "
                f"there are, {', '.join(self.by_class.names)}, and new ones come after them"
            )
        self.by_class = by_class
        for account, promised in zip(self.accounts, by_class.constraints, strict=False):
            account.change(promised)
        for promised in by_class.constraints[known:]:
            self.accounts.append(Account(promised, self._max_draft_tokens))
        self._take_note()

    def _take_note(self) -> None:
        """What every cycle asks of the promises, once for all of them."""
        promised = self.by_class.constraints
        self.shared = any(own.shared for own in promised)
        self._nothing_promised = all(own == Constraints() for own in promised)

    def admit(self, request_class: IntArray) -> FloatArray:
        """The credit that new requests bring, ``[n]``.

        Raises:
          ConfigError: a class that there is not.
        """
        if request_class.size and not (
            request_class.min() >= 0 and request_class.max() < len(self.accounts)
        ):
            raise ConfigError(
                f"request_class: {request_class.tolist()[:8]}; allowed are 0 to "
                f"{len(self.accounts) - 1}, for {', '.join(self.by_class.names)}"
            )
        for account, at in self._classes(request_class):
            account.running += request_class[at].size
        return self.promised_passes(request_class)

    def promised_passes(self, request_class: IntArray) -> FloatArray:
        """The credit that hard averages promise each request, ``[n]``."""
        promised = np.zeros(request_class.size)
        for account, at in self._classes(request_class):
            promised[at] = account.own_passes
        return promised

    def ended(self, now: Counters, plain_ms: Callable[[], FloatArray]) -> IntArray:
        """``EndReason`` of each request, ``[B]``: NONE for those that may take another pass.

        Args:
          now: of the requests.
          plain_ms: gives the time of their next cycle at least, ``[B or 1]``.
        """
        reason = np.full(now.passes.shape, EndReason.NONE, np.int64)
        for account, at in self._classes(now.request_class):
            promised = account.constraints
            if not reason.size or not (promised.can_end_requests or _limit_themselves(now)):
                continue
            budget, latency = promised.budget, promised.latency
            if latency is not None and latency.deadline_ms is not None:
                end_ms = (now.waited_ms + now.elapsed_ms + plain_ms())[at]
                reason[at] = np.where(end_ms > latency.deadline_ms, EndReason.DEADLINE, reason[at])
            if budget is None or budget.when_spent == "end":
                some = now.take(at)
                granted = account.granted(
                    some.own_passes, some.passes, some.most_passes, some.sequence_id
                )
                reason[at] = np.where(granted, reason[at], EndReason.BUDGET)
        return reason

    def terms(
        self,
        now: Counters,
        remaining: IntArray,
        max_tau: IntArray,
        cycle_ms: Callable[[], FloatArray],
    ) -> Terms | None:
        """What the next cycle of these requests is decided under; None where nothing is promised.

        Args:
          now: of the requests.
          remaining: ``[B]`` tokens that they may still emit, >= 1.
          max_tau: ``[B]`` largest tau for other reasons.
          cycle_ms: gives the time of a cycle, by tau, ``[B or 1, K + 1]``.
        """
        if self._nothing_promised and not _limit_themselves(now):
            return None
        price = np.zeros(max_tau.shape)
        least, most = np.zeros_like(max_tau), max_tau.copy()
        for account, at in self._classes(now.request_class):
            some = now.take(at)
            price[at] = _price(account, some, remaining[at])
            asked = self._least_tau(account, some, remaining[at], max_tau[at], price[at])
            most[at] = self._largest_tau(account, some, max_tau[at], asked, cycle_ms, at)
            least[at] = np.maximum(asked, self._hurried_tau(account, some))
        return Terms(price, least, most)

    def take(self, now: Counters) -> Payment:
        """Pays for a pass of each of these requests, ``[B]``."""
        paid = Payment.nothing(now.passes.size)
        for account, at in self._classes(now.request_class):
            paid.own[at], paid.pool[at] = account.take(now.own_passes[at], now.sequence_id[at])
        return paid

    def refund(self, request_class: IntArray, paid: Payment) -> None:
        """Takes back passes, ``[B]``, for which this was paid."""
        for account, at in self._classes(request_class):
            account.refund(paid.take(at))

    def see(self, request_class: IntArray, outcome: Outcome, asked: IntArray) -> None:
        """Learns what cycles bring, and what they cost.

        Args:
          request_class: ``[B]`` of the outcome's requests.
          outcome: of their cycles.
          asked: ``[B]`` draft tokens, from ``asked_tau``.
        """
        drafted, cycle = outcome.num_draft_tokens, outcome.cycle
        # A drafter that had nothing more to propose would have had nothing in a longer draft.
        gave_out = (drafted < asked) & (outcome.num_accepted_tokens == drafted)
        refused = outcome.rejected | gave_out | ~cycle.available.any(axis=1)
        table = cycle.times_ms()
        table = np.broadcast_to(table, (drafted.size, table.shape[1]))
        modelled = table[np.arange(drafted.size), drafted]
        for account, at in self._classes(request_class):
            if account.constraints.shared:
                account.see(
                    outcome.num_accepted_tokens[at],
                    refused[at].astype(np.int64),
                    table[at].mean(axis=0),
                    float(outcome.cycle_ms[at].sum() / modelled[at].sum()),
                )

    def leave(self, now: Counters, *, finished: bool) -> None:
        """Books requests that end."""
        for account, at in self._classes(now.request_class):
            some = now.take(at)
            account.leave(
                some.own_passes,
                some.passes,
                some.emitted_tokens,
                some.waited_ms,
                some.elapsed_ms,
                some.cycles_by_tau,
                some.cycles_by_accepted,
                finished=finished,
            )

    def _least_tau(
        self,
        account: Account,
        now: Counters,
        remaining: IntArray,
        max_tau: IntArray,
        price: FloatArray,
    ) -> IntArray:
        """Least tau with which the request can still keep its budget, ``[B]``.

        With ``m`` passes left and ``r`` tokens to go, none can finish unless it drafts
        ``ceil(r / m) - 1`` tokens a cycle or more. In the last pass where ``r`` is unknown, and
        where no pass is left, drafts are as long as they may be.
        """
        least = np.zeros_like(max_tau)
        left = account.passes_left(now.own_passes, now.passes, now.most_passes)
        if left is not None:
            unknown = remaining > UNLIMITED_TOKENS // 2
            needed = np.where(unknown, 0, -(-remaining // left) - 1)
            least = np.where(unknown & (left == 1), max_tau, needed)
            over = ~account.granted(now.own_passes, now.passes, now.most_passes, now.sequence_id)
            least = np.where(over, max_tau, least)
        if price.any():
            pushed = least_tau(price, _phase(now), max_tau, heeded=self._heeds_prices)
            least = np.maximum(least, pushed)
        return least

    def _hurried_tau(self, account: Account, now: Counters) -> IntArray:
        """Least tau where requests are late, ``[B]``.

        Until it is known what drafts bring, tokens are drafted to see; whether the target can be
        kept is not known before. A rule that knows no prices comes nearer to the fastest tau.
        """
        late, fastest = account.ledger.late_price(account.constraints), account.fastest_tau
        if late > 0 and not account.knows_drafts:
            return np.ones_like(now.passes)
        if late > 0 and fastest is not None and not self._heeds_prices:
            return np.floor(fastest * late / (1.0 + late) + _phase(now)).astype(np.int64)
        return np.zeros_like(now.passes)

    def _largest_tau(
        self,
        account: Account,
        now: Counters,
        max_tau: IntArray,
        least: IntArray,
        cycle_ms: Callable[[], FloatArray],
        at: Any,
    ) -> IntArray:
        """Largest tau with which the request can still keep its latency, ``[B]``.

        No cycle may end after the deadline; and where requests are late, a rule that knows no
        prices comes nearer to the fastest tau, as far as its budget, which comes before the target,
        leaves room: not below ``least``.
        """
        latency, most = account.constraints.latency, max_tau
        if latency is None:
            return most
        if latency.deadline_ms is not None:
            room = latency.deadline_ms - now.waited_ms - now.elapsed_ms
            table = cycle_ms()
            table = table if table.shape[0] == 1 else table[at]
            most = np.minimum(most, np.maximum((table <= room[:, None]).sum(axis=1) - 1, 0))
        late, fastest = account.ledger.late_price(account.constraints), account.fastest_tau
        if not self._heeds_prices and late > 0 and fastest is not None:
            spare = (self._max_draft_tokens - fastest) / (1.0 + late)
            most = np.minimum(most, np.maximum(fastest + int(spare), least))
        return most

    def _classes(self, request_class: IntArray) -> Iterator[tuple[Account, Any]]:
        """Accounts concerned, each with the index of its requests, at least one."""
        if len(self.accounts) == 1:
            if request_class.size:
                yield self.accounts[0], slice(None)
            return
        for i in np.unique(request_class).tolist():
            yield self.accounts[i], np.flatnonzero(request_class == i)


def asked_tau(outcome: Outcome, looks_inside: bool) -> IntArray:
    """Draft tokens that were asked for, ``[B]``: tau, or what was drafted until a policy stopped.

    Args:
      outcome: of cycles.
      looks_inside: whether the policy may have stopped drafts.
    """
    if not looks_inside:
        return outcome.tau
    return np.where(outcome.num_draft_tokens > 0, outcome.num_draft_tokens, outcome.tau)


def _limit_themselves(now: Counters) -> bool:
    """Whether any request has a limit of its own."""
    return bool((now.most_passes < UNLIMITED_PASSES).any())


def _phase(now: Counters) -> FloatArray:
    """What deals fractions of tau out over cycles, ``[B]``, in [0, 1)."""
    phase: FloatArray = np.mod((now.sequence_id + now.passes) * _GOLDEN, 1.0)
    return phase


def _price(account: Account, now: Counters, remaining: IntArray) -> FloatArray:
    """Price of the next pass, ``[B]``, in plain passes."""
    promised, ledger = account.constraints, account.ledger
    price, late = ledger.pass_price(promised), ledger.late_price(promised)
    target_ms = None if promised.latency is None else promised.latency.target_ms
    flat = np.full(now.passes.shape, price)
    if target_ms is None or price == 0.0 or late == 0.0:
        return flat
    common = account.ms_per_token
    if math.isnan(common):
        return flat
    expected = account.expected_tokens(now.emitted_tokens, remaining)
    pace: FloatArray = (now.elapsed_ms + _OWN_PACE_TOKENS * common) / (
        now.emitted_tokens + _OWN_PACE_TOKENS
    )
    slack = target_ms - now.waited_ms - now.elapsed_ms - expected * pace
    return pass_price(price, late, urgency(slack, expected, pace, account.tokens_per_pass))
