"""One policy on one drafter's judged half, and the verdict on it in each cell.

A policy that learns across sequences depends on the order in which they come. It is run in many
random orders, with a seed for each: over all prompts for the mixture, and over those of a category
alone for the category. Any other is run once, for what it does with a prompt never changes.

Intervals are by paired bootstrap: the same prompts are drawn for a policy and the marks, and for a
policy run in several orders whole orders are drawn, too, since within one the prompts depend on
each other. The prompts drawn are the same for all policies in a cell.
"""

from typing import NamedTuple

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.controller import Controller
from adaptive_spec.costs import CostModel
from adaptive_spec.registry import make_policy
from adaptive_spec.simulations.bootstrap import Interval, resampled_counts
from adaptive_spec.simulations.evidence.marks import StaticTimes, Times, static_times
from adaptive_spec.simulations.evidence.results import MARKS, Cell, Settings, Verdict
from adaptive_spec.simulations.evidence.subjects import Subject
from adaptive_spec.simulations.simulator import replay

SMALLEST_SPAN = 0.02
"""Where the optimum is less than this above the best static tau, a share of the span is noise."""


class Place(NamedTuple):
    """A drafter at some costs: all categories at once.

    Attributes:
      subject: the drafter and its prompts.
      costs_name: what the costs are called; ``costs``: what cycles cost.
      static: times of static taus and the optimum.
    """

    subject: Subject
    costs_name: str
    costs: CostModel
    static: StaticTimes

    @property
    def where(self) -> tuple[str, str]:
        """Names of the drafter and of the costs."""
        return self.subject.drafter, self.costs_name


def cells_of(
    subject: Subject, costs_name: str, costs: CostModel, basis: str, settings: Settings
) -> tuple[Place, list[Cell]]:
    """The cells of a drafter at some costs, with their marks and no policies yet."""
    static = static_times(subject, costs, settings.max_draft_tokens)
    place = Place(subject, costs_name, costs, static)
    tokens = np.array([sequence.run_lengths.size for sequence in subject.judge])
    cells = []
    for category, (choose, judge) in subject.groups.items():
        chosen, hindsight = static.best_tau(choose, judge)
        marks = static.marks(judge, chosen, hindsight)
        own = tokens[judge]
        verdicts = {
            name: verdict(Times(marks.time_ms[[i]], marks.cycles[[i]]), marks, own, settings)
            for i, name in enumerate(MARKS)
        }
        cells.append(
            Cell(
                subject.drafter,
                costs_name,
                category,
                basis,
                judge.size,
                int(own.sum()),
                chosen,
                hindsight,
                verdicts,
            )
        )
    return place, cells


def judge(place: Place, policy: str, settings: Settings) -> dict[str | None, Verdict]:
    """The verdict on a policy in each cell of a drafter at some costs, by category."""
    subject = place.subject
    tokens = np.array([sequence.run_lengths.size for sequence in subject.judge])
    verdicts = {}
    for category, times in _run(place, policy, settings).items():
        choose, judged = subject.groups[category]
        marks = place.static.marks(judged, *place.static.best_tau(choose, judged))
        verdicts[category] = verdict(times, marks, tokens[judged], settings)
    return verdicts


def _run(place: Place, spec: str, settings: Settings) -> dict[str | None, Times]:
    """Times of a policy by category, None for the mixture."""
    policy, trace, costs = make_policy(spec), place.subject.judge, place.costs
    top = settings.max_draft_tokens
    groups = {name: judged for name, (_, judged) in place.subject.groups.items()}
    if Controller(policy, costs=costs, max_draft_tokens=top).sequences_are_independent:
        once = replay(policy, trace, costs=costs, max_draft_tokens=top, seed=settings.seed)
        times = Times(once.time_ms[None], once.cycles[None])
        return {name: times.of(judged) for name, judged in groups.items()}
    found = {name: _nothing(settings.shuffles, judged) for name, judged in groups.items()}
    for shuffle in range(settings.shuffles):
        order = np.random.default_rng([settings.seed, shuffle]).permutation(len(trace))
        own_seed = int(np.random.SeedSequence([settings.seed, shuffle]).generate_state(1)[0])
        for name, judged in groups.items():
            done = replay(
                policy,
                trace,
                costs=costs,
                max_draft_tokens=top,
                seed=own_seed,
                order=order[np.isin(order, judged)],
            )
            found[name].time_ms[shuffle] = done.time_ms[judged]
            found[name].cycles[shuffle] = done.cycles[judged]
    return found


def _nothing(orders: int, prompts: IntArray) -> Times:
    shape = orders, prompts.size
    return Times(np.zeros(shape), np.zeros(shape, np.int64))


def verdict(times: Times, marks: Times, tokens: IntArray, settings: Settings) -> Verdict:
    """The verdict on ``n`` prompts.

    Args:
      times: of the policy, ``[P, n]``.
      marks: times of the marks, ``[4, n]`` in the order of ``MARKS``.
      tokens: ``[n]`` emitted, the same for all.
      settings: resamples and seed of the bootstrap.
    """
    orders, prompts = times.time_ms.shape
    draw = np.random.default_rng([settings.seed, 0])
    draw_orders = np.random.default_rng([settings.seed, 1])
    sums = [_sums(np.full((1, orders), 1.0 / orders), np.ones((1, prompts)), times, marks)]
    for counts in resampled_counts(prompts, settings.resamples, draw):
        picked = draw_orders.multinomial(orders, np.full(orders, 1.0 / orders), len(counts))
        sums.append(_sums(picked / orders, counts, times, marks))
    own, plain, chosen, hindsight, best = np.concatenate(sums).T
    return Verdict(
        Interval.of(plain / own),
        Interval.of(chosen / own),
        Interval.of(hindsight / own),
        _share(hindsight / own - 1.0, hindsight / best - 1.0),
        float(tokens.sum() / times.cycles.mean(axis=0).sum()),
        orders,
    )


def _sums(
    picked: FloatArray, counts: FloatArray | IntArray, times: Times, marks: Times
) -> FloatArray:
    """Total times of the policy and the marks, ``[R, 5]``, by weights ``[R, P]`` and ``[R, n]``."""
    own = ((picked @ times.time_ms) * counts).sum(axis=1)
    return np.column_stack([own, counts @ marks.time_ms.T])


def _share(gain: FloatArray, span: FloatArray) -> Interval | None:
    """Share of the span from the hindsight-best static tau to the optimum, the estimate first."""
    if span[0] < SMALLEST_SPAN:
        return None
    some = span > 0.0  # a resample without any span says nothing of the policy
    return Interval.of(gain[some] / span[some])
