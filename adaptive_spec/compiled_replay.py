"""Replay in compiled code: what a rule is given that brings its own loop over cycles.

A policy may say beside ``decide`` and ``update`` how it replays whole sequences in one compiled
call (``Policy.compiled_replay``). That is the same rule once more, for speed: where both apply they
must make the same cycles, bit for bit. It covers sequences that are *alone*: one to a verifier
pass, one after the other, with nothing promised, times by the cost model, and nothing read inside
the draft. All else goes through the controller.

``N`` sequences, ``T`` tokens, ``D`` drafters, ``K`` the largest tau.
"""

from typing import NamedTuple, Protocol

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray


class Texts(NamedTuple):
    """What happens: the columns of ``traces.FlatTrace`` of those names."""

    token_by_token: BoolArray
    start: IntArray
    num_tokens: IntArray
    prompt_tokens: IntArray
    limit_tokens: IntArray
    draftable_tokens: IntArray
    run_lengths: IntArray
    proposes: BoolArray


class CyclePrices(NamedTuple):
    """What a cycle takes in milliseconds, by drafter, context tokens, and tokens drafted.

    ``C`` is 1 where the context does not matter; otherwise row ``c`` is for ``c`` context tokens.

    Attributes:
      shown_ms: ``[D, C, K + 1]`` what the policy is told: ``Cycle.priced_ms`` of that drafter.
      draft_ms: ``[D, C, K + 1]`` drafting so many tokens; 0 for none.
      verify_ms: ``[C, K + 1]`` the pass.
      plain_ms: ``[1]`` time of a plain pass, as ``CostModel.plain_ms``.
    """

    shown_ms: FloatArray
    draft_ms: FloatArray
    verify_ms: FloatArray
    plain_ms: FloatArray


class CycleCounts(NamedTuple):
    """What came of it, to be added to.

    Attributes:
      cycles: ``[N]``; ``time_ms``: ``[N]``, summed cycle by cycle.
      drafter_cycles: ``[N, D]`` cycles in which tokens were drafted, by whom.
      num_draft_tokens, num_accepted_tokens: ``[N, D]``.
      log: ``[L, 6]`` of each cycle its sequence, position, tau, drafter (the first where none
        would propose anything), drafted and accepted tokens, in the order in which they happen.
        ``L`` is at least as many as there will be; or 1, which is overwritten.
      log_ms: ``[L]`` its time.
      logged: ``[1]`` cycles so far.
    """

    cycles: IntArray
    time_ms: FloatArray
    drafter_cycles: IntArray
    num_draft_tokens: IntArray
    num_accepted_tokens: IntArray
    log: IntArray
    log_ms: FloatArray
    logged: IntArray


class CompiledReplay(Protocol):
    """A rule's own loop. It keeps what the rule shares between sequences from call to call."""

    def __call__(
        self, order: IntArray, texts: Texts, prices: CyclePrices, counts: CycleCounts
    ) -> None:
        """Replays sequences one after the other, ``[n]`` by their index, and adds up."""
        ...
