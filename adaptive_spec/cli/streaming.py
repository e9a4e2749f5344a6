"""An answer shown while it grows, with what was drafted and accepted highlighted."""

from typing import TYPE_CHECKING

from rich.text import Text

from adaptive_spec.cli.output import print_exactly, results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adaptive_spec.decoding.models import Verifier
    from adaptive_spec.decoding.requests import TokensEmitted

ACCEPTED_STYLE = "black on green"

_INCOMPLETE = "\ufffd"


class AnswerPrinter:
    """Prints one answer at the cursor, tokens as they come, whole characters only."""

    def __init__(self, verifier: "Verifier") -> None:
        """Begins an answer."""
        self._text = GrowingText(verifier)

    def show(self, event: "TokensEmitted") -> None:
        """Prints newly verified tokens: drafted ones highlighted, the rest plain."""
        accepted = self._text.add(event.token_ids[: event.num_accepted])
        own = self._text.add(event.token_ids[event.num_accepted :])
        if results.color_system is None:
            # Without colours, drafted text stands in brackets.
            print_exactly(f"[{accepted}]{own}" if accepted else own)
        else:
            line = Text.assemble((accepted, ACCEPTED_STYLE), own)
            results.print(line, end="", soft_wrap=True)
            results.file.flush()

    def end(self) -> None:
        """Prints what was held back, and ends the line."""
        print_exactly(f"{self._text.rest()}\n")


class GrowingText:
    """Turns tokens into text piece by piece, so that the pieces joined are the whole text.

    A token's text depends on its neighbours (a space before it, a character shared with the next):
    new tokens are decoded after the piece before them, and held back while they end in the middle
    of a character.
    """

    def __init__(self, verifier: "Verifier") -> None:
        """Begins with no tokens."""
        self._verifier = verifier
        self._ids: list[int] = []
        self._before = self._shown = 0  # tokens of the last piece: ids[before:shown]

    def add(self, token_ids: "Sequence[int]") -> str:
        """The text that these tokens complete."""
        self._ids.extend(token_ids)
        piece = self._piece()
        if piece.endswith(_INCOMPLETE) or not piece:
            return ""
        self._before, self._shown = self._shown, len(self._ids)
        return piece

    def rest(self) -> str:
        """The text held back so far: bytes that make no character."""
        return self._piece()

    def _piece(self) -> str:
        known = self._verifier.decode(self._ids[self._before : self._shown])
        return self._verifier.decode(self._ids[self._before :])[len(known) :]
