"""What a diagnosis knows of a production: what was served, at what costs, and what was promised.

All times are the cost model's, of what was served as well as of what might have been: the two are
held against each other, and another source for one of them would be a difference of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.constraints import Constraints, Feasibility
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import CostsError, TraceError
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy, policy_spec
from adaptive_spec.simulations.diagnosis.constants import (
    Constants,
    LoggedConstants,
    ReplayedConstants,
)
from adaptive_spec.simulations.diagnosis.limits import InBatch
from adaptive_spec.simulations.diagnosis.log_costs import costs_of_log, has_times, pass_widths
from adaptive_spec.simulations.diagnosis.resamples import Resamples
from adaptive_spec.simulations.diagnosis.served import Requests, ServedCycles, of_log, of_replay
from adaptive_spec.simulations.diagnosis.verified import Verified
from adaptive_spec.simulations.simulator import replay
from adaptive_spec.traces.cycles import LoggedCycle
from adaptive_spec.traces.exactness import MEANING, Exactness
from adaptive_spec.traces.records import TraceSet

FEW_REQUESTS = 10
"""With fewer, intervals over requests say little."""
_LEAST = (
    "a log shows of other lengths only what its own drafts tell: constants are no slower than they "
    "seem here, and what is lost against them is no less"
)


@dataclass(frozen=True)
class Known:
    """What is known; ``N`` requests, ``K`` the longest draft of which anything is.

    Attributes:
      requests, cycles: what was served, by whom it was chosen: ``policy``.
      drafters: names, as cycles count them.
      costs: what cycles cost; ``costs_assumed``: whether nobody said so.
      longest_known: K; ``longest_allowed``: what production might draft.
      exactness: of the trace; None for a log.
      traces: None for a log.
      rule: verification rule, as recorded; ``verified``: what checking the output found.
      promised: to the requests; ``feasibility``: what the controller found in replay.
      resamples: of the requests; ``seed``: of these, and of what is drawn besides.
      notes: what else is to be known of all this.
    """

    requests: Requests
    cycles: ServedCycles
    policy: str
    drafters: tuple[str, ...]
    costs: CostModel
    costs_assumed: bool
    longest_known: int
    longest_allowed: int
    exactness: Exactness | None
    traces: TraceSet | None
    rule: str
    verified: Verified | None
    promised: Constraints
    feasibility: Feasibility | None
    resamples: Resamples
    seed: int
    notes: tuple[str, ...] = ()

    @staticmethod
    def of_trace(
        traces: TraceSet,
        policy: str | Policy[Any, Any],
        *,
        costs: CostModel,
        costs_assumed: bool = False,
        batch_size: int = 1,
        max_draft_tokens: int = 10,
        promised: Constraints | None = None,
        verified: Verified | None = None,
        seed: int = 0,
    ) -> "Known":
        """What a policy serves on a trace, by replay.

        Args:
          traces: run lengths, in the order in which requests were served.
          policy: what production runs.
          costs: what cycles cost.
          costs_assumed: whether nobody said so.
          batch_size: of production, at which passes are priced.
          max_draft_tokens: longest draft that production may choose.
          promised: to the requests.
          verified: what checking the output found.
          seed: of the policy, and of the resamples.
        """
        promised = promised or Constraints()
        longest = min(max_draft_tokens, traces.info.known_draft_tokens or max_draft_tokens)
        priced = costs if batch_size == 1 else InBatch(costs, batch_size)
        run = replay(
            make_policy(policy),
            traces,
            costs=priced,
            max_draft_tokens=longest,
            constraints=promised,
            seed=seed,
            log_cycles=True,
        )
        assert run.log is not None
        requests, cycles = of_replay(traces, run.log, batch_size)
        exactness = traces.info.exactness
        notes = [] if exactness == "exact" else [f"{exactness}: {MEANING[exactness]}"]
        if run.end_reason.any():
            notes.append("what a promise cut short is compared as far as it came")
        emitted = requests._replace(tokens=run.tokens)
        return Known(
            emitted,
            cycles,
            policy if isinstance(policy, str) else policy_spec(policy),
            traces.info.drafter_names,
            priced,
            costs_assumed,
            longest,
            max_draft_tokens,
            exactness,
            traces,
            traces.info.rule,
            verified,
            promised,
            next(iter(run.feasibility.values()), None),
            Resamples(len(traces), np.random.default_rng(seed)),
            seed,
            tuple(notes),
        )

    @staticmethod
    def of_log(
        log: Sequence[LoggedCycle],
        rule: str = "unknown",
        *,
        costs: CostModel | None = None,
        max_draft_tokens: int = 10,
        promised: Constraints | None = None,
        verified: Verified | None = None,
        seed: int = 0,
    ) -> "Known":
        """What a live engine logged.

        Args:
          log: its cycles, requests in the order in which they were served.
          rule: verification rule, as logged.
          costs: what cycles cost; None for what the log's own times say.
          max_draft_tokens: as for a trace.
          promised: likewise.
          verified: likewise.
          seed: likewise.

        Raises:
          TraceError: a log without cycles.
          CostsError: no costs, and a log without times, or with drafts of one length only; or the
            price of a drafter that did not draft.
        """
        if not log:
            raise TraceError("cycle log: holds no cycles")
        widths = pass_widths(log)
        requests, cycles, drafters = of_log(log, widths)
        notes = [_LEAST]
        if costs is None:
            if not has_times(log):
                raise CostsError(
                    "costs: the log lacks times of its cycles (draft_ms, verify_ms); give --costs "
                    "(a profile, or draft=...,verify=...)"
                )
            costs = costs_of_log(log, widths, drafters)
            if not (widths == 0).any():
                notes.append(
                    "no cycle without a draft was logged: the time of a plain pass is extrapolated"
                )
        else:
            costs.require_drafters(drafters)
            if has_times(log):
                notes.append("the log's own times are left aside, since costs were given")
        return Known(
            requests,
            cycles,
            "as logged",
            drafters,
            costs,
            False,
            int(cycles.drafted.max()),
            max(max_draft_tokens, int(cycles.tau.max())),
            None,
            None,
            rule,
            verified,
            promised or Constraints(),
            None,
            Resamples(requests.tokens.size, np.random.default_rng(seed)),
            seed,
            tuple(notes),
        )

    def constants_at(self, costs: CostModel, *, only_drafting: bool = False) -> Constants:
        """What every constant tau would have taken at some costs.

        ``only_drafting`` as in ``LoggedConstants.of``; a trace tells of all positions anyway.
        """
        if self.traces is not None:
            flat, tokens = self.traces.flat(), self.requests.tokens
            return ReplayedConstants.of(flat, tokens, costs, self.longest_known)
        return LoggedConstants.of(
            self.cycles, self.requests.tokens, costs, self.drafters, only_drafting=only_drafting
        )

    @property
    def costs_alone(self) -> CostModel:
        """The costs, the smallest batch of which is one."""
        return self.costs.costs if isinstance(self.costs, InBatch) else self.costs

    @cached_property
    def constants(self) -> Constants:
        """At the costs as they are."""
        return self.constants_at(self.costs)

    def hopeful_ms(self) -> FloatArray:
        """Least time that constants might have taken, for all that a log tells, ``[1 + R, K + 1]``.

        Up to the longest draft that production may choose.
        """
        hopeful = LoggedConstants.of(
            self.cycles,
            self.requests.tokens,
            self.costs,
            self.drafters,
            hopeful_up_to=self.longest_allowed,
        )
        return hopeful.times(self.resamples)

    @cached_property
    def constant_ms(self) -> FloatArray:
        """Time of every constant tau, ``[1 + R, K + 1]``."""
        return self.constants.times(self.resamples)

    @cached_property
    def best_tau(self) -> int:
        """The fastest constant, in hindsight; the shortest of equals."""
        return int(np.argmin(self.constant_ms[0]))

    @cached_property
    def best_ms(self) -> FloatArray:
        """Its time, ``[1 + R]``."""
        best: FloatArray = self.constant_ms[:, self.best_tau]
        return best

    @cached_property
    def prices_ms(self) -> tuple[FloatArray, FloatArray]:
        """Time of drafting and of the pass of every cycle, ``[C]`` each."""
        return self.cycles.prices(self.costs, self.drafters)

    @cached_property
    def request_ms(self) -> FloatArray:
        """Time that each request took, ``[N]``."""
        return self.sum_by_request(self.prices_ms[0] + self.prices_ms[1])

    @cached_property
    def served_ms(self) -> FloatArray:
        """Time of all requests, ``[1 + R]``."""
        return self.resamples.sums(self.request_ms)

    def mean_prices(self, tau: int, drafter: int | None = None) -> tuple[float, float]:
        """Mean time of drafting and of a pass, were all longest drafts of that length.

        ``drafter`` drafts everywhere; None for those who did.
        """
        cycles = self.cycles.sample().at(tau)
        if drafter is not None:
            cycles = cycles.of_drafter(drafter)
        draft_ms, verify_ms = cycles.prices(self.costs, self.drafters)
        return float(draft_ms.mean()), float(verify_ms.mean())

    def lost_to(self, at_served_ms: FloatArray, without_ms: FloatArray) -> FloatArray:
        """Time lost to a fault of the system, ``[1 + R]``.

        What would be saved at the lengths that were served, or between the best constants with the
        fault and without it, whichever is more: what was served may have made the best of the fault
        already. Where drafts pay without the fault only, all time is lost to it that a policy lost
        by drafting nevertheless.

        Args:
          at_served_ms: ``[1 + R]`` time of the lengths that were served, without the fault.
          without_ms: ``[1 + R, K + 1]`` time of every constant tau without it.
        """
        best = int(np.argmin(without_ms[0]))
        with_it = self.served_ms if self.best_tau == 0 < best else self.best_ms
        return np.maximum(self.served_ms - at_served_ms, with_it - without_ms[:, best])

    def sum_by_request(self, values: FloatArray | IntArray | BoolArray) -> FloatArray:
        """Sums of a column of cycles, ``[C] -> [N]``."""
        return self.cycles.per_request(values, self.requests.tokens.size)

    def sums(self, values: FloatArray | IntArray | BoolArray) -> FloatArray:
        """Sums of a column of cycles over all requests and resamples, ``[C] -> [1 + R]``."""
        return self.resamples.sums(self.sum_by_request(values))

    @property
    def fallback_share(self) -> float:
        """Share of the cycles that were not asked to draft."""
        return float((self.cycles.tau == 0).mean())

    @property
    def mean_tau(self) -> float:
        """Mean tokens asked for, of cycles that were asked to draft; 0 where none was."""
        asked = self.cycles.tau[self.cycles.tau > 0]
        return float(asked.mean()) if asked.size else 0.0
