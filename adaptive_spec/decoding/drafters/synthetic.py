"""A synthetic drafter: knows the verifier's output, and spoils it with prescribed hazards.

For controlled experiments: acceptance is exactly what was asked for, on any text. It says nothing
of any real drafter, and its speed is no draft model's: price its drafts by the cost model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.decoding.draft import Draft
from adaptive_spec.decoding.drafters.base import (
    Drafter,
    DraftRequest,
    block_draft,
    empty_signals,
)
from adaptive_spec.errors import ConfigError
from adaptive_spec.traces.synthetic import Hazards, sequence_number


class SyntheticDrafter(Drafter):
    """Drafts what an oracle says, but for tokens that are made wrong.

    Sequences are told apart by their prompts: the same prompt meets the same rejections. Hazards
    hold where the output does not depend on tau; other rules refuse some of what is right, too.
    """

    signals = ()

    def __init__(self, oracle: Drafter, hazards: Hazards, vocab_size: int) -> None:
        """Sets up a drafter with as many rows as the oracle.

        Args:
          oracle: a drafter that proposes just what the verifier will write: the verifier itself as
            a draft model, or ``KnownOutputs``.
          hazards: chance of each token to be made wrong.
          vocab_size: tokens of the verifier, >= 2.
        """
        self.oracle = oracle
        self.hazards = hazards
        self.spec = hazards.spec
        self.drafting = hazards.drafting
        self.context_limit = oracle.context_limit
        self._vocab_size = vocab_size
        self._prompts: dict[int, tuple[int, int]] = {}  # row -> number and length of its prompt

    def begin(self, row: int, prompt_ids: Sequence[int]) -> None:
        self._prompts[row] = sequence_number(prompt_ids), len(prompt_ids)
        self.oracle.begin(row, prompt_ids)

    def end(self, row: int) -> None:
        self._prompts.pop(row, None)
        self.oracle.end(row)

    def propose(self, asked: DraftRequest) -> Draft:
        whole = replace(
            asked,
            keep_drafting=None,
            want_signals=False,
            want_confidence=False,
            catch_up=None,
            looks_back=False,
        )
        told = self.oracle.propose(whole).read().token_ids
        drafted = [
            self._spoilt(row, len(text), tokens)
            for row, text, tokens in zip(asked.rows, asked.texts, told, strict=True)
        ]
        return block_draft(drafted, empty_signals(len(drafted), asked.depth), asked)

    def run_lengths(
        self, row: int, text: Sequence[int], prompt_tokens: int, first: int
    ) -> tuple[IntArray, BoolArray]:
        written = len(text) - prompt_tokens
        whole = self.hazards.run_lengths(self._prompts[row][0], written)
        return whole[first:], np.ones(written - first, np.bool_)

    def _spoilt(self, row: int, text_tokens: int, tokens: list[int]) -> list[int]:
        sequence, prompt_tokens = self._prompts[row]
        right = self.hazards.accepts(sequence, text_tokens - prompt_tokens, len(tokens))
        return [
            token if kept else (token + 1) % self._vocab_size
            for token, kept in zip(tokens, right.tolist(), strict=True)
        ]


class KnownOutputs(Drafter):
    """An oracle that was told the outputs beforehand; after their end it proposes token 0."""

    spec = "known-outputs"
    drafting = "token"
    context_limit = None
    signals = ()

    def __init__(self, outputs: Mapping[tuple[int, ...], Sequence[int]]) -> None:
        """Takes what the verifier writes after each prompt, as decoded plainly before."""
        self._outputs = outputs
        self._rows: dict[int, tuple[int, Sequence[int]]] = {}  # row -> prompt length and output

    def begin(self, row: int, prompt_ids: Sequence[int]) -> None:
        prompt = tuple(prompt_ids)
        if prompt not in self._outputs:
            raise ConfigError(f"known outputs: none for the prompt of {len(prompt)} tokens; add it")
        self._rows[row] = len(prompt), self._outputs[prompt]

    def end(self, row: int) -> None:
        self._rows.pop(row, None)

    def propose(self, asked: DraftRequest) -> Draft:
        drafted = []
        for row, text, count in zip(asked.rows, asked.texts, asked.tau.tolist(), strict=True):
            prompt_tokens, output = self._rows[row]
            position = len(text) - prompt_tokens
            known = list(output[position : position + count])
            drafted.append(known + [0] * (count - len(known)))
        return block_draft(drafted, empty_signals(len(drafted), asked.depth), asked)
