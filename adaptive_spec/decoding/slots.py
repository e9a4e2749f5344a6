"""What a running sequence occupies: one row in the controller, the verifier's cache, the drafter.

Rows are given back in all three at once. What their caches hold stays there until the row's next
prompt is read, so that prompts which begin like an earlier text need not be read again.
"""

import numpy as np

from adaptive_spec.controller import Controller
from adaptive_spec.decoding.drafters.base import Drafter
from adaptive_spec.decoding.prefix import read_prompts
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.errors import DrafterError, is_out_of_memory


class Slots:
    """The rows of an engine."""

    def __init__(
        self, verifier: ModelRunner, drafter: Drafter | None, controller: Controller, count: int
    ) -> None:
        """Sets up ``count`` free rows."""
        self._verifier = verifier
        self._drafter = drafter
        self._controller = controller
        self._count = count
        self._texts: dict[int, list[int]] = {}  # by row in use: prompt and verified output
        self._drafting: set[int] = set()  # rows in use whose text fits the drafter's context
        self._held: dict[int, list[int]] = {}  # by row, in use or not: what its cache begins with

    def take(
        self,
        request_id: str,
        text: list[int],
        limit: int,
        request_class: str | None = None,
        waited_ms: float = 0.0,
    ) -> int:
        """Gives the lowest free row to a sequence.

        Args:
          request_id: whose it is.
          text: its prompt, to which verified tokens are appended while it runs.
          limit: most tokens to append.
          request_class: its class in the controller's constraints; None for the first.
          waited_ms: time since it came.
        """
        reach = self._draftable_tokens(len(text), limit)
        sizes = (np.array([size], np.int64) for size in (len(text), limit, reach))
        number = 0
        if request_class is not None:
            number = self._controller.constraints.number(request_class)
        row = int(
            self._controller.admit(
                *sizes,
                request_class=np.array([number]),
                waited_ms=np.array([waited_ms]),
                request_ids=[request_id],
            )[0]
        )
        self._texts[row] = text
        if reach > 0:
            self._drafting.add(row)
        return row

    def read(self, rows: list[int]) -> dict[int, int]:
        """Reads the prompts of rows just taken: the verifier all but the last token.

        Returns:
          By row, tokens that the verifier did not have to read.

        Raises:
          DrafterError: the drafter could not begin one of them, other than for want of memory.
        """
        prompts = {row: self._texts[row][:-1] for row in rows}
        reused = read_prompts(self._verifier, self._held, prompts)
        self._held.update({row: self._texts[row] for row in rows})
        if self._drafter is not None:
            drafting = sorted(self._drafting.intersection(rows))
            for row in set(rows).difference(drafting):
                self._drafter.end(row)
            if drafting:
                self._begin(self._drafter, drafting)
        return reused

    def _begin(self, drafter: Drafter, rows: list[int]) -> None:
        try:
            drafter.begin_rows(rows, [self._texts[row] for row in rows])
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise DrafterError(
                f"the drafter {drafter.spec} could not begin ({type(error).__name__}: {error})"
            ) from error

    def give_back(self, row: int, *, finished: bool) -> None:
        """Frees a row; ``finished`` as for ``Controller.release``."""
        del self._texts[row]
        self._drafting.discard(row)
        self._controller.release(np.array([row]), finished=finished)

    def wipe(self, row: int) -> None:
        """Forgets what a row holds, so that no NaN lives on in it."""
        self._held.pop(row, None)
        self._verifier.cache.clear([row])
        if self._drafter is not None:
            self._drafter.end(row)

    def reset(self) -> None:
        """Frees all rows, as cancelled, and forgets what they hold."""
        for row in list(self._texts):
            self.give_back(row, finished=False)
        self._held.clear()
        for row in range(self._count):
            self._verifier.reset(row)
            if self._drafter is not None:
                self._drafter.end(row)

    def _draftable_tokens(self, prompt_tokens: int, limit: int) -> int:
        """Output positions within the drafter's context, which holds the prompt too."""
        if self._drafter is None:
            return 0
        if self._drafter.context_limit is None:
            return limit
        return max(self._drafter.context_limit - prompt_tokens, 0)
