"""The simulator's slow and obvious twin: one sequence at a time, one cycle at a time."""

from typing import NamedTuple

from adaptive_spec.traces import SequenceTrace


class Totals(NamedTuple):
    tokens: int
    cycles: int
    drafted: int
    accepted: int
    time: float


def fixed(sequence: SequenceTrace, tau: int, draft: float, verify: float) -> Totals:
    """Decodes a sequence at a constant tau, under linear costs."""
    n = sequence.run_lengths.size
    tokens = cycles = drafted = accepted = 0
    time = 0.0
    while tokens < n:
        room = tau
        if sequence.limit_tokens is not None:
            room = min(room, sequence.limit_tokens - tokens - 1)
        if sequence.draftable_tokens is not None:
            room = min(room, max(sequence.draftable_tokens - tokens, 0))
        k = room if sequence.proposes[tokens] else 0
        a = min(int(sequence.run_lengths[tokens]), k)
        time += 1 + k * (draft + verify)
        tokens = min(tokens + a + 1, n)
        cycles, drafted, accepted = cycles + 1, drafted + k, accepted + a
    return Totals(tokens, cycles, drafted, accepted, time)


def best_time(sequence: SequenceTrace, most: int, draft: float, verify: float) -> float:
    """The clairvoyant optimum by plain recursion over positions."""
    n = sequence.run_lengths.size
    best = [0.0] * (n + 1)
    for p in reversed(range(n)):
        room = most if sequence.proposes[p] else 0
        if sequence.limit_tokens is not None:
            room = min(room, sequence.limit_tokens - p - 1)
        if sequence.draftable_tokens is not None:
            room = min(room, max(sequence.draftable_tokens - p, 0))
        best[p] = min(
            1
            + tau * (draft + verify)
            + best[min(p + min(int(sequence.run_lengths[p]), tau) + 1, n)]
            for tau in range(room + 1)
        )
    return best[0]
