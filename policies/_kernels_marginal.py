"""``Policy.compiled_replay`` of ``marginal``, compiled by numba: its glue around ``_kernels``.

What takes the time, ``choose``, ``accepted`` and ``absorb``, is what the policy itself calls; the
rest says once more what ``marginal``, ``_looks``, ``KnownPositions`` and ``runs_of`` say, for one
drafter and one sequence at a time. At the cost model's times ``_timing`` changes nothing, to the
last bit: what is measured is what was modelled.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from adaptive_spec.policies._kernels import absorb
from adaptive_spec.policies._kernels_choice import accepted as accepted_of
from adaptive_spec.policies._kernels_choice import choose
from adaptive_spec.policies._kernels_replay import context_of, look, settle


class Shared(NamedTuple):
    """What all sequences share, changed in place; as in ``marginal.Fleet``.

    Attributes:
      mean, precision, fleet: of what is learned.
      tokens, time_ms, idle_ms: ``[1]``; without a price nobody asks for passes.
      worth, read: ``[4]`` of looks at the drafter.
    """

    mean: Any
    precision: Any
    fleet: Any
    tokens: Any
    time_ms: Any
    idle_ms: Any
    worth: Any
    read: Any


class Own(NamedTuple):
    """What is kept of one sequence, changed in place: ``Past``, then tokens and time."""

    known: Any
    streak: Any
    agreed: Any
    judged: Any
    tokens: Any
    time_ms: Any


class Setting(NamedTuple):
    """Hyperparameters and constants.

    Attributes:
      memory, upkeep: of the policy.
      first_rate, pace, fleet_pace, leaning_passes, streaks: constants of ``marginal``.
      least_step, imagined_tokens, farness: constants of ``_looks``.
      prior, first: mean and precision before any sample.
      of_streak: ``[S, 3]``; ``of_depth``: ``[K + 1, 5]``; ``of_tested``: ``[J, 5]``.
      decay, fleet_decay, leaning, least: constants of ``_history``.
    """

    memory: float
    upkeep: float
    first_rate: float
    pace: float
    fleet_pace: float
    leaning_passes: float
    streaks: int
    least_step: float
    imagined_tokens: float
    farness: int
    prior: Any
    first: Any
    of_streak: Any
    of_depth: Any
    of_tested: Any
    decay: Any
    fleet_decay: float
    leaning: float
    least: float


@njit(cache=True)
def _rate(own: Any, shared: Any, setting: Any, plain: float) -> Any:
    """``tokens_per_ms`` without a price; ``plain`` is the time of a plain pass."""
    common = (shared.tokens[0] + setting.first_rate) / (shared.time_ms[0] + plain)
    lean = setting.leaning_passes * plain
    return (own.tokens[0] + common * lean) / (own.time_ms[0] + lean)


@njit(cache=True)
def _best(
    own: Any,
    shared: Any,
    setting: Any,
    priced_ms: Any,
    rate: float,
    longest: int,
    sure: float,
    depth: int,
) -> Any:
    """``marginal._best`` of one row: tau, what it brings, and what stopping at ``depth`` does."""
    tau, worth, idly = choose(
        own.agreed[:, 0],
        own.judged[:, 0],
        own.streak[:, 0],
        shared.fleet[0],
        shared.mean[0],
        setting.of_streak,
        setting.of_depth,
        setting.leaning,
        setting.least,
        np.full(1, rate),
        priced_ms,
        np.full(1, longest),
        np.full(1, sure),
        depth,
        setting.streaks,
    )
    return tau[0], worth[0], idly[0]


@njit(cache=True)
def _gain(own: Any, shared: Any, setting: Any, priced_ms: Any, longest: int, rate: float) -> Any:
    """``_stakes(...).gain`` of one row."""
    _, _, without = _best(own, shared, setting, priced_ms, rate, 0, 1.0, 0)
    chance = accepted_of(
        own.agreed[:, 0],
        own.judged[:, 0],
        own.streak[:, 0],
        shared.fleet[0],
        shared.mean[0],
        setting.of_streak,
        setting.of_depth[:1],
        setting.leaning,
        setting.least,
    )[0, 0]
    _, beyond, _ = _best(own, shared, setting, priced_ms, rate, longest, chance, 1)
    return chance + beyond - without


@njit(cache=True)
def _farness(gain: float, step: float, setting: Any) -> Any:
    """``Stakes.farness`` of one row."""
    steps = setting.farness
    quarters = np.floor(-steps * gain / max(step, setting.least_step))
    return int(min(max(quarters, 0.0), steps - 1.0))


@njit(cache=True)
def _pause(step: float, plain: float, upkeep: float) -> Any:
    """``shortest_pause`` of one row."""
    return max(step / (upkeep * plain), 1.0)


@njit(cache=True)
def _pays(
    shared: Any,
    setting: Any,
    farness: int,
    step: float,
    plain: float,
    unread: float,
    left: float,
) -> Any:
    """``Looks.pay`` of one row."""
    step = max(step, setting.least_step)
    shortest = _pause(step, plain, setting.upkeep)
    imagined = 2.0 * step / (shortest * shortest) * setting.imagined_tokens
    per_token = (shared.worth[farness] + imagined) / (
        shared.read[farness] + setting.imagined_tokens
    )
    pause = max(np.sqrt(2.0 * step / per_token), shortest)
    return unread >= pause and 2.0 * unread * left >= pause * pause


@njit(cache=True)
def _look_back(texts: Any, sequence: int, end: int, known: int, length: Any, proposes: Any) -> None:
    """``runs_of`` of the only drafter; writes ``[1, 1, W]``."""
    window, start = length.shape[2], texts.start[sequence]
    within = min(known, texts.draftable_tokens[sequence, 0])
    for column in range(window):
        at = end - window + column
        there = 0 <= at < known
        token = start + max(at, 0)
        length[0, 0, column] = min(texts.run_lengths[token, 0], known - at) if there else 0
        proposes[0, 0, column] = texts.proposes[token, 0] and 0 <= at < within


@njit(cache=True)
def _begin(own: Any) -> None:
    """A new sequence."""
    own.known[:] = 0
    own.streak[:] = 0
    own.agreed[:] = 0.0
    own.judged[:] = 0.0
    own.tokens[:] = 0.0
    own.time_ms[:] = 0.0


@njit(cache=True)
def replay_marginal(
    order: Any,
    texts: Any,
    prices: Any,
    counts: Any,
    shared: Any,
    own: Any,
    setting: Any,
    window: int,
) -> None:
    """``marginal`` with evidence "text", of one drafter.

    Takes:
      shared, own, setting: as above; ``own`` is for the sequence that is being replayed.
      window: ``runs.window_of`` the largest tau.
    """
    most, plain_ms = prices.shown_ms.shape[2] - 1, prices.plain_ms[0]
    length, proposes = np.zeros((1, 1, window), np.int64), np.zeros((1, 1, window), np.bool_)
    ended, read = np.zeros(1, np.int64), np.zeros((1, 1), np.int64)
    for sequence in order:
        _begin(own)
        position, known, reach = 0, 0, texts.draftable_tokens[sequence, 0]
        while position < texts.num_tokens[sequence]:
            max_tau, drafter, room = look(texts, sequence, position, most)
            context = context_of(texts, sequence, position, prices.shown_ms)
            priced_ms = prices.shown_ms[0, context : context + 1]
            behind = max(min(position, reach) - known, 0) if texts.token_by_token[0] else 0
            rate = _rate(own, shared, setting, plain_ms)
            longest = max_tau if room > 0 else 0
            tau, _, _ = _best(own, shared, setting, priced_ms, rate, longest, 1.0, 0)
            asked, far = False, 0
            if behind > 0 and most > 0:
                of_all = shared.idle_ms[0] / plain_ms
                unread = max(float(behind), of_all)
                step_ms = priced_ms[0, 1] - priced_ms[0, 0]
                if unread >= _pause(step_ms, priced_ms[0, 0], setting.upkeep):
                    gain = _gain(own, shared, setting, priced_ms, max_tau, rate)
                    step, plain = rate * step_ms, rate * priced_ms[0, 0]
                    far = _farness(gain, step, setting)
                    left = max(texts.limit_tokens[sequence] - position, 1)
                    use = np.inf if of_all >= behind else float(left)
                    asked = _pays(shared, setting, far, step, plain, unread, use)
            reads = asked and tau == 0
            drafted, accepted, emitted, cycle_ms = settle(
                texts, prices, counts, sequence, position, tau, drafter, room, int(reads)
            )
            if texts.token_by_token[0]:
                rejected = accepted < drafted and accepted < emitted
                judged = accepted + rejected if drafted > 0 else 1
                if drafted > 0 or reads:
                    known = max(known, min(min(position, reach) + judged, reach))
            else:
                known = position + emitted
            position += emitted
            _look_back(texts, sequence, position, known, length, proposes)
            ended[0], read[0, 0] = position, known
            absorb(
                ended,
                read,
                length,
                proposes,
                own.known,
                own.streak,
                own.agreed,
                own.judged,
                shared.fleet,
                shared.mean,
                shared.precision,
                setting.prior,
                setting.first,
                setting.of_streak,
                setting.of_tested,
                setting.decay,
                setting.fleet_decay,
                setting.leaning,
                setting.least,
                setting.memory,
            )
            spent = max(cycle_ms, 1e-9)
            own.tokens[0] = setting.pace * own.tokens[0] + emitted
            own.time_ms[0] = setting.pace * own.time_ms[0] + spent
            shared.tokens[0] = setting.fleet_pace * shared.tokens[0] + emitted
            shared.time_ms[0] = setting.fleet_pace * shared.time_ms[0] + spent
            shared.idle_ms[0] = 0.0 if drafted > 0 or reads else shared.idle_ms[0] + cycle_ms
            if reads:
                rate = _rate(own, shared, setting, plain_ms)
                found = _gain(own, shared, setting, priced_ms, max_tau, rate)
                faded = np.exp(-behind / setting.memory)
                shared.worth[far] = shared.worth[far] * faded + max(found, 0.0)
                shared.read[far] = faded * shared.read[far] + behind
