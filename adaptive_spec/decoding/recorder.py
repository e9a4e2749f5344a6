"""Recording an exact trace: what a drafter would have said along the verifier's own output.

The output does not depend on tau, so one look at each position is enough (docs/exactness.md):

- a drafter that goes token by token is run over the finished text in one pass, which gives its
  choice and signals everywhere; what it says after a wrong choice depends only on where that was,
  so one rollout per disagreement completes the trace;
- prompt lookup is asked at every position;
- a composed drafter is recorded drafter by drafter;
- the verifier is run over the finished text once more, for how sure it was of each token.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from adaptive_spec._arrays import BoolArray, FloatArray, IntArray
from adaptive_spec.decoding import transfer
from adaptive_spec.decoding.drafters.base import Drafter
from adaptive_spec.decoding.drafters.composed import ComposedDrafter
from adaptive_spec.decoding.drafters.draft_model import DraftModelDrafter
from adaptive_spec.decoding.drafters.prompt_lookup import PromptLookupDrafter, matches, run_length
from adaptive_spec.decoding.drafters.synthetic import SyntheticDrafter
from adaptive_spec.decoding.requests import Completion, Request
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.decoding.sampling import Contexts
from adaptive_spec.decoding.token_signals import NAMES, token_signals
from adaptive_spec.decoding.verification import GREEDY, VerificationRule
from adaptive_spec.errors import ConfigError, NumericsError
from adaptive_spec.hints import Certainty
from adaptive_spec.traces.sequences import (
    DrafterTrace,
    SequenceTrace,
    SignalTrace,
    in_default_order,
    run_lengths_of,
)
from adaptive_spec.traces.synthetic import sequence_number

_ROLLOUTS_AT_ONCE = 16
_TOKENS_AT_ONCE = 128
"""Of the verifier, whose logits take vocabulary-wide memory for each."""


def require_tau_invariant(rule: VerificationRule) -> None:
    """Refuses rules whose outputs depend on tau: no trace replays them.

    Raises:
      ConfigError: says what to use instead.
    """
    if not rule.tau_invariant:
        raise ConfigError(
            f"record: under the rule {rule.name!r} the output depends on tau, so that no trace "
            "replays it; use the rule 'coupled' to record sampled text, or 'greedy'"
        )


class Recorder:
    """Turns completions into sequence traces, for one drafter."""

    def __init__(
        self,
        drafter: Drafter,
        context_limit: int,
        *,
        signal_depth: int = 10,
        rule: VerificationRule = GREEDY,
        vocab_size: int = 0,
        verifier: Any = None,
    ) -> None:
        """Sets up a recorder.

        Args:
          drafter: whose proposals are recorded; not used for decoding meanwhile.
          context_limit: the verifier's, in tokens.
          signal_depth: tokens of a draft whose signals are kept, for policies that look inside it;
            0 for none. Run lengths serve any tau.
          rule: by which the completions were decoded.
          vocab_size: of the verifier; needed for rules with a repetition penalty or processors.
          verifier: the verifier's transformers model, to record how sure it was for policies that
            take hints; None to leave that out.

        Raises:
          ConfigError: a drafter of a kind that cannot be recorded, a rule whose outputs depend on
            tau, or one that reads the text without a ``vocab_size``.
        """
        require_tau_invariant(rule)
        if rule.sampling.reads_text and not vocab_size:
            raise ConfigError(
                f"record: the rule {rule.spec!r} changes logits by the text; give the verifier's "
                "vocab_size"
            )
        self._composed = isinstance(drafter, ComposedDrafter)
        self._drafters = drafter.components
        for one in self._drafters:
            if not isinstance(one, DraftModelDrafter | PromptLookupDrafter | SyntheticDrafter):
                raise ConfigError(f"record: drafters of type {type(one).__name__} are not known")
        self._context_limit = context_limit
        self._rule = rule
        self._vocab_size = vocab_size
        self._depth = max(signal_depth - 1, 0)
        self._signals = signal_depth > 0
        self._verifier = None if verifier is None else ModelRunner(verifier)
        self._runners = {
            one.spec: ModelRunner(one.runner.model, slots=1 + _ROLLOUTS_AT_ONCE)
            for one in self._drafters
            if isinstance(one, DraftModelDrafter)
        }

    def record(self, request: Request, completion: Completion) -> SequenceTrace:
        """The trace of a finished request, decoded by any policy.

        Raises:
          ConfigError: the output was cut short by a budget or a deadline, or cancelled: a replay
            would take its end for the verifier's own.
          NumericsError: the drafter's logits are not finite.
        """
        if completion.cut_short:
            raise ConfigError(
                f"record: request {request.id!r} ended early ({completion.finish_reason}); record "
                "completions that ended by themselves"
            )
        prompt, output = list(request.prompt_ids), list(completion.token_ids)
        limit = min(request.max_new_tokens, self._context_limit - len(prompt))
        seed = request.noise_seed(self._rule.seed)
        said = tuple(self._along(drafter, prompt, output, seed) for drafter in self._drafters)
        whole = in_default_order(said) if self._composed else said[0]
        return SequenceTrace(
            id=request.id,
            category=request.category,
            prompt_tokens=len(prompt),
            run_lengths=whole.run_lengths,
            proposes=whole.proposes,
            limit_tokens=limit,
            draftable_tokens=whole.draftable_tokens,
            finish_reason=completion.finish_reason,
            signals=whole.signals,
            prompt_ids=np.asarray(prompt, np.int64),
            output_ids=np.asarray(output, np.int64),
            components=said if self._composed else (),
            certainty=self._certainty(prompt, output),
        )

    @torch.inference_mode()
    def _certainty(self, prompt: list[int], output: list[int]) -> Certainty | None:
        """How sure the verifier was of each output token."""
        if self._verifier is None:
            return None
        runner, parts = self._verifier, []
        runner.reset(0)
        runner.prefill(0, prompt[:-1])
        before = [prompt[-1], *output[:-1]]
        for begin in range(0, len(before), _TOKENS_AT_ONCE):
            logits = runner.append([0], [before[begin : begin + _TOKENS_AT_ONCE]])[0]
            parts.append(token_signals(logits)[:, 1:])
        entropy, margin = transfer.to_host(torch.cat(parts)).T.astype(np.float64)
        return Certainty(entropy, margin)

    def _along(
        self, drafter: Drafter, prompt: list[int], output: list[int], seed: int
    ) -> DrafterTrace:
        """What one drafter would have said along the output."""
        draftable = None if drafter.context_limit is None else drafter.room(prompt)
        proposes = np.ones(len(output), np.bool_)
        signals: dict[str, SignalTrace] = {}
        if isinstance(drafter, PromptLookupDrafter):
            runs, proposes, signals = self._lookup(drafter, prompt, output)
        elif isinstance(drafter, SyntheticDrafter):
            runs = drafter.hazards.run_lengths(sequence_number(prompt), len(output))
        else:
            assert isinstance(drafter, DraftModelDrafter)
            runs, signals = self._draft_model(drafter, prompt, output, draftable, seed)
        return DrafterTrace(runs, proposes, draftable, signals if self._signals else {})

    def _lookup(
        self, drafter: PromptLookupDrafter, prompt: list[int], output: list[int]
    ) -> tuple[IntArray, BoolArray, dict[str, SignalTrace]]:
        text = prompt + output
        found = list(matches(text, len(prompt), drafter.max_ngram, drafter.min_ngram))
        runs = [
            0 if match is None else run_length(text, len(prompt) + p, match.source)
            for p, match in enumerate(found[:-1])
        ]
        length = np.array([np.nan if match is None else match.length for match in found])
        later = np.repeat(length[:, None], self._depth, axis=1)
        proposes = np.array([match is not None for match in found[:-1]])
        return np.array(runs, np.int64), proposes, {"match_length": SignalTrace(length, later)}

    @torch.inference_mode()
    def _draft_model(
        self,
        drafter: DraftModelDrafter,
        prompt: list[int],
        output: list[int],
        draftable: int | None,
        seed: int,
    ) -> tuple[IntArray, dict[str, SignalTrace]]:
        runner = self._runners[drafter.spec]
        # Beyond the drafter's context nothing is ever drafted, so nothing needs to be known.
        known = len(output) if draftable is None else min(len(output), draftable)
        agreement = np.zeros(len(output), np.bool_)
        first = np.full((len(output) + 1, 3), np.nan)
        later = np.full((len(output) + 1, self._depth, 3), np.nan)
        if known > 0 and len(prompt) + known <= runner.context_limit:
            text = prompt + output[:known]
            runner.reset(0)
            runner.prefill(0, text[: len(prompt) - 1])
            logits = runner.append([0], [text[len(prompt) - 1 :]])[0]  # [known + 1, V]
            logits = logits[:, : drafter.vocab_size]
            drafted = transfer.to_device([output[:known]], runner.device)
            along = self._contexts([prompt], seed, [0] * (known + 1), range(known + 1), drafted)
            choices = _read(self._rule.choose(logits, along, drafter.token_ids).token_ids)
            seen = token_signals(logits)
            agreement[:known] = choices[:known] == output[:known]
            first[: known + 1] = transfer.to_host(seen)
            if self._signals and self._depth:
                wrong = [*np.flatnonzero(~agreement[:known]).tolist(), known]
                for begin in range(0, len(wrong), _ROLLOUTS_AT_ONCE):
                    some = wrong[begin : begin + _ROLLOUTS_AT_ONCE]
                    texts = [text[: len(prompt) + position] for position in some]
                    later[some] = self._roll_out(drafter, texts, choices[some], seed)
        signals = {name: SignalTrace(first[:, i], later[:, :, i]) for i, name in enumerate(NAMES)}
        return run_lengths_of(agreement), signals

    def _roll_out(
        self, drafter: DraftModelDrafter, texts: list[list[int]], wrong: IntArray, seed: int
    ) -> FloatArray:
        """Signals of drafting on after a wrong token behind each text, ``[n, depth, 3]``."""
        runner = self._runners[drafter.spec]
        rows = list(range(1, 1 + len(texts)))
        runner.cache.fork(0, rows)
        runner.truncate(rows, [len(text) for text in texts])
        room = [runner.context_limit - len(text) for text in texts]
        tokens = transfer.to_device(wrong.tolist(), runner.device)
        drafted = tokens[:, None]
        result = torch.full((len(rows), self._depth, 3), torch.nan, device=runner.device)
        for step in range(self._depth):
            left = sum(size > step for size in room)  # texts get longer: the last run out first
            if left == 0:
                break
            logits = runner.step(rows[:left], tokens[:left])[:, 0, : drafter.vocab_size]
            result[:left, step] = token_signals(logits)
            after = self._contexts(
                texts[:left], seed, range(left), [step + 1] * left, drafted[:left]
            )
            chosen = self._rule.choose(logits, after, drafter.token_ids).token_ids
            tokens = chosen.clamp(min=0)
            drafted = torch.cat([drafted[:left], tokens[:, None]], dim=1)
        runner.truncate(rows, [0] * len(rows))
        signals: FloatArray = transfer.to_host(result)
        return signals

    def _contexts(
        self,
        texts: list[list[int]],
        seed: int,
        rows: Sequence[int],
        counts: Sequence[int],
        drafted: torch.Tensor,
    ) -> Contexts:
        """Places in one sequence, after ``counts`` of a row's drafted tokens."""
        return Contexts(
            texts,
            np.full(len(texts), seed, np.uint64),
            np.asarray(rows, np.int64),
            np.asarray(counts, np.int64),
            drafted,
            self._vocab_size,
            drafted.device,
        )


def _read(chosen: torch.Tensor) -> IntArray:
    choices: IntArray = transfer.to_host(chosen)
    if (choices < 0).any():
        raise NumericsError("the draft model's logits are not finite; load it in float32")
    return choices
