"""Installs a policy as another package would: a module, and metadata with an entry point."""

from pathlib import Path

import pytest

MODULE = '''
"""A rule of somebody else."""

from dataclasses import dataclass, field

import numpy as np

from adaptive_spec.policy import Decision, Empty, Policy, State


@dataclass(frozen=True)
class WhileConfident(Policy[Empty, Empty]):
    """Drafts while the drafter is sure of itself.

    More text, which the table leaves out.
    """

    threshold: float = 0.2
    longest: int = 6
    limit: float = float("inf")
    tags: tuple[int, ...] = (1, 2)
    made: tuple[int, ...] = field(default_factory=lambda: (3,))

    signals = ("top1_probability",)

    def init(self, num_sequences, seed):
        return State(Empty(), Empty())

    def decide(self, state, cycle):
        return Decision(cycle.clip(np.full(cycle.max_tau.shape, self.longest)))

    def keep_drafting(self, state, cycle, decision, depth, signals):
        return signals.top1_probability[:, -1] > self.threshold

    def update(self, state, outcome):
        return state


@dataclass(frozen=True)
class WhereSure(Policy[Empty, Empty]):
    """Drafts where the verifier was sure of the newest token."""

    takes_hints = True

    def init(self, num_sequences, seed):
        return State(Empty(), Empty())

    def decide(self, state, cycle):
        return Decision(cycle.clip(np.where(cycle.hints.verifier_margin > 0.05, 4, 1)))

    def update(self, state, outcome):
        return state
'''


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, entry_points: dict[str, str], name: str
) -> None:
    """Puts the module ``name`` and its metadata into a folder of the import path."""
    (folder / f"{name}.py").write_text(MODULE, encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8"
    )
    lines = [f"{key} = {value}" for key, value in entry_points.items()]
    (info / "entry_points.txt").write_text(
        "\n".join(["[adaptive_spec.policies]", *lines, ""]), encoding="utf-8"
    )
    monkeypatch.syspath_prepend(folder)
