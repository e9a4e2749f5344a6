"""One cycle of a ragged batch: plan, draft, verify, emit, learn."""

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.controller import Controller, Plan
from adaptive_spec.decoding.cycle_records import cycle_record
from adaptive_spec.decoding.draft import Draft
from adaptive_spec.decoding.drafters.base import Drafter, DraftRequest, empty_signals
from adaptive_spec.decoding.hints import LiveHints
from adaptive_spec.decoding.looking_back import LookingBack
from adaptive_spec.decoding.requests import CycleRecord, FinishReason
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.decoding.sequences import RunningSequence
from adaptive_spec.decoding.stopwatch import Stopwatch
from adaptive_spec.decoding.transfer import to_device
from adaptive_spec.decoding.verification import Block, Chooser, Verdict, VerificationRule
from adaptive_spec.hints import Hints


class Verified(NamedTuple):
    """A cycle after its verifier pass, before anything is emitted.

    Attributes:
      draft: what was proposed; ``verdict``: what stands of it, and what follows.
      times_ms: of drafting and of the pass.
    """

    draft: Draft
    verdict: Verdict
    times_ms: tuple[float, float]


class Emitted(NamedTuple):
    """What a cycle gave one sequence; ``reason`` is why it ended with it, None if it goes on."""

    cycle: CycleRecord
    token_ids: list[int]
    reason: FinishReason | None


