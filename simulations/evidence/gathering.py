"""Gathers evidence: every policy in every cell, in several processes, on top of earlier results.

A task is one policy on one drafter at some costs, in all categories at once. What is done is handed
to ``keep`` after every task, so that a run that was cut off loses little.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from adaptive_spec.costs import ConstantCosts, CostModel
from adaptive_spec.errors import AdaptiveSpecError, ConfigError
from adaptive_spec.simulations.evidence.book import Book
from adaptive_spec.simulations.evidence.eligible import eligible
from adaptive_spec.simulations.evidence.judge import Place, cells_of, judge
from adaptive_spec.simulations.evidence.results import (
    Cell,
    Evidence,
    Facts,
    LeftOut,
    Settings,
    Verdict,
)
from adaptive_spec.simulations.evidence.subjects import Subject, subjects_of
from adaptive_spec.simulations.evidence.workers import each
from adaptive_spec.traces.records import TraceSet

STYLISED: Mapping[str, CostModel] = {
    str(costs): costs
    for costs in (ConstantCosts(0.125, 0.0), ConstantCosts(0.03, 0.03), ConstantCosts(0.375, 0.0))
}
"""Costs that stand for a small draft model, a cheap head with a busy verifier, and a slow draft."""

_CONTEXTS = np.array([1, 256, 4096, 65536])  # at which costs are compared with earlier ones


class Progress(NamedTuple):
    """What was done last, how many tasks are done, and of how many."""

    what: str
    done: int
    total: int


DEFAULTS = Settings()


class CellsTask(NamedTuple):
    """The marks of a drafter at some costs; fields as for ``cells_of``."""

    subject: Subject
    costs_name: str
    costs: CostModel
    basis: str
    settings: Settings

    def run(self) -> tuple[Place, list[Cell]]:
        """The place with its cells."""
        return cells_of(*self)


class PolicyTask(NamedTuple):
    """One policy there, in all categories; fields as for ``judge``."""

    place: Place
    policy: str
    settings: Settings

    def run(self) -> dict[str | None, Verdict]:
        """A verdict for each category."""
        try:
            return judge(*self)
        except AdaptiveSpecError as error:
            where = ", ".join(self.place.where)
            raise type(error)(f"policy {self.policy!r} ({where}): {error}") from error


def gather(
    traces: Sequence[TraceSet],
    *,
    costs: Mapping[str, CostModel] = STYLISED,
    policies: Sequence[str] | None = None,
    drafters: Collection[str] = (),
    settings: Settings = DEFAULTS,
    earlier: Evidence | None = None,
    again: Collection[str] = (),
    jobs: int = 1,
    keep: Callable[[Evidence], None] = lambda evidence: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Evidence:
    """Judges policies on traces.

    Args:
      traces: of one drafter each, or of a composed one, which is judged as a whole and drafter by
        drafter.
      costs: what cycles cost, by name.
      policies: specs of registered policies; None for all installed, with their defaults.
      drafters: names of the drafters wanted; none for all.
      settings: how.
      earlier: what a run with the same settings gave; its verdicts are kept.
      again: policies judged again all the same, because their code has changed.
      jobs: processes; with more than one a script needs ``if __name__ == "__main__":``.
      keep: called after each task with all there is, ``earlier`` included.
      on_progress: called after each task.

    Returns:
      The cells and policies asked for, in their order.

    Raises:
      ConfigError: nothing to judge, or earlier results of other settings, traces or costs.
    """
    if not costs:
        raise ConfigError("evidence: give at least one cost point")
    if jobs < 1:
        raise ConfigError(f"evidence: jobs = {jobs}; it must be at least 1")
    subjects = subjects_of(traces, drafters)
    plans: dict[str, list[str]] = {}
    left_out: list[LeftOut] = []
    for subject in subjects:
        plans[subject.drafter], unfit = eligible(subject, policies, settings.max_draft_tokens)
        left_out += unfit
    strange = set(again).difference(*plans.values())
    if strange:
        raise ConfigError(f"evidence: again = {sorted(strange)}; these policies are not judged")
    names = [name for subject in subjects for name in subject.judge.info.drafter_names]
    for model in costs.values():
        model.require_drafters(names)
    facts = tuple(map(_facts, subjects))
    wheres = [(subject, name) for subject in subjects for name in costs]
    bases = {
        (subject.drafter, name): _basis(subject, costs[name], settings) for subject, name in wheres
    }
    blank = Evidence(settings, facts, (), tuple(left_out))
    book = Book(blank, earlier, bases)
    todo = {where: book.missing(where, plans[where[0]], again) for where in bases}
    places = [
        CellsTask(subject, name, costs[name], bases[subject.drafter, name], settings)
        for subject, name in wheres
        if todo[subject.drafter, name] or not book.cells_at((subject.drafter, name))
    ]
    total = len(places) + sum(map(len, todo.values()))
    done = 0

    def report(what: str) -> None:
        nonlocal done
        done += 1
        keep(book.evidence)
        on_progress(Progress(what, done, total))

    tasks: list[PolicyTask] = []
    for _, (place, cells) in each(places, jobs):
        book.add_cells(cells)
        tasks += [PolicyTask(place, policy, settings) for policy in todo[place.where]]
        report(", ".join(place.where))
    for i, verdicts in each(tasks, jobs):
        book.add_policy(tasks[i].place.where, tasks[i].policy, verdicts)
        report(f"{tasks[i].policy}: {', '.join(tasks[i].place.where)}")
    asked_for = (cell.of(plans[where[0]]) for where in bases for cell in book.cells_at(where))
    return replace(blank, cells=tuple(asked_for))


def _basis(subject: Subject, costs: CostModel, settings: Settings) -> str:
    """Digest of the prompts and of what drafting on them costs."""
    digest = hashlib.blake2b(subject.fingerprint.encode(), digest_size=16)
    for name in subject.judge.info.drafter_names:
        table = costs.of_drafter(name).table(settings.max_draft_tokens, 1, _CONTEXTS)
        digest.update(np.ascontiguousarray(table, "<f8").tobytes())
    return digest.hexdigest()


def _facts(subject: Subject) -> Facts:
    info = subject.judge.info
    return Facts(
        subject.drafter,
        info.verifier,
        info.drafter,
        info.numerics,
        info.rule,
        info.source,
        info.chat_template,
        info.max_new_tokens,
        subject.prompts,
        subject.choose.num_tokens + subject.judge.num_tokens,
    )
