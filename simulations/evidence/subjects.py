"""Who is on trial: the drafters of some traces, each with a half to choose on and a half to judge.

A trace of a composed drafter counts several times: as the composition, and as each of its drafters
alone.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_spec._arrays import IntArray
from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.halves import halves
from adaptive_spec.traces.records import TraceSet

LEAST_PROMPTS = 2
"""A category with fewer in either half is judged as part of the mixture only."""


@dataclass(frozen=True)
class Subject:
    """A drafter on trial.

    Attributes:
      drafter: what it is called; no two subjects share a name.
      choose: the half to choose a static tau on; ``judge``: the half that all figures are of.
    """

    drafter: str
    choose: TraceSet
    judge: TraceSet

    @property
    def prompts(self) -> dict[str, int]:
        """Prompts of each category, in both halves."""
        both = (*self.choose, *self.judge)
        return dict(sorted(Counter(sequence.category for sequence in both).items()))

    @property
    def groups(self) -> dict[str | None, tuple[IntArray, IntArray]]:
        """The prompts that are judged together: indices in ``choose`` and in ``judge``.

        All of them as a mixture (None) and, where there are several categories, each with enough
        prompts by itself.
        """
        found: dict[str | None, tuple[IntArray, IntArray]] = {
            None: (np.arange(len(self.choose)), np.arange(len(self.judge)))
        }
        categories = list(self.prompts)
        for category in categories if len(categories) > 1 else []:
            parts = _of_category(self.choose, category), _of_category(self.judge, category)
            if min(part.size for part in parts) >= LEAST_PROMPTS:
                found[category] = parts
        return found

    @property
    def fingerprint(self) -> str:
        """A digest of all that a replay of the two halves depends on."""
        digest = hashlib.blake2b(digest_size=16)
        for half in (self.choose, self.judge):
            for part in _content(half):
                digest.update(len(part).to_bytes(8, "little"))
                digest.update(part)
        return digest.hexdigest()


def subjects_of(traces: Sequence[TraceSet], only: Iterable[str] = ()) -> tuple[Subject, ...]:
    """The drafters of some traces.

    Args:
      traces: of one drafter each, or of a composed one. A drafter that several of them have along
        the same prompts counts once.
      only: names of the drafters wanted; none for all.

    Raises:
      ConfigError: no traces, a drafter with traces of different prompts, or a wanted one that is
        not there.
      TraceError: a trace too short to be split in two.
    """
    if not traces:
        raise ConfigError("evidence: give at least one trace")
    found: dict[tuple[str, str], Subject] = {}
    for trace in (part for whole in traces for part in _parts(whole)):
        subject = Subject("+".join(trace.info.drafter_names), *halves(trace))
        key = trace.info.verifier, trace.info.drafter
        if found.setdefault(key, subject).fingerprint != subject.fingerprint:
            raise ConfigError(
                f"evidence: two traces have the drafter {key[1]!r} of verifier {key[0]!r} on "
                "different prompts; judge them in two runs, or record all prompts in one trace"
            )
    named = tuple(_named(found))
    names = [subject.drafter for subject in named]
    wanted = list(only)
    for name in wanted:
        if name not in names:
            raise ConfigError(f"evidence: no trace has a drafter {name!r}; there are {names}")
    return tuple(s for s in named if not wanted or s.drafter in wanted)


def _parts(trace: TraceSet) -> Iterator[TraceSet]:
    yield trace
    if trace.info.components:
        yield from (trace.only(component.spec) for component in trace.info.components)


def _named(found: dict[tuple[str, str], Subject]) -> Iterator[Subject]:
    """The subjects, with as much added to their names as tells them apart."""
    short = Counter(subject.drafter for subject in found.values())
    specs = Counter(spec for _, spec in found)
    for (verifier, spec), subject in found.items():
        name = subject.drafter
        if short[name] > 1:
            name = spec if specs[spec] == 1 else f"{spec} of {verifier}"
        yield Subject(name, subject.choose, subject.judge)


def _of_category(half: TraceSet, category: str) -> IntArray:
    return np.flatnonzero([sequence.category == category for sequence in half])


def _content(half: TraceSet) -> Iterator[bytes]:
    for sequence in half:
        yield f"{sequence.id}\0{sequence.category}\0{sequence.prompt_tokens}".encode()
        yield f"{sequence.limit_tokens}".encode()
        for drafter in sequence.drafters:
            yield f"{drafter.draftable_tokens}".encode()
            yield drafter.run_lengths.astype("<i8").tobytes()
            yield drafter.proposes.tobytes()
            for name, signal in sorted(drafter.signals.items()):
                yield name.encode()
                yield from (part.astype("<f8").tobytes() for part in signal)
