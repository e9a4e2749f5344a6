"""What all sequences have taught a policy, kept across restarts and merged from replicas.

A checkpoint is an ``.npz`` file: the shared part of the policy's state as plain arrays, and a JSON
header that says whose it is. Nothing in it is executed. It is restored into a controller of the
same policy, drafters and costs only: what was learned of others would be wrong, and nobody would
notice. Rows are not in it: they belong to requests, which do not survive a restart.
"""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec._rows import Counters
from adaptive_spec._version import __version__
from adaptive_spec.controller import UNNAMED, Controller
from adaptive_spec.errors import ConfigError
from adaptive_spec.observers import Observer
from adaptive_spec.operations.wrapped import innermost, spec_of
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy
from adaptive_spec.state import fill, leaves, read_arrays, write_arrays

_FORMAT = "adaptive-spec.checkpoint/1"
_HEADER, _TAG = "__header__", "__format__"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Header:
    """Whose state it is.

    Attributes:
      policy: its spec; version: of this package, when it was saved.
      drafters: names, in order; costs: what the cost model calls itself.
      requests: finished requests that it has seen, of all replicas.
    """

    policy: str
    version: str
    drafters: tuple[str, ...]
    costs: str
    requests: int

    def require(self, other: "Header", what: str) -> None:
        """Refuses another policy, release, drafters or costs.

        Raises:
          ConfigError: naming the first difference; ``what`` says what ``other`` is of.
        """
        for name in ("policy", "version", "drafters", "costs"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ConfigError(
                    f"checkpoint: {name} = {_shown(mine)}, {what} has {_shown(theirs)}; what was "
                    "learned of one is wrong for the other: use the checkpoint where it was "
                    "learned, or begin without one"
                )


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A policy's shared state, and whose it is.

    Attributes:
      header: whose; shared: the state.
    """

    header: Header
    shared: Any

    @staticmethod
    def of(controller: Controller) -> "Checkpoint":
        """What a controller's policy has learned so far."""
        return Checkpoint(_header(controller), controller.state.shared)

    def save(self, path: str | Path) -> None:
        """Writes the file, whole or not at all.

        Raises:
          OSError: it cannot be written.
        """
        header = json.dumps(asdict(self.header))
        write_arrays(path, self.shared, {_TAG: _FORMAT, _HEADER: header})

    @staticmethod
    def load(path: str | Path, policy: Policy[Any, Any] | None = None) -> "Checkpoint":
        """Reads a file.

        Args:
          path: the file.
          policy: whose state it must be; None for the one that it names.

        Raises:
          ConfigError: it is missing, foreign or damaged, or of another policy.
          PolicySpecError: it names a policy that is not installed.
        """
        arrays = read_arrays(path)
        if str(arrays.pop(_TAG, "")) != _FORMAT:
            raise ConfigError(f"checkpoint {path}: not one saved by adaptive-spec (version 1)")
        header = _read_header(str(arrays.pop(_HEADER, "")), path)
        if policy is None:
            policy = make_policy(header.policy)
        elif spec_of(policy) != header.policy:
            header.require(replace(header, policy=spec_of(policy)), "this controller")
        shared = fill(innermost(policy).init(0, 0).shared, arrays, path)
        for name, leaf in leaves(shared):
            if leaf.dtype.kind == "f" and np.isnan(leaf).any():
                raise ConfigError(f"checkpoint {path}: {name} has NaN; the file is damaged")
        return Checkpoint(header, shared)

    def restore(self, controller: Controller) -> None:
        """Has a controller's policy go on from here; sequences that run keep their rows.

        Raises:
          ConfigError: it is of another policy, release, drafters or costs.
        """
        if controller.drafters == UNNAMED != self.header.drafters:
            raise ConfigError(
                f"checkpoint: drafters = {_shown(self.header.drafters)}, this controller does not "
                "know its drafters yet; restore once its engine has been made, which names them"
            )
        self.header.require(_header(controller), "this controller")
        controller.state = controller.state._replace(shared=self.shared)


def merge_checkpoints(
    checkpoints: Sequence[Checkpoint], weights: Sequence[float] | None = None
) -> Checkpoint:
    """One checkpoint of what several replicas have learned.

    Args:
      checkpoints: of the same policy, drafters and costs, at least one.
      weights: how much the evidence of each counts, > 0. None for an average: as much evidence as
        one of them has, which is right where all have run for long. All 1 to add evidence up, as
        if one replica had served all requests: right where each has seen few.

    Raises:
      ConfigError: they do not belong together, or the policy cannot be merged; wrong weights.
    """
    if not checkpoints:
        raise ConfigError("merge: no checkpoints; give at least one")
    counts: FloatArray = np.full(len(checkpoints), 1.0 / len(checkpoints))
    if weights is not None:
        counts = np.asarray(weights, np.float64)
    if counts.shape != (len(checkpoints),) or not (np.isfinite(counts) & (counts > 0)).all():
        raise ConfigError(
            f"merge: weights = {counts.tolist()}; there must be one above 0 for each of the "
            f"{len(checkpoints)} checkpoints"
        )
    first = checkpoints[0].header
    for other in checkpoints[1:]:
        first.require(other.header, "another")
    shared = make_policy(first.policy).merge([one.shared for one in checkpoints], counts)
    requests = sum(one.header.requests for one in checkpoints)
    return Checkpoint(replace(first, requests=requests), shared)


class Saver(Observer):
    """Saves a checkpoint of a controller every so often, between requests.

    A file that cannot be written is logged; serving goes on, and it is tried again.
    """

    def __init__(
        self,
        controller: Controller,
        path: str | Path,
        *,
        every_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watches from now on; the first file is written after ``every_s`` seconds."""
        self._controller, self._path = controller, path
        self._every_s, self._clock, self._saved_s = every_s, clock, clock()
        controller.watch(self)

    def released(self, rows: IntArray, counters: Counters, finished: bool) -> None:
        now = self._clock()
        if now - self._saved_s < self._every_s:
            return
        self._saved_s = now
        try:
            Checkpoint.of(self._controller).save(self._path)
        except OSError as error:
            _log.warning("checkpoint %s: cannot be written (%s)", self._path, error)


def _header(controller: Controller) -> Header:
    return Header(
        spec_of(controller.policy),
        __version__,
        controller.drafters,
        str(controller.costs),
        controller.ledger.requests,
    )


def _read_header(text: str, path: str | Path) -> Header:
    names = [field.name for field in fields(Header)]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    texts = ("policy", "version", "costs")
    if (
        not isinstance(found, dict)
        or sorted(found) != sorted(names)
        or not all(isinstance(found[name], str) for name in texts)
        or not isinstance(found["drafters"], list)
        or not all(isinstance(name, str) for name in found["drafters"])
        or type(found["requests"]) is not int
    ):
        raise ConfigError(f"checkpoint {path}: its header must hold {', '.join(names)}; damaged")
    return Header(**{**found, "drafters": tuple(found["drafters"])})


def _shown(value: Any) -> str:
    return "/".join(value) if isinstance(value, tuple) else repr(value)
