"""When a sequence ends: stop tokens, stop strings, and its length.

A stop string ends the sequence at the first token with which the text contains it, as ``generate``
in transformers does: the token is kept whole, and a string may begin in the prompt, but must end in
the output. Texts are compared as bytes, since a token may hold a part of a character.
"""

import functools
from collections.abc import Collection, Sequence
from typing import Any

from adaptive_spec.decoding.requests import FinishReason
from adaptive_spec.errors import ConfigError


class StopRules:
    """What ends a sequence, apart from its length. Shared by all sequences.

    Attributes:
      eos_token_ids: tokens that end a sequence; ``stop_strings``: texts that do.
      needles: the stop strings' bytes; ``bytes_of``: a token's bytes, None where not needed.
    """

    def __init__(
        self,
        eos_token_ids: Collection[int] = (),
        stop_strings: Sequence[str] = (),
        tokenizer: Any = None,
    ) -> None:
        """Sets up rules.

        Args:
          eos_token_ids: tokens that end a sequence.
          stop_strings: texts that end a sequence.
          tokenizer: the models' tokenizer; needed for stop strings.

        Raises:
          ConfigError: an empty stop string, or stop strings without a tokenizer.
        """
        if isinstance(stop_strings, str):
            stop_strings = [stop_strings]
        if stop_strings and tokenizer is None:
            raise ConfigError("stop_strings: they need a tokenizer, got none; pass tokenizer=")
        if not all(stop_strings):
            raise ConfigError("stop_strings: a stop string is empty; give at least one character")
        self.eos_token_ids = frozenset(eos_token_ids)
        self.stop_strings = tuple(stop_strings)
        self.needles = [text.encode() for text in stop_strings]
        self.bytes_of = TokenBytes(tokenizer) if stop_strings else None

    def follow(self, prompt_ids: Sequence[int]) -> "StopWatch":
        """A watch over one sequence that begins with this prompt."""
        return StopWatch(self, prompt_ids)


class StopWatch:
    """Follows one sequence and tells where it ends."""

    def __init__(self, rules: StopRules, prompt_ids: Sequence[int]) -> None:
        """Watches a sequence that begins with ``prompt_ids``."""
        self._rules = rules
        self._window = max((len(needle) - 1 for needle in rules.needles), default=0)
        self._tail = b""
        if rules.bytes_of is not None and self._window:
            # A token may be empty text, so that the window can reach back over many.
            for token in reversed(prompt_ids):
                self._tail = rules.bytes_of(token) + self._tail
                if len(self._tail) >= self._window:
                    break

    def cut(self, token_ids: Sequence[int], room: int) -> tuple[int, FinishReason | None]:
        """How many of the next tokens belong to the sequence, and why it ends with them.

        Args:
          token_ids: newly verified tokens, at least one.
          room: tokens that may still be emitted, >= 1.

        Returns:
          The number of tokens kept, >= 1, and the reason of the end; None where it goes on.
        """
        for kept, token in enumerate(token_ids, start=1):
            if token in self._rules.eos_token_ids:
                return kept, "eos"
            if self._completes_stop_string(token):
                return kept, "stop"
            if kept == room:
                return kept, "length"
        return len(token_ids), None

    def _completes_stop_string(self, token: int) -> bool:
        if self._rules.bytes_of is None:
            return False
        new = self._rules.bytes_of(token)
        text = self._tail + new
        found = any(
            text.find(needle, max(len(self._tail) - len(needle) + 1, 0)) >= 0
            for needle in self._rules.needles
        )
        self._tail = text[len(text) - self._window :] if len(text) > self._window else text
        return found


class TokenBytes:
    """The bytes that each token adds to a text, whatever stands before it."""

    def __init__(self, tokenizer: Any) -> None:
        """Reads tokens of this tokenizer."""
        self._tokenizer = tokenizer
        decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
        state = decoder.__getstate__() if decoder is not None else b""
        self._byte_of_char = _byte_level_alphabet() if b'"ByteLevel"' in state else None
        # Some decoders drop a leading space: look at what a token adds to a fixed word.
        self._before = tokenizer.convert_ids_to_tokens(
            tokenizer("abcdef", add_special_tokens=False)["input_ids"]
        )
        self._known: dict[int, bytes] = {}

    def __call__(self, token_id: int) -> bytes:
        if token_id not in self._known:
            self._known[token_id] = self._compute(token_id)
        return self._known[token_id]

    def _compute(self, token_id: int) -> bytes:
        token = self._tokenizer.convert_ids_to_tokens(token_id)
        if token is None:  # padded vocabularies have ids without a token
            return b""
        alphabet = self._byte_of_char
        if alphabet is not None and all(char in alphabet for char in token):
            return bytes(alphabet[char] for char in token)
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            return bytes.fromhex(token[3:5])
        text: str = self._tokenizer.convert_tokens_to_string([*self._before, token])
        return text.partition("abcdef")[2].encode()


@functools.cache
def _byte_level_alphabet() -> dict[str, int]:
    """Printable stand-ins of GPT-2's byte-level vocabularies, and the bytes that they mean."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    shifted = {chr(256 + i): byte for i, byte in enumerate(others)}
    return {**{chr(byte): byte for byte in printable}, **shifted}
