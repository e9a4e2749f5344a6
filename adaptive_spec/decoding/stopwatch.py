"""How long drafting and verification take, without waiting for the device in between."""

import time

import torch


class Stopwatch:
    """Started when made, lapped once when drafting is issued, stopped when the device was read.

    On a CUDA device drafting is still under way when the host has issued it: its end is marked in
    the device's own stream.
    """

    def __init__(self, device: torch.device) -> None:
        """Starts; the device has nothing left to do."""
        self._marks: list[torch.cuda.Event] = []
        self._device = device
        self._times: list[float] = []
        self.lap()

    def lap(self) -> None:
        """Marks the end of drafting."""
        self._times.append(time.perf_counter())
        if self._device.type == "cuda":
            mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            mark.record(torch.cuda.current_stream(self._device))
            self._marks.append(mark)

    def stop(self) -> tuple[float, float]:
        """Milliseconds of drafting and verification, once a read has shown that both are done."""
        began, drafted = self._times
        whole_ms = (time.perf_counter() - began) * 1e3
        draft_ms = (drafted - began) * 1e3
        if self._marks:
            draft_ms = min(self._marks[0].elapsed_time(self._marks[1]), whole_ms)
        return draft_ms, whole_ms - draft_ms
