"""What an engine is told of its policy: one record, given as a table, a TOML file, or both."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptive_spec.constraints import ByClass, Constraints
from adaptive_spec.controller import Controller
from adaptive_spec.cost_files import parse_costs
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.integrations.reading import read_record
from adaptive_spec.operations.operation import Operation
from adaptive_spec.policy import Policy
from adaptive_spec.registry import make_policy

SECTION = "adaptive_spec"
"""Key of the record in an engine's own configuration, and table of a file shared with others."""

FILE_VARIABLE = "ADAPTIVE_SPEC_CONFIG"
"""Environment variable with the path of a TOML file."""


@dataclass(frozen=True)
class Configuration:
    """A policy, what it is shown and what it has to keep.

    Attributes:
      policy: spec of the policy.
      costs: numbers as in "draft=0.1,verify=0.02", or the path of a profile; None for the engine's
        default.
      seed: all of the policy's randomness derives from it, >= 0.
      max_draft_tokens: largest tau, >= 0; None for what the engine was set up for.
      widths: for engines that run fastest at one width per step: those allowed, 0 among them, of
        which every step gets one; None for a tau of each request's own.
      constraints: what is promised of all requests.
      classes: what is promised by class of request, in the place of ``constraints``; the first is
        that of requests that name none.
      decision_limit_ms: a decision that takes longer is slow, > 0; three of them in a row, and the
        engine goes on without the policy.
      operation: metrics, logs, checkpoints, a policy in the shadow, a trial.
      books: file into which the engine writes what was spent, as JSON; None for none.
    """

    policy: str = "auto"
    costs: str | None = None
    seed: int = 0
    max_draft_tokens: int | None = None
    widths: tuple[int, ...] | None = None
    constraints: Constraints = field(default_factory=Constraints)
    classes: Mapping[str, Constraints] = field(default_factory=dict)
    decision_limit_ms: float = 250.0
    operation: Operation = field(default_factory=Operation)
    books: str | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed = {self.seed}; it must be 0 or more")
        if not self.decision_limit_ms > 0:
            raise ConfigError(f"decision_limit_ms = {self.decision_limit_ms}; it must be above 0")
        if self.classes and self.constraints != Constraints():
            raise ConfigError(
                "constraints and classes: both are given; put what is promised of all requests "
                "into every class, or give constraints alone"
            )

    @property
    def by_class(self) -> ByClass:
        """What is promised, by class."""
        return ByClass.of(self.classes or self.constraints)

    def controller(self, policy: Policy[Any, Any], num_tokens: int, costs: CostModel) -> Controller:
        """A controller as configured.

        Args:
          policy: made from ``policy``.
          num_tokens: longest draft that the engine was set up for.
          costs: the engine's default.

        Raises:
          AdaptiveSpecError: costs that cannot be read, or a value out of range.
        """
        longest = num_tokens if self.max_draft_tokens is None else self.max_draft_tokens
        return Controller(
            policy,
            costs=costs if self.costs is None else parse_costs(self.costs),
            max_draft_tokens=longest,
            constraints=self.by_class,
            seed=self.seed,
            uniform_widths=self.widths,
        )

    def make_policy(self, num_tokens: int) -> Policy[Any, Any]:
        """The policy, or a trial of two, for an engine that drafts ``num_tokens`` at most.

        Raises:
          PolicySpecError: there is none of that name, or a value that it refuses.
          ConfigError: it, or this record, asks for longer drafts.
        """
        policy = make_policy(self.policy)
        trial = self.operation.trial
        tried = None if trial is None else make_policy(trial)
        asked = {
            f"policy = {self.policy!r} has tau": getattr(policy, "tau", None),
            f"trial = {trial!r} has tau": getattr(tried, "tau", None),
            "max_draft_tokens": self.max_draft_tokens,
            "widths: the largest": max(self.widths or (0,)),
        }
        for what, tau in asked.items():
            if isinstance(tau, int) and tau > num_tokens:
                raise ConfigError(
                    f"{what} = {tau}, and the engine drafts {num_tokens} tokens at most; lower it, "
                    "or raise num_speculative_tokens"
                )
        return self.operation.around(policy)


def read_configuration(
    given: Mapping[str, Any] | None, environ: Mapping[str, str] = os.environ
) -> Configuration:
    """The record from the file that the environment names, and from a table, which goes first.

    Args:
      given: an engine's own configuration, of which the section ``adaptive_spec`` counts.
      environ: may have the path of a TOML file in ``ADAPTIVE_SPEC_CONFIG``.

    Raises:
      ConfigError: a file that cannot be read, an unknown field, or a value that is not allowed.
    """
    path = environ.get(FILE_VARIABLE)
    fields: dict[str, Any] = {} if path is None else _from_file(path)
    sources = [] if path is None else [path]
    if given and SECTION in given:
        section = given[SECTION]
        if not isinstance(section, Mapping):
            raise ConfigError(
                f"{SECTION}: {section!r}; expected a table, as in {{'policy': 'auto'}}"
            )
        fields |= section
        sources.insert(0, SECTION)
    return read_record(Configuration, fields, " over ".join(sources) or SECTION)


def _from_file(path: str) -> dict[str, Any]:
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{FILE_VARIABLE} = {path!r}: cannot be read ({error.strerror}); give the path of a "
            "TOML file, or unset it"
        ) from None
    except ValueError as error:  # not TOML, or not text
        raise ConfigError(f"{FILE_VARIABLE} = {path!r}: not TOML ({error})") from None
    section = content.get(SECTION, content)
    return dict(section) if isinstance(section, dict) else content
