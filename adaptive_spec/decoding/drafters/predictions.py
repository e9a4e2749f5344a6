"""What a token-by-token drafter would have proposed at each output position of one sequence.

Two sources tell: before it drafts, the drafter reads the verified tokens that its cache lacks, and
says at each of them which it expects next; then it drafts, and each of its tokens is what it
expects there, as long as the ones before it were right.
"""

from collections.abc import Sequence

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.traces.sequences import run_lengths_of


class Predictions:
    """Follows one sequence; positions count from the output's first token.

    What is expected may be added before it is on the host: lists are read when they are needed.
    """

    def __init__(self, prompt_tokens: int) -> None:
        """Begins after a prompt of so many tokens."""
        self._prompt_tokens = prompt_tokens
        self._expected: list[int] = []
        self._added: tuple[int, list[int], list[int]] | None = None

    def add(self, index: int, while_reading: list[int], drafted: list[int]) -> None:
        """Takes what the drafter said in one cycle.

        Args:
          index: of the first token in the text that ``while_reading`` is about.
          while_reading: what was expected at tokens that are verified already.
          drafted: what was expected after them: the draft, or the next token alone.
        """
        self._added = index, while_reading, drafted

    def settle(self, text: Sequence[int]) -> int:
        """Compares the last draft with the text; returns how far, in tokens of it, is known."""
        if self._added is not None:
            index, while_reading, drafted = self._added
            self._added = None
            del self._expected[index - self._prompt_tokens :]
            self._expected += while_reading
            for token in drafted:
                position = self._prompt_tokens + len(self._expected)
                if position >= len(text):
                    break
                self._expected.append(token)
                if token != text[position]:
                    break
        return self._prompt_tokens + len(self._expected)

    def run_lengths(self, text: Sequence[int], first: int) -> IntArray:
        """Run lengths from output position ``first`` on, as far as they are known."""
        self.settle(text)
        begin = self._prompt_tokens + first
        expected = np.array(self._expected[first:], np.int64)
        written = np.array(text[begin : begin + expected.size], np.int64)
        return run_lengths_of(expected == written)
