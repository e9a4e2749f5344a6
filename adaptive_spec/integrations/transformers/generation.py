"""One request: a loop of transformers' in which the controller decides every cycle."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.constraints import EndReason
from adaptive_spec.controller import Plan
from adaptive_spec.cycle_times import cycle_times
from adaptive_spec.decoding.cycle_records import cycle_record
from adaptive_spec.decoding.draft import Draft
from adaptive_spec.decoding.drafters.base import empty_signals
from adaptive_spec.decoding.hints import LiveHints
from adaptive_spec.decoding.looking_back import LookingBack
from adaptive_spec.decoding.requests import Completion, CycleRecord, FinishReason
from adaptive_spec.decoding.token_signals import token_signals
from adaptive_spec.hints import Certainty
from adaptive_spec.integrations.transformers.drafts import DraftSource, Proposal
from adaptive_spec.integrations.transformers.run import Run
from adaptive_spec.policy import NO_DRAFTER, DraftSignals

_ENDINGS: dict[int, FinishReason] = {EndReason.BUDGET: "budget", EndReason.DEADLINE: "deadline"}


class Generation:
    """Follows one loop from its prompt to its last token.

    Every cycle is planned when the one before it is over, so that none is planned that what was
    promised no longer covers, whatever other threads spend meanwhile. The plan left over at the end
    is withdrawn.
    """

    def __init__(
        self,
        run: Run,
        source: DraftSource,
        input_ids: torch.Tensor,
        generation_config: Any,
        *,
        scores_are_raw: bool,
    ) -> None:
        """Takes a row of the controller.

        Args:
          run: whose request it is.
          source: drafts for it alone.
          input_ids: ``[1, length]`` the prompt.
          generation_config: of the call, as it is in the loop.
          scores_are_raw: whether scores are the model's own logits, unprocessed.

        Raises:
          ConfigError: the run's policy cannot be served by this drafter.
        """
        self._run, self._source, self._config = run, source, generation_config
        self._id = run.begin(source)
        self._prompt_tokens = int(input_ids.shape[1])
        self._length = self._prompt_tokens
        limit = max(int(generation_config.max_length) - self._length, 1)
        controller, policy = run.controller, run.policy
        with run.lock:
            number = (
                None
                if run.request_class is None
                else np.array([controller.constraints.number(run.request_class)])
            )
            self._rows = controller.admit(
                np.array([max(self._prompt_tokens, 1)]),
                np.array([limit]),
                np.array([source.room(range(self._prompt_tokens))]),
                request_class=number,
                request_ids=[self._id],
            )
        self._back: LookingBack | None = None
        if policy.looks_back and source.reads_back:
            self._back = LookingBack(source)
            self._back.begin(int(self._rows[0]))
        self._hints: LiveHints | None = None
        if policy.takes_hints:
            self._hints = LiveHints(source, int(self._rows[0]) + 1)
            self._hints.begin(int(self._rows[0]))
        self._scores_are_raw = scores_are_raw
        # On the host, where somebody reads it there.
        self._follows_text = self._back is not None or self._hints is not None
        self._text: list[int] = input_ids[0].tolist() if self._follows_text else []
        eos = getattr(generation_config, "_eos_token_tensor", None)
        self._eos: set[int] = set() if eos is None else set(eos.flatten().tolist())
        self._output: list[int] = []
        self._cycles: list[CycleRecord] = []
        self._prefill_ms = 0.0
        self._has_drafted = False
        self._looked_ms = 0.0
        self._plan: Plan | None = None
        self._under_way: _UnderWay | None = None
        self._ended: FinishReason | None = None

    def draft(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The text ``[1, length]`` with the next draft behind it, and the draft's logits."""
        self._settle()
        plan, self._plan = self._plan or self._decide(ids), None
        began = time.perf_counter()
        proposal = self._propose(plan, ids)
        now = time.perf_counter()
        drafters_ran = bool(plan.tau.any() or plan.catch_up.any())
        draft_ms = (now - began) * 1e3 + self._looked_ms if drafters_ran else 0.0
        self._under_way = _UnderWay(plan, proposal, draft_ms, now)
        return proposal.ids, proposal.logits

    def verified(self, ids: torch.Tensor, scores: torch.Tensor) -> None:
        """Takes the text as verified ``[1, length]``, and its ``scores [1, n + 1, V]``."""
        assert self._under_way is not None
        emitted: list[int] = ids[0, self._length :].tolist()
        self._under_way.emitted = emitted
        if self._run.policy.looks_back and self._config.do_sample:
            self._under_way.chance = _chance(self._under_way.proposal, scores, emitted)
        if self._hints is not None and self._scores_are_raw:
            _, entropy, margin = token_signals(scores[:, len(emitted) - 1])[0].tolist()
            self._under_way.certainty = Certainty(np.array([entropy]), np.array([margin]))
        self._length += len(emitted)
        self._output += emitted

    def ends(self, ids: torch.Tensor) -> bool:
        """Asked when a cycle is over: whether what was promised ends the text here."""
        self._settle()
        if self._length >= int(self._config.max_length) or self._output[-1] in self._eos:
            return False  # it ends by itself
        with self._run.lock:
            reason = int(self._run.controller.ended(self._rows)[0])
            if reason == EndReason.NONE:
                self._plan = self._decide(ids)
                return False
        self._ended = _ENDINGS[reason]
        return True

    def finish(self, *, failed: bool) -> None:
        """The loop is over; its row is free. ``failed``: an exception ended it."""
        self._settle()
        run = self._run
        with run.lock:
            left = (self._plan, None if self._under_way is None else self._under_way.plan)
            for plan in filter(None, left):
                run.controller.withdraw(plan)
            run.controller.release(self._rows, finished=not failed)
            if failed:
                run.tally.end(None)
                return
        run.finish(
            Completion(
                id=self._id,
                category="",
                prompt_tokens=self._prompt_tokens,
                token_ids=tuple(self._output),
                finish_reason=self._finish_reason(),
                cycles=tuple(self._cycles),
                prefill_ms=self._prefill_ms,
                rule="sampling of transformers" if self._config.do_sample else "greedy",
            )
        )

    def _finish_reason(self) -> FinishReason:
        if self._output and self._output[-1] in self._eos:
            return "eos"
        if self._length >= int(self._config.max_length):
            return "length"
        return self._ended or "stop"

    def _decide(self, ids: torch.Tensor) -> Plan:
        """Plans the next cycle; ``_looked_ms`` is then the time of looking what can be drafted."""
        began = time.perf_counter()
        controller = self._run.controller
        found = self._source.look(ids, controller.max_draft_tokens)
        looked = time.perf_counter()
        with self._run.lock:
            behind = None
            if self._back is not None:
                prompt = np.array([self._prompt_tokens])
                behind = self._back.behind_tokens(self._rows, [self._text], prompt)
            hints = None
            if self._hints is not None:
                hints = self._hints.now(self._rows, [self._text])
            plan = controller.decide(self._rows, np.array([[found]]), behind, hints)
            self._run.tally.policy_ms += (time.perf_counter() - looked) * 1e3
        self._looked_ms = (looked - began) * 1e3
        return plan

    def _propose(self, plan: Plan, ids: torch.Tensor) -> Proposal:
        source, tau = self._source, int(plan.tau[0])
        if plan.drafter[0] != NO_DRAFTER and tau > 0:
            inside = self._run.policy.looks_inside_draft

            def keep_drafting(depth: int, signals: DraftSignals) -> bool:
                if not inside:
                    return True  # only what the drafter says of its tokens is asked for
                with self._run.lock:
                    return bool(self._run.controller.keep_drafting(plan, depth, signals)[0])

            listens = source.signals and (inside or self._hints is not None)
            return source.draft(ids, self._text, tau, keep_drafting if listens else None)
        if (
            plan.catch_up.any()
        ):  # reads the text, which a draft of one token does; nobody verifies it
            source.draft(ids, self._text, 1, None)
        else:
            source.rest(ids)
        return Proposal(ids, [])

    def _settle(self) -> None:
        """Reports the cycle whose tokens were verified, unless that is done."""
        cycle = self._under_way
        if cycle is None or cycle.emitted is None:
            return
        self._under_way = None
        run, plan, proposal = self._run, cycle.plan, cycle.proposal
        emitted = np.array([len(cycle.emitted)])
        accepted = np.array([_common(proposal.token_ids, cycle.emitted)])
        drafted = np.array([len(proposal.token_ids)])
        whole_ms = (time.perf_counter() - cycle.began) * 1e3
        runs = None
        if self._follows_text:
            self._text += cycle.emitted
        if self._back is not None:
            runs = self._back.runs(plan, [self._text], drafted, accepted, emitted)
        draft = Draft([proposal.token_ids], proposal.signals)
        if self._hints is not None:
            self._hints.after_cycle(plan, draft, emitted, cycle.certainty)
        width = plan.cycle.max_draft_tokens
        signals = None
        if run.policy.looks_inside_draft:
            signals = empty_signals(1, width)
            for whole, known in zip(signals, proposal.signals or (), strict=False):
                whole[:, : known.shape[1]] = known
        with run.lock:
            draft_ms, verify_ms = self._own_times(cycle, drafted, whole_ms)
            began = time.perf_counter()
            run.controller.observe(
                plan,
                drafted,
                accepted,
                emitted,
                draft_ms=draft_ms if run.measured_times else None,
                verify_ms=verify_ms if run.measured_times else None,
                signals=signals,
                runs=runs,
                acceptance_probability=_widened(cycle.chance, width),
            )
            run.tally.policy_ms += (time.perf_counter() - began) * 1e3
            record = cycle_record(
                0,
                plan,
                draft,
                int(accepted[0]),
                int(emitted[0]),
                times_ms=(draft_ms or 0.0, verify_ms or 0.0),
                with_signals=proposal.signals is not None,
            )
            run.tally.add(record)
        self._cycles.append(record)

    def _own_times(
        self, cycle: "_UnderWay", drafted: IntArray, verify_ms: float
    ) -> tuple[float | None, float | None]:
        """Times of drafting and verifying but for the prompt; None where that can't be told yet."""
        plan, pace = cycle.plan, self._run.pace
        drafter = np.where(drafted > 0, plan.drafter, NO_DRAFTER)
        modelled = cycle_times(plan.cycle, drafter, drafted, plan.catch_up, lockstep=True)
        modelled_ms = tuple(float(part[0]) for part in modelled)
        own: list[float | None] = [cycle.draft_ms, verify_ms]
        reading_ms = 0.0
        for i, (ratio, measured_ms, first) in enumerate(
            (
                (pace.draft, cycle.draft_ms, not self._has_drafted),
                (pace.verify, verify_ms, not self._cycles),
            )
        ):
            if first:
                own[i], more_ms = pace.split(ratio, measured_ms, modelled_ms[i])
                reading_ms += more_ms
            else:
                ratio.add(measured_ms, modelled_ms[i])
        self._has_drafted |= cycle.draft_ms > 0.0
        self._prefill_ms += reading_ms
        if reading_ms and self._run.measured_times:
            self._run.controller.elapse(self._rows, reading_ms)
        return own[0], own[1]


