"""The interface of a policy: what it is shown, what it decides, and what it learns from.

A policy decides for all running sequences at once. Its hyperparameters are the fields of a frozen
dataclass; its state goes in and comes out::

    state = policy.init(num_sequences, seed)
    decision = policy.decide(state, cycle)      # tau for each sequence
    state = policy.update(state, outcome)       # learn from what verification showed

All three are pure: they change neither their arguments nor the policy. ``B`` below is the number
of sequences in the call (rows), ``K`` the largest draft allowed (``Cycle.max_draft_tokens``).
"""

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.hints import Hints
from adaptive_spec.runs import Runs

RowsT = TypeVar("RowsT")
SharedT = TypeVar("SharedT")

UNKNOWN_AGREEMENT = -1

MAX_TAU = 1024
"""No controller allows a longer draft."""

MAX_DRAFTERS = 8
"""No composition has more, so that a policy can hold something for each of them."""

NO_DRAFTER = -1


class State(NamedTuple, Generic[RowsT, SharedT]):
    """A policy's state in two explicit parts.

    Attributes:
      rows: a (possibly empty) NamedTuple of arrays whose leading axis is the sequence,
        ``[B, ...]``. Rows are gathered, scattered, admitted and released by the controller.
      shared: a (possibly empty) NamedTuple of arrays that all sequences share. A policy whose
        ``shared`` is empty treats every sequence as if it were alone, and is simulated in parallel.
    """

    rows: RowsT
    shared: SharedT


class Empty(NamedTuple):
    """A part of a state that holds nothing."""


class Cycle(NamedTuple):
    """What a policy may look at before it decides. One row per sequence unless stated.

    Attributes:
      sequence_id: ``[B]`` number of the sequence, unique over the controller's life; with
        ``cycle_index`` the key for reproducible randomness (``adaptive_spec.randomness``).
      cycle_index: ``[B]`` cycles decided for this sequence before this one, >= 0.
      prompt_tokens: ``[B]`` length of the prompt, >= 1.
      emitted_tokens: ``[B]`` tokens emitted so far (outcomes still under way are not in it).
      remaining_tokens: ``[B]`` tokens that may still be emitted, >= 1; an upper bound, since a
        sequence may end earlier.
      passes: ``[B]`` verifier passes spent so far, those under way included.
      elapsed_ms: ``[B]`` time spent decoding the sequence so far.
      min_tau: ``[B]`` least tau allowed (above 0 only under a pass budget).
      max_tau: ``[B]`` largest tau allowed, ``min_tau <= max_tau <= K``.
      max_draft_tokens: K, the largest tau of any sequence.
      batch_size: sequences that share the verifier pass.
      pass_price_ms: ``[B]`` what one verifier pass costs on top of its time, in milliseconds; set
        by the constraints, 0 without any.
      costs: the cost model in force.
      drafters: names of the ``D`` drafters, 1 to ``MAX_DRAFTERS``, in their default order.
      available: ``[B, D]`` which of them propose something for the sequence now.
      behind_tokens: ``[B, D]`` verified tokens of which it is not known whether the drafter would
        have proposed them, since it has not read so far; 0 for a drafter that can simply be asked.
      request_key: ``[B]`` hash of the request's id (``adaptive_spec.randomness``), >= 0: the same
        in every replica and after a restart. The ``sequence_id`` where the engine gives no ids.
      hints: what is known of the draft before it starts; None where the policy takes no hints.
    """

    sequence_id: IntArray
    cycle_index: IntArray
    prompt_tokens: IntArray
    emitted_tokens: IntArray
    remaining_tokens: IntArray
    passes: IntArray
    elapsed_ms: FloatArray
    min_tau: IntArray
    max_tau: IntArray
    max_draft_tokens: int
    batch_size: int
    pass_price_ms: FloatArray
    costs: CostModel
    drafters: tuple[str, ...]
    available: BoolArray
    behind_tokens: IntArray
    request_key: IntArray
    hints: Hints | None = None

    @property
    def drafter(self) -> IntArray:
        """``[B]`` the default drafter: the first that is available; ``NO_DRAFTER`` for none."""
        if len(self.drafters) == 1:
            return self.available[:, 0] - 1  # the first, number 0, or ``NO_DRAFTER``
        first = self.available.argmax(axis=1)
        default: IntArray = np.where(self.available.any(axis=1), first, NO_DRAFTER)
        return default

    def priced_ms(self, drafter: IntArray | None = None) -> FloatArray:
        """Time of a cycle plus the price of its pass for every tau, ``[B or 1, K + 1]``.

        Args:
          drafter: ``[B]`` who drafts; None for the default. Where none would, whatever tau is, the
            prices are those of the first.
        """
        table = self.times_ms(drafter)
        priced = np.count_nonzero(self.pass_price_ms) > 0
        return table + self.pass_price_ms[:, None] if priced else table

    def times_ms(self, drafter: IntArray | None = None) -> FloatArray:
        """Time of a cycle for every tau, ``[B or 1, K + 1]``; ``drafter`` as in ``priced_ms``."""
        context = self.prompt_tokens + self.emitted_tokens
        if len(self.drafters) == 1:
            return self._table(0, context)
        chosen = np.maximum(self.drafter if drafter is None else drafter, 0)
        table = np.empty((context.size, self.max_draft_tokens + 1))
        for i in np.unique(chosen).tolist():
            table[chosen == i] = self._table(i, context[chosen == i])
        return table

    def _table(self, drafter: int, context_tokens: IntArray) -> FloatArray:
        costs = self.costs.of_drafter(self.drafters[drafter])
        return costs.table(self.max_draft_tokens, self.batch_size, context_tokens)

    def clip(self, tau: npt.NDArray[Any]) -> IntArray:
        """``tau`` as integers within what this cycle allows, ``[B]``; fractions are cut off."""
        within: IntArray = np.minimum(np.maximum(tau, self.min_tau), self.max_tau).astype(
            np.int64, copy=False
        )
        return within


