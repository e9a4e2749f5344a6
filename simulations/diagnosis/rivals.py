"""Two drafters of the same verifier and prompts: which pays, for which requests, at which batch.

Both are given the same policy, and every request the same output: what differs is time. Who pays is
the one that is faster than plain decoding and than the other, both by more than chance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptive_spec._arrays import FloatArray
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.policies.fixed import Fixed
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy, policy_spec
from adaptive_spec.simulations.bootstrap import Interval
from adaptive_spec.simulations.diagnosis.faults.groups import Group, bands, by_name
from adaptive_spec.simulations.diagnosis.limits import InBatch
from adaptive_spec.simulations.diagnosis.resamples import Resamples, interval_of, ratio
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces.records import TraceSet

NEITHER, EITHER = "neither", "either"


@dataclass(frozen=True)
class Contest:
    """Two drafters on some requests, at one batch size.

    Attributes:
      batch_size: of production; ``group``: which requests, ``requests`` of them.
      speedups: of each over plain decoding.
      second_over_first: speed of the second over that of the first.
    """

    batch_size: int
    group: str
    requests: int
    speedups: tuple[Interval, Interval]
    second_over_first: Interval

    def pays(self, names: tuple[str, str]) -> str:
        """Whose drafts to take: a name, "either" where it is even, "neither" for plain decoding."""
        faster = [speedup.low > 1.0 for speedup in self.speedups]
        if not any(faster):
            return NEITHER
        if self.second_over_first.high < 1.0 or not faster[1]:
            return names[0]
        if self.second_over_first.low > 1.0 or not faster[0]:
            return names[1]
        return EITHER


@dataclass(frozen=True)
class Rivalry:
    """What came of comparing two drafters.

    Attributes:
      names: of the two; ``contests``: by batch size, all requests first.
      requests: that both traces have; ``left_out``: in one of them only, or with other outputs.
      policy, costs: that both were given.
    """

    names: tuple[str, str]
    contests: tuple[Contest, ...]
    requests: int
    left_out: int
    policy: str
    costs: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "drafters": list(self.names),
            "requests": self.requests,
            "left_out": self.left_out,
            "policy": self.policy,
            "costs": self.costs,
            "contests": [
                {
                    "batch_size": contest.batch_size,
                    "group": contest.group,
                    "requests": contest.requests,
                    "speedups_over_plain": [s.value for s in contest.speedups],
                    "second_over_first": contest.second_over_first.value,
                    "ci95": {
                        "speedups_over_plain": [list(s[1:]) for s in contest.speedups],
                        "second_over_first": list(contest.second_over_first[1:]),
                    },
                    "pays": contest.pays(self.names),
                }
                for contest in self.contests
            ],
        }


def rivalry(
    first: TraceSet,
    second: TraceSet,
    policy: str | Policy[Any, Any],
    *,
    costs: CostModel,
    batch_sizes: Sequence[int] = (1,),
    max_draft_tokens: int = 10,
    seed: int = 0,
    on_progress: Callable[[str], None] | None = None,
) -> Rivalry:
    """Compares the drafters of two traces.

    Args:
      first: a trace.
      second: another one, of the same verifier and prompts with another drafter.
      policy: what chooses tau, with either.
      costs: what cycles cost, of both drafters by their names.
      batch_sizes: of production, >= 1, at which passes are priced.
      max_draft_tokens: longest draft.
      seed: of the policy, and of the resamples.
      on_progress: called with what is about to be replayed.

    Raises:
      ConfigError: traces of other verifiers or rules, without requests in common, that do not tell
        of drafts that long, or of which replay is not exact.
    """
    for name in ("verifier", "rule"):
        mine, theirs = getattr(first.info, name), getattr(second.info, name)
        if mine != theirs:
            raise ConfigError(
                f"diagnose: {name} of the two traces is {mine!r} and {theirs!r}; drafters are "
                "compared on the same texts, so record both with the same one"
            )
    for traces in (first, second):
        traces.info.require_known(max_draft_tokens)
        if traces.info.exactness not in ("exact", "capped"):
            raise ConfigError(
                f"diagnose: one of the traces is a {traces.info.exactness!r}: requests cannot be "
                "compared one by one; record it, or diagnose each alone"
            )
    pairs = _common(first, second)
    one, other = first.select(pairs[0]), second.select(pairs[1])
    names = _names(first, second)
    chosen = make_policy(policy)
    resamples = Resamples(len(one), np.random.default_rng(seed))
    groups = _groups(one)
    contests = []
    for size in batch_sizes:
        options: dict[str, Any] = {
            "costs": InBatch(costs, size),
            "max_draft_tokens": max_draft_tokens,
            "seed": seed,
        }
        times = [replay(Fixed(0), one, **options).time_ms]
        for name, traces in zip(names, (one, other), strict=True):
            if on_progress is not None:
                on_progress(f"{name}, batch of {size}")
            times.append(replay(chosen, traces, **options).time_ms)
        contests += [_contest(size, group, np.array(times).T, resamples) for group in groups]
    spec = policy if isinstance(policy, str) else policy_spec(policy)
    left_out = len(first) + len(second) - 2 * len(one)
    return Rivalry(names, tuple(contests), len(one), left_out, spec, str(costs))


def _common(first: TraceSet, second: TraceSet) -> tuple[list[int], list[int]]:
    """The requests that both traces have, with the same output, as indices in each."""
    there = {sequence.id: i for i, sequence in enumerate(second)}
    pairs: tuple[list[int], list[int]] = ([], [])
    for i, mine in enumerate(first):
        j = there.get(mine.id)
        if j is None:
            continue
        theirs = second.sequences[j]
        known = mine.output_ids is not None and theirs.output_ids is not None
        same = (
            np.array_equal(mine.output_ids, theirs.output_ids)  # type: ignore[arg-type]
            if known
            else mine.run_lengths.size == theirs.run_lengths.size
        )
        if same and mine.prompt_tokens == theirs.prompt_tokens:
            pairs[0].append(i)
            pairs[1].append(j)
    if not pairs[0]:
        raise ConfigError(
            "diagnose: the two traces have no request in common with the same output; record both "
            "drafters on the same prompts, with the same verifier and limits"
        )
    return pairs


def _names(first: TraceSet, second: TraceSet) -> tuple[str, str]:
    """What to call the two drafters."""
    names = "+".join(first.info.drafter_names), "+".join(second.info.drafter_names)
    if names[0] != names[1]:
        return names
    if first.info.drafter != second.info.drafter:
        return first.info.drafter, second.info.drafter
    return f"{names[0]} (first)", f"{names[1]} (second)"


def _groups(traces: TraceSet) -> tuple[Group, ...]:
    """All requests, and those of each category and band of prompt lengths, if there are several."""
    everything = Group("all requests", np.ones(len(traces), np.bool_))
    categories = by_name([sequence.category for sequence in traces])
    lengths = bands(np.array([sequence.prompt_tokens for sequence in traces], np.int64))
    several = (groups for groups in (categories, lengths) if len(groups) > 1)
    return (everything, *(group for groups in several for group in groups))


def _contest(size: int, group: Group, times_ms: FloatArray, resamples: Resamples) -> Contest:
    """The ratios of some requests; ``times_ms``: ``[N, 3]`` of plain decoding and of the two."""
    plain, first, second = resamples.sums(times_ms * group.some[:, None]).T
    return Contest(
        size,
        group.name,
        int(group.some.sum()),
        (interval_of(ratio(plain, first)), interval_of(ratio(plain, second))),
        interval_of(ratio(first, second)),
    )
