"""Runs the command line within the test's process, as a shell would see it."""

import contextlib
import io
import json
import sys
from typing import Any, NamedTuple
from unittest import mock

from adaptive_spec.cli import main


class Result(NamedTuple):
    """What a shell sees of a command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output, which must hold JSON alone."""
        return json.loads(self.out)


def run(*arguments: object) -> Result:
    """Runs ``adaptive-spec ARGUMENTS``; an exception that would end in a traceback is raised."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        mock.patch.object(sys, "argv", ["adaptive-spec", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return Result(int(code or 0), out.getvalue(), err.getvalue())


def succeed(*arguments: object) -> Result:
    """Runs a command that must succeed."""
    result = run(*arguments)
    assert result.code == 0, result.err
    return result


def refuse(*arguments: object, code: int = 2) -> str:
    """Runs a command that must be refused with one clear line; returns that line."""
    result = run(*arguments)
    assert result.code == code, result
    if result.err.lstrip().startswith("Usage:"):
        return " ".join(result.err.split())  # the command line library's own box
    lines = result.err.splitlines()
    assert [line.startswith("error: ") for line in lines].count(True) == 1, result.err
    assert lines[-1].startswith("error: "), result.err
    return lines[-1].removeprefix("error: ")