class CycleRunner:
    """Carries out what a controller decides for sequences that run."""

    def __init__(
        self,
        verifier: ModelRunner,
        drafter: Drafter | None,
        controller: Controller,
        rule: VerificationRule,
        *,
        batch_size: int,
        record_signals: bool,
        measured_times: bool,
    ) -> None:
        """Sets up without rows; arguments as for ``DecodingEngine``."""
        self._verifier = verifier
        self._drafter = drafter
        self._controller = controller
        self._rule = rule
        self._record_signals = record_signals
        self._measured_times = measured_times
        self._looks_inside = controller.policy.looks_inside_draft
        looks_back = controller.policy.looks_back
        # Where the output depends on tau there is nothing to look back on but what was drafted.
        self._wants_acceptance = looks_back and not rule.tau_invariant
        self._back: LookingBack | None = None
        if drafter is not None and looks_back and rule.tau_invariant:
            self._back = LookingBack(drafter)
        self._hints: LiveHints | None = None
        if controller.policy.takes_hints:
            self._hints = LiveHints(drafter, batch_size)

    def begin(self, row: int) -> None:
        """Another sequence takes this row."""
        if self._back is not None:
            self._back.begin(row)
        if self._hints is not None:
            self._hints.begin(row)

    def plan(self, rows: IntArray, sequences: list[RunningSequence]) -> Plan:
        """What is to be done with sequences in these rows, ``[B]``, ascending."""
        drafters = self._drafters(rows, sequences)
        return self._controller.decide(rows, *drafters, self._hints_for(rows, sequences))

    def verify(self, plan: Plan, sequences: list[RunningSequence]) -> Verified:
        """Drafts and verifies; of the sequences' texts nothing changes yet.

        Raises:
          NumericsError: a model returned NaN.
        """
        watch = Stopwatch(self._verifier.device)
        draft = self._propose(plan, sequences)
        watch.lap()
        verdict = self._judge(plan, sequences, draft)
        draft_ms, verify_ms = watch.stop()
        drafters_ran = plan.tau.any() or plan.catch_up.any()
        return Verified(draft, verdict, (draft_ms if drafters_ran else 0.0, verify_ms))

    def emit(
        self, plan: Plan, sequences: list[RunningSequence], verified: Verified
    ) -> list[Emitted]:
        """Appends what was verified to the texts, and tells the controller."""
        draft, verdict, times_ms = verified
        emissions = [
            sequence.emit(tokens)
            for sequence, tokens in zip(sequences, verdict.token_ids, strict=True)
        ]
        emitted = np.array([len(tokens) for tokens, _ in emissions], np.int64)
        accepted = np.minimum(verdict.num_accepted_tokens, emitted)
        texts = [sequence.text for sequence in sequences]
        if self._hints is not None:
            self._hints.after_cycle(plan, draft, emitted, verdict.certainty)
        self._observe(plan, verified, texts, accepted, emitted)
        done = []
        for i, (sequence, (tokens, reason)) in enumerate(zip(sequences, emissions, strict=True)):
            cycle = cycle_record(
                i,
                plan,
                draft,
                int(accepted[i]),
                int(emitted[i]),
                times_ms=times_ms,
                with_signals=self._record_signals,
            )
            sequence.cycles.append(cycle)
            done.append(Emitted(cycle, tokens, reason))
        return done

    def _drafters(
        self, rows: IntArray, sequences: list[RunningSequence]
    ) -> tuple[BoolArray | None, IntArray | None]:
        """Which drafters would propose something, and how far they are behind the text."""
        if self._drafter is None:
            return None, None
        texts = [sequence.text for sequence in sequences]
        behind = None
        if self._back is not None:
            prompts = np.array([len(sequence.request.prompt_ids) for sequence in sequences])
            behind = self._back.behind_tokens(rows, texts, prompts)
        return self._drafter.available(rows.tolist(), texts), behind

    def _hints_for(self, rows: IntArray, sequences: list[RunningSequence]) -> Hints | None:
        if self._hints is None:
            return None
        return self._hints.now(rows, [sequence.text for sequence in sequences])

    def _propose(self, plan: Plan, sequences: list[RunningSequence]) -> Draft:
        catches_up = bool(plan.catch_up.any())
        if self._drafter is None or not (plan.tau.any() or catches_up):
            return Draft.none(len(sequences))
        asked = DraftRequest(
            plan.rows.tolist(),
            [sequence.text for sequence in sequences],
            plan.tau,
            keep_drafting=(
                functools.partial(self._controller.keep_drafting, plan)
                if self._looks_inside
                else None
            ),
            want_signals=self._record_signals,
            want_confidence=self._hints is not None,
            chooser=Chooser(self._rule, _seeds(sequences), self._verifier.vocab_size),
            catch_up=plan.catch_up if catches_up else None,
            looks_back=self._back is not None,
        )
        return self._drafter.propose_by(plan.drafter, asked)

    def _judge(self, plan: Plan, sequences: list[RunningSequence], draft: Draft) -> Verdict:
        """One pass over each row's last verified token and its draft."""
        device = self._verifier.device
        last = to_device([[sequence.text[-1]] for sequence in sequences], device)
        ids = torch.cat([last, draft.on_device(device)], dim=1)
        logits = self._verifier.extend(plan.rows.tolist(), ids, (draft.num_tokens + 1).tolist())
        texts = [sequence.text for sequence in sequences]
        block = Block(
            texts,
            draft,
            _seeds(sequences),
            wants_certainty=self._hints is not None,
            wants_acceptance=self._wants_acceptance,
        )
        return self._rule.verify(logits, block)

    def _observe(
        self,
        plan: Plan,
        verified: Verified,
        texts: list[list[int]],
        accepted: IntArray,
        emitted: IntArray,
    ) -> None:
        draft, verdict, times_ms = verified
        chance = verdict.acceptance_probability
        draft_ms, verify_ms = times_ms if self._measured_times else (None, None)
        signals = None
        if self._looks_inside:
            signals = empty_signals(plan.rows.size, plan.cycle.max_draft_tokens)
            if draft.signals is not None:
                for whole, known in zip(signals, draft.signals, strict=True):
                    whole[:, : known.shape[1]] = known
        runs = None
        if self._back is not None:
            runs = self._back.runs(plan, texts, draft.num_tokens, accepted, emitted)
        self._controller.observe(
            plan,
            draft.num_tokens,
            accepted,
            emitted,
            draft_ms=draft_ms,
            verify_ms=verify_ms,
            signals=signals,
            runs=runs,
            acceptance_probability=(
                None if chance is None else _widened(chance, plan.cycle.max_draft_tokens)
            ),
        )


def _widened(columns: FloatArray, width: int) -> FloatArray:
    """``[B, depth]`` as ``[B, width]``, NaN in what is added."""
    missing = width - columns.shape[1]
    return np.pad(columns, ((0, 0), (0, missing)), constant_values=np.nan)


def _seeds(sequences: list[RunningSequence]) -> npt.NDArray[np.uint64]:
    return np.array([sequence.seed for sequence in sequences], np.uint64)
