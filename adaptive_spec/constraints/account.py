"""What is known of one class of requests: its books, its credit, and what its cycles bring."""

import math
from collections import deque

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec._rows import UNLIMITED_PASSES
from adaptive_spec.constraints import bucket
from adaptive_spec.constraints.bucket import Payment
from adaptive_spec.constraints.feasibility import FEWEST_REQUESTS, Feasibility, assess
from adaptive_spec.constraints.frontier import Recent
from adaptive_spec.constraints.ledger import Ledger
from adaptive_spec.constraints.pass_budget import PassBudget
from adaptive_spec.constraints.promises import Constraints
from adaptive_spec.constraints.survival import Survival

_KEPT_REQUESTS = 256
"""Finished requests that feasibility is judged by."""
_JUDGED_EVERY = 5
"""Finished requests between two judgements."""
_NEWEST_CYCLE = 1.0 / 64.0
"""Weight of the newest cycle in what a cycle costs."""

_Request = tuple[int, int, float, float, list[int], list[int]]
"""A finished request's columns of ``Recent``, in that order."""


class Account:
    """The account of a class of requests.

    Attributes:
      constraints: what it was promised.
      ledger: what its finished requests took.
      running: requests now.
      pool: credit of a hard budget that no request has as its own, in passes; infinite until a hard
        average is promised for the first time.
      feasibility: the last judgement.
    """

    def __init__(self, constraints: Constraints, max_draft_tokens: int) -> None:
        """Opens an account, its pool full."""
        self.constraints = constraints
        self.ledger = Ledger()
        self.running = 0
        self.pool = math.inf
        self._fill(0.0)
        self.feasibility = Feasibility(0)
        self._survival = Survival.fresh(max_draft_tokens)
        self._finished: deque[_Request] = deque(maxlen=_KEPT_REQUESTS)
        self._cycle_ms, self._cycles_seen = np.zeros(max_draft_tokens + 1), 0
        self._lengths = np.zeros(0, np.int64)

    def change(self, constraints: Constraints) -> None:
        """Other promises from now on; the books go on.

        A pool is cut to its new size, and full only when a hard average is promised for the first
        time: no credit is made by changing promises back and forth.
        """
        self.constraints = constraints
        self._fill(0.0)

    @property
    def own_passes(self) -> float:
        """Credit that a request brings."""
        return 0.0 if self._hard is None else self._hard.average_passes or 0.0

    def granted(
        self, own: FloatArray, passes: IntArray, most: IntArray, age: IntArray
    ) -> BoolArray:
        """Which requests may take one more pass, ``[B]``.

        Args:
          own: ``[B]`` credit of their own that they have left.
          passes: ``[B]`` taken so far.
          most: ``[B]`` that they may take by their own limits.
          age: ``[B]`` number of the request; lower ones came before.
        """
        allowed: BoolArray = passes < self._most_passes(most)
        if self._hard is not None:
            wanted = np.where(allowed, bucket.wanted_from_pool(own), 0.0)
            allowed &= bucket.granted(self.pool, wanted, age)
        return allowed

    def passes_left(self, own: FloatArray, passes: IntArray, most: IntArray) -> IntArray | None:
        """Passes that each request can count on, ``[B]``, >= 1; None for any number."""
        most, left = self._most_passes(most), None
        if (most < UNLIMITED_PASSES).any():
            left = np.maximum(most - passes, 1)
        if self._hard is not None:
            credit = bucket.passes_left(self.pool, self.running, own)
            left = credit if left is None else np.minimum(left, credit)
        return left

    def take(self, own: FloatArray, age: IntArray) -> Payment:
        """Pays for a pass of each of these requests, ``[B]``; passes are free without a limit."""
        if self._hard is None:
            return Payment.nothing(own.size)
        paid = bucket.payment(self.pool, own, age)
        self.pool = max(self.pool - float(paid.pool.sum()), 0.0)
        return paid

    def refund(self, paid: Payment) -> None:
        """Takes passes back for which this was paid; the requests' own credit is their affair."""
        self._fill(float(paid.pool.sum()))

    def see(
        self, accepted: IntArray, refused: IntArray, modelled_ms: FloatArray, measured: float
    ) -> None:
        """Learns from cycles.

        Args:
          accepted: ``[n]`` accepted draft tokens.
          refused: ``[n]`` whether the next one is known to fail, as in ``Survival.after``.
          modelled_ms: ``[K + 1]`` time of a cycle at every tau, by the cost model.
          measured: time that the cycles took, over the model's.
        """
        self._survival = self._survival.after(accepted, refused)
        weight = max(1.0 / (1.0 + self._cycles_seen), _NEWEST_CYCLE)
        self._cycle_ms = (1 - weight) * self._cycle_ms + weight * measured * modelled_ms
        self._cycles_seen += 1

    def leave(
        self,
        own: FloatArray,
        passes: IntArray,
        tokens: IntArray,
        waited_ms: FloatArray,
        decode_ms: FloatArray,
        cycles_by_tau: IntArray,
        cycles_by_accepted: IntArray,
        *,
        finished: bool,
    ) -> None:
        """Books requests that end, ``[n]``; cancelled ones leave their credit and no more.

        The rest is as in ``Recent``, but for ``own``: credit of their own that they have left.
        """
        self.running -= passes.size
        self._fill(float(own.sum()))
        if not finished:
            return
        columns = (tokens, passes, waited_ms, decode_ms, cycles_by_tau, cycles_by_accepted)
        for request in zip(*(column.tolist() for column in columns), strict=True):
            emitted, spent, waited, decoded, *_ = request
            self.ledger = self.ledger.settle(
                self.constraints, spent, emitted, waited + decoded, self.feasibility
            )
            if not self.constraints.shared:
                continue
            self._finished.append(request)
            if self.ledger.requests % _JUDGED_EVERY == 0:
                self.feasibility = self._judge()
                self._lengths = np.sort([emitted for emitted, *_ in self._finished])

    def _judge(self) -> Feasibility:
        """Whether what was promised can be kept."""
        if len(self._finished) < FEWEST_REQUESTS or not self.knows_drafts:
            return Feasibility(len(self._finished))
        tokens, passes, waited_ms, decode_ms, by_tau, by_accepted = map(
            np.array, zip(*self._finished, strict=True)
        )
        recent = Recent(tokens, passes, waited_ms, decode_ms, by_tau, by_accepted, self._cycle_ms)
        return assess(self.constraints, recent, self._survival)

    def expected_tokens(self, emitted: IntArray, remaining: IntArray) -> FloatArray:
        """Tokens that requests are likely to emit yet, ``[B]``, > 0.

        As many as finished ones did that had got so far, at most ``remaining``.
        """
        lengths = self._lengths
        longer = np.searchsorted(lengths, emitted, side="right")
        count = lengths.size - longer
        total = np.append(lengths[::-1].cumsum()[::-1], 0)[longer]
        mean = np.where(count > 0, total / np.maximum(count, 1) - emitted, np.inf)
        likely: FloatArray = np.minimum(np.maximum(mean, 1.0), remaining)
        return likely

    @property
    def tokens_per_pass(self) -> float:
        """Of finished requests; 1 before the first."""
        return self.ledger.tokens / self.ledger.passes if self.ledger.passes else 1.0

    @property
    def ms_per_token(self) -> float:
        """Of decoding, by recent requests; NaN before the first."""
        decoded = math.fsum(ms for _, _, _, ms, *_ in self._finished)
        tokens = sum(emitted for emitted, *_ in self._finished)
        return decoded / tokens if tokens and decoded > 0 else math.nan

    @property
    def knows_drafts(self) -> bool:
        """Whether enough drafts were seen to tell what longer ones would bring."""
        return self._survival.seen >= FEWEST_REQUESTS

    @property
    def fastest_tau(self) -> int | None:
        """The tau of the least latency; None while unknown."""
        seen = self.feasibility.frontier
        return None if seen is None else int(seen.latency_ms.argmin())

    def _fill(self, passes: float) -> None:
        """Puts credit into the pool, which holds no more than the burst."""
        most = math.inf if self._hard is None else self._hard.burst_passes
        self.pool = min(self.pool + passes, most)

    def _most_passes(self, most: IntArray) -> IntArray:
        """Most passes of requests that allow themselves ``most``, by what is promised of each."""
        budget = self.constraints.budget
        if budget is None or budget.max_passes is None:
            return most
        return np.minimum(most, budget.max_passes)

    @property
    def _hard(self) -> PassBudget | None:
        """The budget, where it is a hard one."""
        budget = self.constraints.budget
        return budget if budget is not None and budget.hard else None
