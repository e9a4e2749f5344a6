"""Requests on their way into the engine: read one at a time, and checked as they are read."""

from collections.abc import Iterable

import numpy as np

from adaptive_spec.decoding.requests import Failed, Request
from adaptive_spec.errors import AdaptiveSpecError, ContextLengthError, PromptError


class Intake:
    """The requests of a run; none is read before there is room for it.

    Attributes:
      open: whether more may come.
    """

    def __init__(
        self,
        requests: Iterable[Request | None],
        *,
        context_limit: int,
        vocab_size: int,
        classes: tuple[str, ...],
    ) -> None:
        """Takes requests for a verifier of this context and vocabulary; reads none yet."""
        self._classes = classes
        self.open = True
        self._requests = iter(requests)
        self._context_limit = context_limit
        self._vocab_size = vocab_size
        self._seen: set[str] = set()

    def take(self) -> Request | Failed | None:
        """The next request, or why it cannot be decoded; None where none waits now."""
        try:
            request = next(self._requests)
        except StopIteration:
            self.open = False
            return None
        if request is None:
            return None
        try:
            self._check(request)
        except AdaptiveSpecError as error:
            return Failed(request, error)
        return request

    def _check(self, request: Request) -> None:
        if request.id in self._seen:
            raise PromptError(f"request {request.id!r}: two requests have this id")
        self._seen.add(request.id)
        if request.request_class not in (None, *self._classes):
            raise PromptError(
                f"request {request.id!r}: request_class = {request.request_class!r}; there are "
                f"{', '.join(self._classes)}"
            )
        ids = np.asarray(request.prompt_ids)
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise PromptError(
                f"request {request.id!r}: prompt_ids are an array of {ids.dtype} with {ids.ndim} "
                "dimensions; give a list of integers"
            )
        if ids.size >= self._context_limit:
            raise ContextLengthError(
                f"request {request.id!r}: the prompt has {ids.size} tokens, the model's context "
                f"{self._context_limit}; at least one must be left for the answer"
            )
        if ids.min() < 0 or ids.max() >= self._vocab_size:
            raise PromptError(
                f"request {request.id!r}: prompt_ids range from {ids.min()} to {ids.max()}; the "
                f"model's vocabulary allows 0 to {self._vocab_size - 1}"
            )
