"""The evidence as records, and as the JSON object that a later run goes on from."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.bootstrap import Interval

_FORMAT = "adaptive-spec.evidence"
_VERSION = 1

PLAIN, CHOSEN, HINDSIGHT, OPTIMUM = MARKS = (
    "plain",
    "chosen_static",
    "hindsight_static",
    "optimum",
)
"""What policies are held against: see ``marks``."""


@dataclass(frozen=True)
class Settings:
    """How the evidence is made.

    Attributes:
      max_draft_tokens: K, largest tau, >= 1.
      shuffles: orders of the prompts in which policies that learn across them are run, >= 1.
      resamples: bootstrap resamples, >= 1.
      seed: of orders, policies and bootstrap, >= 0.
    """

    max_draft_tokens: int = 10
    shuffles: int = 20
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"max_draft_tokens": 1, "shuffles": 1, "resamples": 1, "seed": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ConfigError(
                    f"evidence: {name} = {getattr(self, name)}; it must be at least {value}"
                )


class Verdict(NamedTuple):
    """How one policy, or one mark, did in a cell.

    Attributes:
      over_plain: speed over that of plain decoding.
      over_chosen: over that of the best static tau of the half to choose on.
      over_hindsight: over that of the best static tau of the judged prompts themselves.
      span_share: share of the way from the latter to the optimum; None where these are so close
        that a share would say nothing.
      tokens_per_cycle: emitted tokens of a verifier pass.
      orders: orders of the prompts that it was run in; 1 for what does not depend on their order.
    """

    over_plain: Interval
    over_chosen: Interval
    over_hindsight: Interval
    span_share: Interval | None
    tokens_per_cycle: float
    orders: int

    def as_dict(self) -> dict[str, Any]:
        """The verdict as a JSON object; an interval is its value, low and high."""
        return {
            name: list(value) if isinstance(value, Interval) else value
            for name, value in self._asdict().items()
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Verdict":
        """The verdict of such an object."""
        ratios = (data[name] for name in Verdict._fields[:3])
        plain, chosen, hindsight = (Interval(*map(float, ratio)) for ratio in ratios)
        share = data["span_share"]
        return Verdict(
            plain,
            chosen,
            hindsight,
            None if share is None else Interval(*map(float, share)),
            float(data["tokens_per_cycle"]),
            int(data["orders"]),
        )


@dataclass(frozen=True)
class Cell:
    """A drafter, a category of prompts, and what a cycle costs.

    Attributes:
      drafter: name of the drafter; ``costs``: name of the costs.
      category: of the prompts; None for the mixture of all categories.
      basis: digest of the trace and the costs; results of another one do not belong here.
      prompts: judged; ``tokens``: of their answers.
      chosen_tau, hindsight_tau: the best static tau of either half.
      marks: by name; ``policies``: by spec.
    """

    drafter: str
    costs: str
    category: str | None
    basis: str
    prompts: int
    tokens: int
    chosen_tau: int
    hindsight_tau: int
    marks: dict[str, Verdict]
    policies: dict[str, Verdict] = field(default_factory=dict)

    @property
    def where(self) -> tuple[str, str]:
        """Drafter and costs."""
        return self.drafter, self.costs

    def of(self, policies: Collection[str]) -> "Cell":
        """The cell with these policies only, in their order."""
        kept = {name: self.policies[name] for name in policies if name in self.policies}
        return dataclasses.replace(self, policies=kept)

    def as_dict(self) -> dict[str, Any]:
        """The cell as a JSON object."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("marks", "policies"):
            own[name] = {key: verdict.as_dict() for key, verdict in own[name].items()}
        return own

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Cell":
        """The cell of such an object."""
        own = {f.name: data[f.name] for f in dataclasses.fields(Cell)}
        for name in ("marks", "policies"):
            own[name] = {key: Verdict.from_dict(one) for key, one in own[name].items()}
        return Cell(**own)


class Facts(NamedTuple):
    """What a drafter's trace is of.

    Attributes:
      drafter: its name; the next seven: as in ``TraceInfo``, ``spec`` its drafter.
      prompts: by category, both halves; ``tokens``: of all answers.
    """

    drafter: str
    verifier: str
    spec: str
    numerics: str
    rule: str
    source: str
    chat_template: bool
    max_new_tokens: int
    prompts: dict[str, int]
    tokens: int


class LeftOut(NamedTuple):
    """A policy that cannot be judged with a drafter, and why."""

    drafter: str
    policy: str
    reason: str


@dataclass(frozen=True)
class Evidence:
    """All verdicts, and what they are of."""

    settings: Settings
    facts: tuple[Facts, ...]
    cells: tuple[Cell, ...]
    left_out: tuple[LeftOut, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The evidence as a JSON object."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "settings": dataclasses.asdict(self.settings),
            "drafters": [facts._asdict() for facts in self.facts],
            "cells": [cell.as_dict() for cell in self.cells],
            "left_out": [one._asdict() for one in self.left_out],
        }

    @staticmethod
    def from_dict(data: Any) -> "Evidence":
        """The evidence of such an object.

        Raises:
          ConfigError: it is none, or of another version.
        """
        try:
            if (data["format"], data["version"]) != (_FORMAT, _VERSION):
                raise ValueError
            return Evidence(
                Settings(**data["settings"]),
                tuple(Facts(**facts) for facts in data["drafters"]),
                tuple(Cell.from_dict(cell) for cell in data["cells"]),
                tuple(LeftOut(**one) for one in data["left_out"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ConfigError(
                "earlier results: were not written by `adaptive-spec evidence`, or by another "
                "release; begin a new file"
            ) from None