class Decision(NamedTuple):
    """What a policy decides.

    Attributes:
      tau: ``[B]`` int64, tokens to draft, ``min_tau <= tau <= max_tau``; 0 is plain decoding.
      memo: None, or a NamedTuple of arrays ``[B, ...]`` that comes back in ``Outcome.decision``,
        for rules that must remember how they chose (outcomes may arrive cycles later).
      drafter: ``[B]`` int64, index into ``Cycle.drafters`` of who is to draft, one that is
        available; or the default, ``Cycle.drafter``, which is meant where this is None.
      catch_up: ``[B]`` bool, whether drafters that are behind are to read what was verified, for
        ``Outcome.runs`` to tell of it; None for no. It costs what drafting one token does. A
        drafter that drafts reads in any case.
    """

    tau: IntArray
    memo: Any = None
    drafter: IntArray | None = None
    catch_up: BoolArray | None = None


class DraftSignals(NamedTuple):
    """What a drafter says of its own proposals; NaN where a drafter has no such signal.

    Attributes:
      top1_probability: ``[B, depth]`` probability of the proposed token, in [0, 1].
      entropy: ``[B, depth]`` entropy of the draft distribution in nats, >= 0.
      margin: ``[B, depth]`` top-1 minus top-2 logit, >= 0.
      match_length: ``[B, depth]`` tokens of context that the prompt lookup matched, >= 0.
    """

    top1_probability: FloatArray
    entropy: FloatArray
    margin: FloatArray
    match_length: FloatArray


class Outcome(NamedTuple):
    """What a cycle showed. One row per sequence.

    Attributes:
      cycle: the cycle as it was decided on.
      decision: the policy's own decision for it, with its memo.
      tau: ``[B]`` tau that was asked of the drafter (the controller may have overruled).
      drafter: ``[B]`` who drafted, as index into ``Cycle.drafters``; ``NO_DRAFTER`` where no tokens
        were drafted.
      num_draft_tokens: ``[B]`` tokens in fact drafted and verified, ``<= tau`` (a prompt lookup
        without a match drafts none; a rule that looks inside the draft may stop it early).
      num_accepted_tokens: ``[B]`` drafted tokens that were emitted, ``<= num_draft_tokens``.
      num_emitted_tokens: ``[B]`` accepted + 1, or fewer where the sequence ended inside the block.
      draft_ms: ``[B]`` time of drafting; ``verify_ms``: ``[B]`` time of the verifier pass.
      signals: the draft's signals ``[B, K]``, NaN beyond ``num_draft_tokens``; None where the
        policy does not look inside the draft.
      runs: how drafts from every recent position would have fared, as far as is known now; None
        where the policy does not look back, or where the output depends on tau (rejection
        sampling), so that there is no such fact.
      acceptance_probability: ``[B, K]`` chance with which each drafted token was to be accepted,
        once those before it were, in [0, 1]; NaN where none was tested: beyond the first that was
        refused, which would have followed text that is not there. None where the policy does not
        look back, nothing was drafted, or verification has no such chance or does not tell.
    """

    cycle: Cycle
    decision: Decision
    tau: IntArray
    drafter: IntArray
    num_draft_tokens: IntArray
    num_accepted_tokens: IntArray
    num_emitted_tokens: IntArray
    draft_ms: FloatArray
    verify_ms: FloatArray
    signals: DraftSignals | None = None
    runs: Runs | None = None
    acceptance_probability: FloatArray | None = None

    @property
    def cycle_ms(self) -> FloatArray:
        """``[B]`` time of the whole cycle."""
        return self.draft_ms + self.verify_ms

    @property
    def rejected(self) -> BoolArray:
        """``[B]`` whether verification refused a drafted token, so that the run's end was seen.

        A draft that was accepted whole, or was cut short by the sequence's end, is *censored*: the
        run might have gone on.
        """
        full_block = self.num_emitted_tokens == self.num_accepted_tokens + 1
        seen: BoolArray = (self.num_accepted_tokens < self.num_draft_tokens) & full_block
        return seen

    def agreement(self) -> npt.NDArray[np.int8]:
        """Agreement bit of each newly emitted token, ``[B, K + 1]``: 1, 0, or -1 where unknown.

        These are the bits that drafting showed: accepted tokens agree, the correction after a
        rejection does not. ``runs`` tells more, and of every drafter.
        """
        depth = np.arange(self.cycle.max_draft_tokens + 1)
        bits = np.full((self.tau.size, depth.size), UNKNOWN_AGREEMENT, np.int8)
        accepted = self.num_accepted_tokens[:, None]
        bits[depth < accepted] = 1
        bits[(depth == accepted) & self.rejected[:, None]] = 0
        return bits


