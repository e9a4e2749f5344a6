"""Tasks done one after the other, or several at a time in processes of their own."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from adaptive_spec.errors import AdaptiveSpecError

DoneT_co = TypeVar("DoneT_co", covariant=True)


class Task(Protocol[DoneT_co]):
    """Something to be done, which can be sent to another process."""

    def run(self) -> DoneT_co:
        """Does it."""


def each(tasks: Sequence[Task[DoneT_co]], jobs: int) -> Iterator[tuple[int, DoneT_co]]:
    """Does tasks in up to ``jobs`` processes; yields their numbers, and results, as they end.

    Raises:
      AdaptiveSpecError: the system ended a process.
    """
    if jobs == 1 or len(tasks) < 2:
        yield from ((i, task.run()) for i, task in enumerate(tasks))
        return
    # Fresh processes: a copy of one with threads, such as that of a progress bar, may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(tasks)), context, _end_quietly) as pool:
        running = {pool.submit(task.run): i for i, task in enumerate(tasks)}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BrokenProcessPool:
            raise AdaptiveSpecError(
                "a process was ended from outside, perhaps for want of memory; take fewer jobs"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_quietly() -> None:
    """Ctrl-C ends a process without a traceback."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
