import os
import signal
from dataclasses import dataclass

import pytest

from adaptive_spec.errors import AdaptiveSpecError
from adaptive_spec.simulations.evidence.workers import each


@dataclass(frozen=True)
class Square:
    number: int

    def run(self) -> int:
        if self.number < 0:
            raise ValueError("negative")
        return self.number**2


@dataclass(frozen=True)
class Doomed:
    def run(self) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0


def test_one_after_the_other() -> None:
    assert list(each([Square(3), Square(2)], jobs=1)) == [(0, 9), (1, 4)]
    assert list(each([], jobs=2)) == []


def test_in_processes_of_their_own() -> None:
    done = each([Square(i) for i in range(5)], jobs=2)
    assert sorted(done) == [(i, i**2) for i in range(5)]


def test_what_fails_there_fails_here() -> None:
    with pytest.raises(ValueError, match="negative"):
        list(each([Square(-1), Square(1)], jobs=2))


def test_a_process_that_is_ended() -> None:
    with pytest.raises(AdaptiveSpecError, match=r"ended from outside.*fewer jobs"):
        list(each([Doomed(), Doomed()], jobs=2))