@dataclass
class _UnderWay:
    """A cycle that was not reported yet.

    Attributes:
      plan, proposal: what was planned, and drafted.
      draft_ms: time of drafting; ``began``: when the rest began, by ``time.perf_counter``.
      emitted: tokens verified; None until they are.
      chance: ``[1, n]`` of each drafted token to be accepted, NaN for those not tested; None where
        nobody asks.
      certainty: of the newest token, ``[1]``; None where nobody asks, or it is not known.
    """

    plan: Plan
    proposal: Proposal
    draft_ms: float
    began: float
    emitted: list[int] | None = None
    chance: FloatArray | None = None
    certainty: Certainty | None = None


def _common(drafted: Sequence[int], emitted: Sequence[int]) -> int:
    """Drafted tokens that were emitted: a correction never is the token that it corrects."""
    pairs = zip(drafted, emitted, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _chance(proposal: Proposal, scores: torch.Tensor, emitted: Sequence[int]) -> FloatArray | None:
    """Chance of each tested token of a draft, ``[1, n]``: min(1, p/q), where q is 1 for a copy.

    Leviathan, Kalman and Matias 2023, algorithm 1, as transformers applies it.
    """
    count = len(proposal.token_ids)
    if count == 0:
        return None
    tokens = proposal.ids[:, -count:, None].to(scores.device)
    chance = scores[:, :count].softmax(-1).gather(-1, tokens)[..., 0]
    if proposal.logits is not None:
        drawn = proposal.logits.to(scores.device).softmax(-1).gather(-1, tokens)[..., 0]
        chance = (chance / drawn).clamp(max=1.0)
    known: FloatArray = chance.double().cpu().numpy()
    known[:, _common(proposal.token_ids, emitted) + 1 :] = np.nan
    return known


def _widened(columns: FloatArray | None, width: int) -> FloatArray | None:
    """``[1, n]`` as ``[1, width]``, NaN in what is added."""
    if columns is None:
        return None
    return np.pad(columns, ((0, 0), (0, width - columns.shape[1])), constant_values=np.nan)
