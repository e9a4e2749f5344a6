"""One causal language model with its KV cache: ragged rows in, logits out, one pass per call.

Rows of different lengths share a pass: their new tokens are padded on the right to the widest row,
each query sees exactly the tokens before it through a mask, and positions are explicit. The
padding's keys and values land beyond the row's length, where the next pass overwrites them.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from adaptive_spec.decoding.compatibility import context_limit, require_supported
from adaptive_spec.decoding.forward.base import Pass
from adaptive_spec.decoding.forward.choice import TOLERANCE, choose_forward
from adaptive_spec.decoding.forward.static import StaticForward, StaticShapes
from adaptive_spec.decoding.kv_cache import KVCache
from adaptive_spec.decoding.transfer import to_device
from adaptive_spec.errors import ModelLoadError


class ModelRunner:
    """Runs a model over rows of its cache.

    Attributes:
      model: the transformers model, set to evaluation mode; ``cache``: its KV cache.
      slots: rows; ``context_limit``: most tokens of a row; ``vocab_size``: of the logits.
    """

    def __init__(
        self,
        model: Any,
        *,
        slots: int = 1,
        capacity_tokens: int = 256,
        prefill_chunk_tokens: int = 512,
        shapes: StaticShapes | None = None,
    ) -> None:
        """Wraps a model.

        Args:
          model: a transformers causal language model.
          slots: sequences held at a time, >= 1.
          capacity_tokens: tokens per row to make room for at first; grows when needed.
          prefill_chunk_tokens: most prompt tokens of one pass, all rows together, >= 1.
          shapes: round passes up to these, and capture them as CUDA graphs on CUDA devices
            (docs/gpu.md); None to run each as it is.

        Raises:
          ModelLoadError: a kind of model that the core cannot drive. ``check`` also tries it out.
        """
        require_supported(model)
        if "position_ids" not in inspect.signature(model.forward).parameters:
            raise ModelLoadError(
                f"{type(model).__name__}: it takes no position_ids, so rows cannot be told apart"
            )
        self.model = model.eval()
        self.slots = slots
        self.context_limit = context_limit(model.config)
        self.vocab_size = int(model.get_input_embeddings().weight.shape[0])
        self.device: torch.device = model.get_input_embeddings().weight.device
        self.cache = KVCache(model.config.num_hidden_layers, slots, capacity_tokens)
        self._forward = choose_forward(self.model)
        if shapes is not None:
            self._forward = StaticForward(self._forward, shapes)
        self._chunk = prefill_chunk_tokens

    def length(self, row: int) -> int:
        """Tokens that a row's cache holds."""
        return self.cache.lengths[row]

    def truncate(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Rolls rows back to these lengths."""
        self.cache.truncate(rows, lengths)

    def reset(self, row: int) -> None:
        """Empties a row."""
        self.cache.truncate([row], [0])

    def prefill(self, row: int, token_ids: Sequence[int]) -> None:
        """Appends tokens to one row without computing logits; as ``prefill_rows``."""
        self.prefill_rows([row], [token_ids])

    @torch.inference_mode()
    def prefill_rows(self, rows: Sequence[int], token_ids: Sequence[Sequence[int]]) -> None:
        """Appends tokens to rows without computing logits: together, and in chunks.

        Args:
          rows: ``[b]`` distinct, ascending.
          token_ids: ``[b]`` lists of any lengths, 0 among them. A pass takes at most
            ``prefill_chunk_tokens`` tokens, padding included.
        """
        left = {row: list(own) for row, own in zip(rows, token_ids, strict=True) if len(own)}
        while left:
            together = list(left)[: self._chunk]
            width = min(max(len(left[row]) for row in together), self._chunk // len(together))
            chunks = [left[row][:width] for row in together]
            widths = [len(own) for own in chunks]
            with self.cache.writing(together, widths) as starts:
                ids = to_device(_padded(chunks), self.device)
                self._forward.fill(Pass.ragged(ids, starts, widths), self.cache)
            left = {row: own[width:] if row in together else own for row, own in left.items()}
            left = {row: own for row, own in left.items() if own}

    @torch.inference_mode()
    def append(
        self, rows: Sequence[int], token_ids: Sequence[Sequence[int]], *, last_only: bool = False
    ) -> torch.Tensor:
        """Appends tokens to rows in one pass.

        Args:
          rows: ``[b]`` distinct, ascending.
          token_ids: ``[b]`` lists of at least one token.
          last_only: compute logits for each row's last token alone.

        Returns:
          Logits that follow each token: ``[b, width, V]``, meaningless beyond a row's own tokens;
          ``[b, 1, V]`` for the last tokens.
        """
        widths = [len(tokens) for tokens in token_ids]
        wanted = None
        if last_only and max(widths) > 1:
            wanted = to_device([[own - 1] for own in widths], self.device)
        return self._logits(rows, to_device(_padded(token_ids), self.device), widths, wanted)

    @torch.inference_mode()
    def extend(
        self, rows: Sequence[int], token_ids: torch.Tensor, widths: Sequence[int]
    ) -> torch.Tensor:
        """Appends tokens that are on the device already; as ``append``.

        Args:
          rows: ``[b]`` distinct, ascending.
          token_ids: ``[b, width]``, padded on the right with any token.
          widths: ``[b]`` tokens that each row owns, >= 1, the largest of them ``width``.
        """
        return self._logits(rows, token_ids, list(widths), None)

    @torch.inference_mode()
    def step(self, rows: Sequence[int], token_ids: torch.Tensor) -> torch.Tensor:
        """Appends one token per row, ``[b]`` on the device; returns logits ``[b, 1, V]``."""
        return self._logits(rows, token_ids[:, None], [1] * len(rows), None)

    def _logits(
        self,
        rows: Sequence[int],
        ids: torch.Tensor,
        widths: list[int],
        wanted: torch.Tensor | None,
    ) -> torch.Tensor:
        """One pass over ``ids`` ``[b, width]``, of which each row owns the first ``widths``."""
        with self.cache.writing(rows, widths) as starts:
            return self._forward.logits(Pass.ragged(ids, starts, widths), self.cache, wanted)

    @staticmethod
    def check(model: Any) -> None:
        """Refuses a model that the core cannot drive, or drives wrongly.

        A few tokens run through our cache in ragged chunks, and once in a plain pass without any
        cache; logits must agree within rounding.

        Raises:
          ModelLoadError: the reason.
        """
        runner = ModelRunner(model, slots=4, capacity_tokens=64)
        try:
            difference = runner._difference_to_plain_pass()
        except Exception as error:
            raise ModelLoadError(
                f"{type(model).__name__}: it cannot be driven by the decoding core "
                f"({type(error).__name__}: {error})"
            ) from error
        allowed = TOLERANCE.get(model.dtype, 1e-1)
        if not difference <= allowed:  # NaN must not pass
            raise ModelLoadError(
                f"{type(model).__name__}: logits through the decoding core's cache differ from a "
                f"plain pass by {difference:.2g} of their size (allowed {allowed:g}); this "
                "architecture's attention or positions are not supported"
            )

    @torch.inference_mode()
    def _difference_to_plain_pass(self) -> float:
        """Largest difference of last logits to those of a plain pass, over their magnitude."""
        rows, prefixes, suffixes = [0, 1, 3], [4, 1, 2], [3, 1, 5]
        texts = [
            [(7 + 31 * row + 13 * i * i) % self.vocab_size for i in range(before + after)]
            for row, before, after in zip(rows, prefixes, suffixes, strict=True)
        ]
        for row, text, before in zip(rows, texts, prefixes, strict=True):
            self.prefill(row, text[:before])
        tails = [text[before:] for text, before in zip(texts, prefixes, strict=True)]
        ours = self.append(rows, tails, last_only=True)[:, 0]
        self.truncate(rows, prefixes)
        again = self.append(rows[:2], tails[:2], last_only=True)[:, 0]
        plain = torch.stack(
            [
                self.model(input_ids=to_device([text], self.device), use_cache=False).logits[0, -1]
                for text in texts
            ]
        )
        worst = torch.maximum((ours - plain).abs().amax(), (again - plain[:2]).abs().amax())
        return float(worst / plain.abs().amax().clamp(min=1e-6))


def _padded(token_ids: Sequence[Sequence[int]]) -> list[list[int]]:
    """Lists of one length, the longest's: ``[b, width]``."""
    width = max(map(len, token_ids))
    return [[*own] + [0] * (width - len(own)) for own in token_ids]
