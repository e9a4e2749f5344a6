"""What an import gives: a trace as far as there can be one, counts, and what they do not tell."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from adaptive_spec.traces.acceptance import Acceptance
from adaptive_spec.traces.exactness import MEANING, Exactness
from adaptive_spec.traces.records import Drafting, TraceSet
from adaptive_spec.traces.synthetic import Hazards, synthetic_trace

MOST_DRAFT_TOKENS = 1024
"""Longest draft that an import accepts: no controller allows a longer one."""

_MOST_SEQUENCES, _MOST_TOKENS, _MOST_PROMPT_TOKENS = 512, 1024, 1 << 17
"""Largest trace that is drawn from acceptance at each depth."""


@dataclass(frozen=True)
class Settings:
    """What the files do not say.

    Attributes:
      verifier, drafter: names, for the record.
      drafting: whether the drafter proposes token by token from the text before it, so that each
        verified token tells of drafts from several positions; see ``TraceInfo``.
      unknown: what tokens that nobody drafted are taken for, where the drafter goes token by token:
        "rejected" for a lower bound, "accepted" for an upper one.
      longest_draft: of run lengths that were measured with drafts of one length, that length; 0
        where they were not.
    """

    verifier: str = "unknown"
    drafter: str = "imported"
    drafting: Drafting = "block"
    unknown: Literal["rejected", "accepted"] = "rejected"
    longest_draft: int = 0


@dataclass(frozen=True)
class Totals:
    """Sums over everything that was read; None where a format does not tell.

    Attributes:
      requests: how many.
      tokens: emitted, the first of a request's too; ``passes``: verifier passes that decoded them.
      drafts: passes that verified a draft; ``num_draft_tokens``, ``num_accepted_tokens``: of these.
      decode_ms: time that the passes took, as each request saw it.
      prompt_tokens: of all prompts.
    """

    requests: int | None = None
    tokens: int | None = None
    passes: int | None = None
    drafts: int | None = None
    num_draft_tokens: int | None = None
    num_accepted_tokens: int | None = None
    decode_ms: float | None = None
    prompt_tokens: int | None = None

    @staticmethod
    def sum(parts: Sequence["Totals"]) -> "Totals":
        """Totals of several; None where one of them does not tell."""
        known: dict[str, Any] = {}
        for name in (field.name for field in fields(Totals)):
            values = [getattr(part, name) for part in parts]
            known[name] = None if None in values else sum(values)
        return Totals(**known)


@dataclass(frozen=True)
class Imported:
    """What was read, and how much of it there is.

    Attributes:
      exactness: what replaying ``traces`` can tell; "averages" where there are none.
      totals: sums.
      missing: what exact replay would need and the format does not have, a sentence each.
      concluded: what can be said nevertheless.
      acceptance: by depth; None where only averages are known.
      traces: None where nothing can be replayed.
    """

    exactness: Exactness
    totals: Totals
    missing: tuple[str, ...]
    concluded: tuple[str, ...]
    acceptance: Acceptance | None = None
    traces: TraceSet | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        data: dict[str, Any] = {
            "exactness": self.exactness,
            "meaning": MEANING[self.exactness],
            "missing": list(self.missing),
            "concluded": list(self.concluded),
            "totals": asdict(self.totals),
            "acceptance": None,
        }
        if self.acceptance is not None:
            data["acceptance"] = {
                "accepted": self.acceptance.accepted.tolist(),
                "judged_least": self.acceptance.judged_least.tolist(),
                "judged_most": self.acceptance.judged_most.tolist(),
            }
        return data


NOTHING_DRAFTED = "nothing was drafted, so that nothing is known of drafts"


def by_depth(
    acceptance: Acceptance, totals: Totals, settings: Settings, missing: Sequence[str]
) -> Imported:
    """What the acceptance at each depth gives: run lengths drawn from it.

    Args:
      acceptance: counts.
      totals: sums; the trace drawn has so many requests, of the mean length.
      settings: names.
      missing: what the format lacks besides.
    """
    depths = acceptance.longest_draft
    if depths == 0:
        return Imported("averages", totals, tuple(missing), (NOTHING_DRAFTED,), acceptance)
    lacks = [*missing, f"drafts of more than {depths} tokens"]
    if not acceptance.is_certain:
        lacks.append(
            "which drafts were short: the acceptance at a depth lies between two limits, of which "
            "the trace is drawn from the lower"
        )
    hazards = Hazards(hazards=tuple(round(hazard, 6) for hazard in acceptance.hazards))
    drawn = synthetic_trace(
        hazards,
        num_sequences=min(totals.requests or 64, _MOST_SEQUENCES),
        num_tokens=_mean(totals.tokens, totals.requests, 128, _MOST_TOKENS),
        prompt_tokens=_mean(totals.prompt_tokens, totals.requests, 32, _MOST_PROMPT_TOKENS),
    )
    info = replace(
        drawn.info,
        verifier=settings.verifier,
        exactness="distribution",
        known_draft_tokens=depths,
    )
    return Imported(
        "distribution",
        totals,
        tuple(lacks),
        (f"the acceptance at each depth up to {depths}, and mean run lengths up to there",),
        acceptance,
        replace(drawn, info=info),
    )


def _mean(total: int | None, count: int | None, otherwise: int, most: int) -> int:
    if not total or not count:
        return otherwise
    return min(max(round(total / count), 1), most)
