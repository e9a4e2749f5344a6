"""The text of recorded tokens, by the verifier's tokenizer, where it is at hand."""

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adaptive_spec.cli.live import quiet_libraries, status
from adaptive_spec.cli.output import note
from adaptive_spec.errors import MissingDependencyError, ModelLoadError
from adaptive_spec.reports import Pieces
from adaptive_spec.traces import TraceSet


def pieces_for(traces: TraceSet, verifier: str | None) -> Pieces | None:
    """What makes text of a trace's tokens; None where there is nothing to make it of, or with.

    Args:
      traces: the trace.
      verifier: whose tokenizer it is; None for the verifier that the trace names.

    Raises:
      MissingDependencyError, ModelLoadError: a verifier was named, and has no tokenizer here.
    """
    if all(sequence.output_ids is None for sequence in traces):
        return None
    name = verifier or traces.info.verifier
    try:
        quiet_libraries()
        with status(f"loading the tokenizer of {name}"):
            return token_pieces(_tokenizer(name))
    except (MissingDependencyError, ModelLoadError) as error:
        if verifier is not None:
            raise
        note(f"tokens are shown by their numbers: {error}")
        return None


def _tokenizer(name: str) -> Any:
    from adaptive_spec.decoding.builtin import BUILTIN, builtin_model_dir
    from adaptive_spec.decoding.pretrained import load_tokenizer

    path = str(builtin_model_dir()) if name == BUILTIN else name
    tokenizer = load_tokenizer(path)
    if tokenizer is None:
        where = f"{name!r}: no tokenizer there" if Path(path).is_dir() else f"{name!r}: not found"
        raise ModelLoadError(f"{where}; name the verifier's folder or hub id with --verifier")
    return tokenizer


def token_pieces(tokenizer: Any) -> Pieces:
    """What splits a text into its tokens' pieces.

    A token that ends in the middle of a character adds nothing, and the one that completes it the
    whole character; bytes that make no character show as U+FFFD.
    """
    from adaptive_spec.decoding.stopping import TokenBytes

    bytes_of = TokenBytes(tokenizer)
    size = len(tokenizer)

    def pieces(token_ids: Sequence[int]) -> list[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        found = [
            decoder.decode(bytes_of(token) if token < size else b"\xff") for token in token_ids
        ]
        rest = decoder.decode(b"", final=True)
        if rest:
            found[-1] += rest
        return found

    return pieces
