"""Drafts by a model: transformers' assistant, or the first layers of the model itself.

transformers' own generator drafts; here it is told how far, and listened to. It hides two things
that a policy may ask for, and that the assistant's forward passes show in passing:

- how sure it is of each token, before temperature and the like (``DraftSignals``);
- what it expects at verified tokens that its cache lacks, since it reads them before it drafts: its
  agreement with the bonus token, and with a stretch that was decoded without drafts.
"""

import inspect
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from adaptive_spec._arrays import BoolArray, IntArray
from adaptive_spec.decoding.compatibility import context_limit
from adaptive_spec.decoding.drafters.base import empty_signals, first_columns
from adaptive_spec.decoding.drafters.predictions import Predictions
from adaptive_spec.decoding.token_signals import NAMES, token_signals
from adaptive_spec.integrations.transformers.compatibility import grow_masks, require_attributes
from adaptive_spec.integrations.transformers.drafts import DraftSource, KeepDrafting, Proposal
from adaptive_spec.policy import DraftSignals

_STEERED_BY = (
    "assistant_model",
    "num_assistant_tokens",
    "main_model_max_length",
    "generation_config",
    "assistant_generation_config",
    "assistant_kwargs",
    "_update_past_and_masks",
)


class AssistantSource(DraftSource):
    """Drafts by an ``AssistedCandidateGenerator``.

    The assistant's confidence threshold and schedule are set aside: the policy takes their place.
    """

    drafting = "token"
    signals = NAMES

    def __init__(self, name: str, inner: Any, prompt_tokens: int, *, reads_back: bool) -> None:
        """Takes a fresh generator over.

        Args:
          name: what costs call the drafter.
          inner: the generator, made for this call alone.
          prompt_tokens: length of the prompt.
          reads_back: whether somebody asks what it would have proposed, and there is such a thing.

        Raises:
          ConfigError: the generator is not made as it was known to be.
        """
        require_attributes(inner, _STEERED_BY)
        self.name = name
        self.static_tau = int(inner.num_assistant_tokens)
        self._inner, self._model = inner, inner.assistant_model
        inner.generation_config.assistant_confidence_threshold = 0
        inner.assistant_generation_config.assistant_confidence_threshold = 0
        # They end verified text; for the assistant transformers would want a tokenizer, and fail.
        inner.generation_config.stop_strings = None
        config = self._model.config
        self._encodes = bool(config.is_encoder_decoder)
        self._limit = context_limit(config.get_text_config(decoder=True))
        takes = inspect.signature(self._model.forward).parameters
        self.reads_back = reads_back and "logits_to_keep" in takes
        self._predictions = Predictions(prompt_tokens)
        self._stale = False  # its cache may hold tokens that were refused

    def room(self, text: Sequence[int]) -> int:
        return max(self._limit - len(text), 0)

    def look(self, ids: torch.Tensor, most: int) -> bool:
        return ids.shape[1] < self._limit

    def draft(
        self, ids: torch.Tensor, text: list[int], tau: int, keep_drafting: KeepDrafting | None
    ) -> Proposal:
        inner, length = self._inner, ids.shape[1]
        kwargs = inner.assistant_kwargs
        if kwargs.get("past_key_values") is None:
            grow_masks(kwargs, length, self._encodes)
        unknown = 0
        if self.reads_back:
            unknown = length - self._predictions.settle(text)
            kwargs["logits_to_keep"] = unknown + 1
        signals = None if keep_drafting is None else empty_signals(1, tau)
        listener = _Listener(length, signals, keep_drafting)
        if keep_drafting is not None:
            kwargs["stopping_criteria"] = StoppingCriteriaList([listener])
        # As many as were asked for: the controller keeps the call's limit, and an assistant that is
        # only to read drafts a token behind the last one, which nobody verifies.
        inner.num_assistant_tokens, inner.main_model_max_length = tau, length + tau + 1
        with _heard(self._model, listener) if signals or unknown else nullcontext(), self._layers():
            drafted, logits = inner.get_candidates(ids)
        inner.assistant_kwargs.pop("stopping_criteria", None)
        self._stale = True
        token_ids: list[int] = drafted[0, length:].tolist()
        if self.reads_back:
            self._predictions.add(length - unknown, listener.expected(unknown), token_ids)
        said = None if signals is None else first_columns(signals, len(token_ids))
        return Proposal(drafted, token_ids, logits, said)

    def rest(self, ids: torch.Tensor) -> None:
        # transformers drops refused tokens when it drafts next, by the length that the text has
        # then: too late, where a stretch without drafts has made it longer than the cache.
        if self._stale:
            self._inner._update_past_and_masks(ids)  # noqa: SLF001
            self._stale = False

    def run_lengths(
        self, row: int, text: Sequence[int], prompt_tokens: int, first: int
    ) -> tuple[IntArray, BoolArray]:
        lengths = self._predictions.run_lengths(text, first)
        return lengths, np.ones(lengths.size, np.bool_)

    @contextmanager
    def _layers(self) -> Iterator[None]:
        """Puts back the number of layers, which an early exit leaves changed where it fails."""
        if not hasattr(self._inner, "assistant_early_exit"):
            yield
            return
        config = getattr(self._model, self._model.base_model_prefix).config
        layers = config.num_hidden_layers
        try:
            yield
        finally:
            config.num_hidden_layers = layers


class _Listener(StoppingCriteria):
    """Hears the assistant's logits, and stops it when it is told to."""

    def __init__(
        self, length: int, signals: DraftSignals | None, keep_drafting: KeepDrafting | None
    ) -> None:
        """Follows a draft behind ``length`` tokens; fills ``signals``, one row, where given."""
        self._length, self._signals, self._keep_drafting = length, signals, keep_drafting
        self._thread = threading.get_ident()
        self._first: torch.Tensor | None = None
        self._newest: torch.Tensor | None = None

    def hear(self, module: Any, arguments: Any, output: Any) -> None:
        """A forward pass of the assistant's; those of other threads are none of our business."""
        if threading.get_ident() == self._thread:
            if self._first is None:
                self._first = output.logits
            self._newest = output.logits[:, -1]

    def expected(self, count: int) -> list[int]:
        """What it expected at each of the text's last ``count`` tokens, by those before them."""
        if count == 0:
            return []
        assert self._first is not None
        expected: list[int] = self._first[0, -count - 1 : -1].argmax(-1).tolist()
        return expected

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Asked by ``generate`` after each token, where somebody may stop it."""
        assert self._newest is not None
        assert self._signals is not None
        assert self._keep_drafting is not None
        depth = input_ids.shape[1] - self._length
        for name, value in zip(NAMES, token_signals(self._newest)[0].tolist(), strict=True):
            getattr(self._signals, name)[0, depth - 1] = value
        last = depth == self._signals.entropy.shape[1]
        stop = not last and not self._keep_drafting(depth, first_columns(self._signals, depth))
        return torch.full((input_ids.shape[0],), stop, device=input_ids.device)


@contextmanager
def _heard(model: Any, listener: _Listener) -> Iterator[None]:
    handle = model.register_forward_hook(listener.hear)
    try:
        yield
    finally:
        handle.remove()
