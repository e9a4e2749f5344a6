"""Whole sequences in one call, compiled by numba: ``Policy.compiled_replay`` of the simple rules.

``look`` and ``settle`` say once more what the controller and ``simulations.replayed_cycles`` say of
a cycle, for one sequence that is alone; what a rule does stands between the two. Unlike those of
``_kernels``, these loops compile when first called (some seconds), and are kept for next time.

They are written so that the processor need not guess: a branch around what arrays are written to
costs more than the rest of a cycle (numba then counts references to them, each time), and so does
one that goes by whether a draft was accepted.
"""

from typing import Any

from numba import njit


@njit(cache=True)
def look(texts: Any, sequence: int, position: int, most: int) -> Any:
    """Largest tau at a position, the default drafter there, and how many tokens it can propose.

    ``most`` is K. The drafter is the first where none would propose anything.
    """
    token = texts.start[sequence] + position
    reach, drafter, room = 0, 0, 0
    for d in range(texts.run_lengths.shape[1]):
        within = texts.draftable_tokens[sequence, d] - position
        reach = max(reach, within)
        if room == 0 and within > 0 and texts.proposes[token, d]:
            drafter, room = d, within
    longest = min(reach, texts.limit_tokens[sequence] - position - 1)
    return max(min(longest, most), 0), drafter, room


@njit(cache=True)
def context_of(texts: Any, sequence: int, position: int, priced_ms: Any) -> Any:
    """Which row of prices ``[D, C, K + 1]`` is that of a cycle."""
    context = texts.prompt_tokens[sequence] + position
    return context if priced_ms.shape[1] > 1 else 0


@njit(cache=True)
def settle(
    texts: Any,
    prices: Any,
    counts: Any,
    sequence: int,
    position: int,
    tau: int,
    drafter: int,
    room: int,
    reads: int = 0,
) -> Any:
    """Counts a cycle; returns tokens drafted, accepted and emitted, and its time.

    ``reads`` is 1 where the drafter drafts nothing, but reads what was verified.
    """
    left = texts.num_tokens[sequence] - position
    drafted = min(tau, room)
    run = texts.run_lengths[texts.start[sequence] + position, drafter]
    accepted = min(run, drafted, left)
    context = context_of(texts, sequence, position, prices.shown_ms)
    draft_ms = prices.draft_ms[drafter, context, max(drafted, reads)]
    cycle_ms = draft_ms + prices.verify_ms[context, drafted]
    counts.cycles[sequence] += 1
    counts.time_ms[sequence] += cycle_ms
    counts.drafter_cycles[sequence, drafter] += drafted > 0
    counts.num_draft_tokens[sequence, drafter] += drafted
    counts.num_accepted_tokens[sequence, drafter] += accepted
    row = min(counts.logged[0], counts.log.shape[0] - 1)
    counts.log[row, 0] = sequence
    counts.log[row, 1] = position
    counts.log[row, 2] = tau
    counts.log[row, 3] = drafter
    counts.log[row, 4] = drafted
    counts.log[row, 5] = accepted
    counts.log_ms[row] = cycle_ms
    counts.logged[0] += 1
    return drafted, accepted, min(accepted + 1, left), cycle_ms


@njit(cache=True)
def replay_fixed(order: Any, texts: Any, prices: Any, counts: Any, tau: int) -> None:
    """``fixed`` without fallback."""
    most = prices.shown_ms.shape[2] - 1
    for sequence in order:
        position = 0
        while position < texts.num_tokens[sequence]:
            longest, drafter, room = look(texts, sequence, position, most)
            chosen = min(tau, longest)
            _, _, emitted, _ = settle(
                texts, prices, counts, sequence, position, chosen, drafter, room
            )
            position += emitted


@njit(cache=True)
def _best_tau(expected: Any, farthest: float, priced_ms: Any) -> Any:
    """The tau up to ``farthest`` of the most expected tokens for its time, the least of equals."""
    best, most = 0, expected[0] / priced_ms[0]
    for tau in range(1, priced_ms.size):
        gain = expected[tau] / priced_ms[tau]
        if tau <= farthest and gain > most:
            best, most = tau, gain
    return best


@njit(cache=True)
def replay_ewma(
    order: Any,
    texts: Any,
    prices: Any,
    counts: Any,
    best: Any,
    expected: Any,
    farthest: Any,
    weight: Any,
    initial: float,
    least_rejected: float,
    probe: int,
    pauses: Any,
) -> None:
    """``ewma``; all that is not plain arithmetic is looked up, so that no last bit differs.

    Takes:
      best: ``[D, G]`` tau by drafter and cell of acceptance; None where it hangs on the context
        (numba compiles that case apart).
      expected: ``[G, K + 1]`` expected tokens by cell of acceptance and tau.
      farthest: ``[G]`` largest tau by cell.
      weight: ``[Q]`` of a cycle that drafts, by tokens emitted since the last that did.
      initial: run length assumed before any evidence.
      least_rejected, probe, pauses: constants of ``_acceptance``; the last are shortest, longest.
    """
    shown, most, cells = prices.shown_ms, prices.shown_ms.shape[2] - 1, farthest.size
    shortest_pause, longest_pause = pauses
    for sequence in order:
        position, mean_accepted, mean_rejected = 0, initial, 1.0
        quiet, pause = 0, shortest_pause
        while position < texts.num_tokens[sequence]:
            longest, drafter, room = look(texts, sequence, position, most)
            rate = mean_accepted / (mean_accepted + mean_rejected)
            cell = min(int(rate * cells), cells - 1)
            if best is not None:
                tau = best[drafter, cell]
            else:
                context = texts.prompt_tokens[sequence] + position
                tau = _best_tau(expected[cell], farthest[cell], shown[drafter, context])
            if tau == 0 and quiet >= pause:
                tau = probe
            tau = min(tau, longest)
            drafted, accepted, emitted, _ = settle(
                texts, prices, counts, sequence, position, tau, drafter, room
            )
            position += emitted
            if drafted == 0:
                quiet += emitted
                continue
            rejected = (accepted < drafted) & (emitted == accepted + 1)
            mean_accepted += weight[quiet] * (accepted - mean_accepted)
            mean_rejected += weight[quiet] * (rejected - mean_rejected)
            mean_rejected = max(mean_rejected, least_rejected)
            quiet = 0
            longer, shorter = min(2 * pause, longest_pause), max(pause >> 1, shortest_pause)
            pause = longer if accepted == 0 else shorter
