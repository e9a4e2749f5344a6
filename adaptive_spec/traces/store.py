"""Recording a trace so that an interruption loses little: parts first, one whole file at the end.

While recording, finished sequences go to ``<path>.parts/part-00000.parquet`` and on, each written
whole. The next run finds them and continues; ``close`` merges them into ``path``. A path that ends
in "/", is a folder already, or has no ``.parquet`` suffix stays a folder of parts.
"""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from adaptive_spec._arrays import IntArray
from adaptive_spec.errors import TraceError
from adaptive_spec.traces.parquet import differences, read_trace, write_trace
from adaptive_spec.traces.records import TraceInfo, TraceSet
from adaptive_spec.traces.sequences import SequenceTrace


class TraceWriter:
    """Writes sequences to a trace as they are recorded, and continues where a run stopped.

    As a context manager it closes the trace at the end of the block; when the block is left by an
    exception or Ctrl-C, what was added so far is kept as parts for the next run::

        with TraceWriter("runs/trace.parquet", info) as writer:
            for prompt in prompts:
                if not writer.is_done(prompt.id, prompt.token_ids):
                    writer.add(record(prompt))
            writer.close(order=[prompt.id for prompt in prompts])

    Attributes:
      path: the trace; ``info``: what its sequences share; ``folder``: where parts go.
    """

    def __init__(self, path: str | Path, info: TraceInfo, *, flush_every: int = 8) -> None:
        """Opens a trace for recording, new or to be continued.

        Args:
          path: the file (or folder of parts) to be written.
          info: what all sequences share; must equal that of what is there already.
          flush_every: sequences to a part, >= 1; a run that is killed loses fewer than that.

        Raises:
          TraceError: what is there was recorded otherwise or is damaged, or nothing can be
            written there.
          MissingDependencyError: pyarrow is not installed.
        """
        if flush_every < 1:
            raise TraceError(f"trace: flush_every = {flush_every}; it must be at least 1")
        self.path = Path(path)
        self.info = info
        self._flush_every = flush_every
        self._keeps_parts = (
            str(path).endswith("/") or self.path.is_dir() or self.path.suffix != ".parquet"
        )
        self.folder = (
            self.path if self._keeps_parts else self.path.with_name(f"{self.path.name}.parts")
        )
        self._pending: list[SequenceTrace] = []
        self._closed = False
        complete = self._prompts_in(self.path) if self.path.is_file() else {}
        parts = self._prompts_in(self.folder) if self._parts() else {}
        self._complete = list(complete)
        # A run stopped between the last rename and the removal of its parts left ids in both.
        self._done = {**complete, **parts}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TraceError(
                f"trace {str(self.path)!r}: cannot be written ({error.strerror or error})"
            ) from None

    @property
    def done_ids(self) -> frozenset[str]:
        """Ids of the sequences that are there: from earlier runs, and added to this one."""
        return frozenset(self._done)

    def is_done(self, name: str, prompt_ids: Sequence[int]) -> bool:
        """Whether a sequence is there.

        Args:
          name: its id.
          prompt_ids: its prompt's tokens, to be sure that it is the same prompt.

        Raises:
          TraceError: another prompt was recorded under this id.
        """
        if name not in self._done:
            return False
        recorded = self._done[name]
        if recorded is not None and recorded.tolist() != list(prompt_ids):
            raise TraceError(
                f"trace {str(self.path)!r}: id {name!r} was recorded with another prompt; give the "
                "changed prompt a new id, or write to another path"
            )
        return True

    def add(self, sequence: SequenceTrace) -> None:
        """Takes a sequence in; every ``flush_every`` of them are written out.

        Raises:
          TraceError: its id is there already, it contradicts ``info.drafting``, or it cannot be
            written.
        """
        if self._closed:
            raise TraceError(f"trace {str(self.path)!r}: is closed; open a new TraceWriter")
        if sequence.id in self._done:
            raise TraceError(
                f"trace {str(self.path)!r}: sequence id {sequence.id!r} is there already; "
                "skip those in done_ids"
            )
        TraceSet(self.info, (sequence,))  # refuse it here, not when the part is written
        self._done[sequence.id] = sequence.prompt_ids
        self._pending.append(sequence)
        if len(self._pending) >= self._flush_every:
            self.flush()

    def flush(self) -> None:
        """Writes out the sequences added since the last part."""
        if self._pending:
            last = max((int(p.stem.partition("-")[2]) for p in self._numbered()), default=-1)
            part = self.folder / f"part-{last + 1:05d}.parquet"
            write_trace(TraceSet(self.info, tuple(self._pending)), part)
            self._pending = []

    def close(self, order: Iterable[str] = ()) -> None:
        """Finishes the trace: merges all parts into ``path``, whole or not at all.

        Closing twice does nothing. A trace without any sequence is not written.

        Args:
          order: ids in the order wanted; ids that were not recorded are passed over, sequences
            not named come first, as recorded. A folder of parts stays in recorded order.

        Raises:
          TraceError: it cannot be written; the parts are kept then.
        """
        if self._closed:
            return
        self.flush()
        if not self._keeps_parts:
            self._merge(order)
        self._closed = True

    def _merge(self, order: Iterable[str]) -> None:
        wanted = [i for i in dict.fromkeys(order) if i in self._done]
        named = set(wanted)
        ids = [*(i for i in self._done if i not in named), *wanted]
        if ids != self._complete:
            sources = [p for p in (self.path, *self._parts()) if p.is_file()]
            found = {s.id: s for source in sources for s in read_trace(source)}
            write_trace(TraceSet(self.info, tuple(found[i] for i in ids)), self.path)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prompts_in(self, path: Path) -> dict[str, IntArray | None]:
        """Prompts, by id, of the sequences in a file or folder that must belong to this trace."""
        try:
            there = read_trace(path, signals=False)
        except TraceError as error:
            raise TraceError(f"{error}; to record anew, delete it or choose another path") from None
        if there.info != self.info:
            raise TraceError(
                f"trace {str(path)!r}: was recorded with other settings: "
                f"{differences(there.info, self.info)}; to start afresh, delete it or choose "
                "another path"
            )
        return {sequence.id: sequence.prompt_ids for sequence in there}

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    def _numbered(self) -> list[Path]:
        return [p for p in self.folder.glob("part-*.parquet") if p.stem[5:].isdecimal()]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif not self._closed:
            self.flush()
            if not any(self.folder.iterdir()):
                self.folder.rmdir()
