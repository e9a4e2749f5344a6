"""The server's slow and obvious twin: lists of requests, one constant tau, linear costs."""

from collections.abc import Sequence
from typing import NamedTuple

from adaptive_spec.traces import SequenceTrace


class Life(NamedTuple):
    arrived: float
    admitted: float
    first_token: float
    finished: float
    passes: int


class Running(NamedTuple):
    number: int
    sequence: SequenceTrace
    position: int
    passes: int
    admitted: float
    first_token: float


def serve(
    sequences: Sequence[SequenceTrace],
    arrivals: Sequence[float],
    *,
    tau: int,
    max_batch: int,
    draft: float,
    verify: float,
    prefill: float,
) -> list[Life]:
    """Lives of requests, in the order of arrival."""
    lives: dict[int, Life] = {}
    waiting = list(range(len(sequences)))
    running: list[Running] = []
    clock = 0.0
    while waiting or running:
        if not running and arrivals[waiting[0]] > clock:
            clock = arrivals[waiting[0]]
        begin = clock
        while waiting and arrivals[waiting[0]] <= begin and len(running) < max_batch:
            number = waiting.pop(0)
            clock += prefill * sequences[number].prompt_tokens
            running.append(Running(number, sequences[number], 0, 0, begin, -1.0))
        taus = [_drafted(one.sequence, one.position, tau) for one in running]
        clock += 1 + max(taus) * (draft + verify)
        still = []
        for one, drafted in zip(running, taus, strict=True):
            n = one.sequence.run_lengths.size
            accepted = min(int(one.sequence.run_lengths[one.position]), drafted)
            first = clock if one.position == 0 else one.first_token
            position = min(one.position + accepted + 1, n)
            moved = one._replace(position=position, passes=one.passes + 1, first_token=first)
            if position < n:
                still.append(moved)
            else:
                arrived = arrivals[one.number]
                lives[one.number] = Life(arrived, one.admitted, first, clock, moved.passes)
        running = still
    return [lives[i] for i in range(len(sequences))]


def _drafted(sequence: SequenceTrace, position: int, tau: int) -> int:
    room = tau if sequence.proposes[position] else 0
    if sequence.limit_tokens is not None:
        room = min(room, sequence.limit_tokens - position - 1)
    if sequence.draftable_tokens is not None:
        room = min(room, max(sequence.draftable_tokens - position, 0))
    return room