DECLARED = (
    "learns",
    "signals",
    "needs_signals",
    "looks_back",
    "takes_hints",
    "heeds_prices",
)
"""What a policy's class says of it; one that stands before another says the same."""


class Policy(abc.ABC, Generic[RowsT, SharedT]):
    """Decides, cycle by cycle and for all sequences at once, how many tokens to draft.

    Subclasses are frozen dataclasses: fields are hyperparameters, each documented with its range
    and unit, checked in ``__post_init__``. The first line of the class docstring is what
    ``adaptive-spec policies`` prints.
    """

    learns: ClassVar[str] = "nothing"
    """What the state is learned from: "nothing", "per sequence" or "across sequences"."""

    signals: ClassVar[tuple[str, ...]] = ()
    """Fields of ``DraftSignals`` without which it cannot judge; where one is NaN, it drafts on."""

    needs_signals: ClassVar[bool] = True
    """Whether a policy that looks inside the draft is refused a trace without signals; otherwise it
    is replayed there as if the drafter said nothing, and is not asked."""

    looks_back: ClassVar[bool] = False
    """Whether it learns from ``Outcome.runs``; only then are they made out."""

    takes_hints: ClassVar[bool] = False
    """Whether it looks at ``Cycle.hints``; only then are they made out, and never None. Any of them
    may be NaN. Live they differ from a trace's by rounding (docs/exactness.md)."""

    heeds_prices: ClassVar[bool] = False
    """Whether it weighs ``Cycle.pass_price_ms``, so that a higher price makes drafts longer. For
    one that does not, the controller keeps a pass budget by ``Cycle.min_tau``."""

    @abc.abstractmethod
    def init(self, num_sequences: int, seed: int) -> State[RowsT, SharedT]:
        """Fresh state for ``num_sequences`` sequences, whose rows are all alike.

        The controller takes one row and repeats it; what is to differ from sequence to sequence is
        drawn in ``decide`` (``adaptive_spec.randomness``, keyed by ``Cycle.sequence_id``).
        ``seed`` is for such draws: keep it in the state.
        """

    @abc.abstractmethod
    def decide(self, state: State[RowsT, SharedT], cycle: Cycle) -> Decision:
        """tau for each sequence."""

    @abc.abstractmethod
    def update(self, state: State[RowsT, SharedT], outcome: Outcome) -> State[RowsT, SharedT]:
        """The state after an outcome, which may come cycles after its decision."""

    def keep_drafting(
        self,
        state: State[RowsT, SharedT],
        cycle: Cycle,
        decision: Decision,
        depth: int,
        signals: DraftSignals,
    ) -> BoolArray:
        """Which sequences draft on after ``depth`` tokens, ``[B]``; ``signals`` are ``[B, depth]``.

        ``decision`` is the policy's own for the cycle, with its memo: what was decided then need
        not be worked out again, and holds though an outcome that came late has changed the state.
        Only a policy that overrides this makes the decoder read signals back token by token.
        ``Decision.tau`` stays the upper limit.
        """
        raise NotImplementedError(f"{type(self).__name__} does not look inside the draft")

    def merge(self, shared: Sequence[SharedT], weights: FloatArray) -> SharedT:
        """What all sequences share, of several replicas taken together.

        Args:
          shared: of each replica, all of this policy, at least one.
          weights: ``[n]`` how much each one's evidence counts, > 0. Copies of one state whose
            weights sum to 1 make that state; with weights of 1 evidence adds up, as if one replica
            had served all of them, and fades from there as ever.

        Raises:
          ConfigError: the policy does not say how; by default that is so where anything is shared.
        """
        if shared[0] == ():
            return shared[0]
        raise ConfigError(
            f"{type(self).__name__}: shares what it learns and does not say how replicas are "
            "merged; keep a state for each of them, or override Policy.merge"
        )

    @property
    def looks_inside_draft(self) -> bool:
        """Whether ``keep_drafting`` is overridden."""
        return type(self).keep_drafting is not Policy.keep_drafting
