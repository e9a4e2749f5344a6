"""What a scheduler of vLLM has to do around its own work so that a policy decides draft lengths.

Two kinds of drafters. A lookup's drafts are at hand when the scheduler plans a step: the policy
decides how much of them is verified in this step. A draft model drafts at the end of a step, for
the next one: what the policy decides while a step is planned is how long that draft gets, for the
longest of all requests; those that get less have it cut.

Requests and the scheduler's output are vLLM's own; nothing of vLLM is imported here.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from adaptive_spec.controller import UNLIMITED_PASSES
from adaptive_spec.errors import ConfigError
from adaptive_spec.integrations.configuration import SECTION
from adaptive_spec.integrations.driver import Driver, Step, Verified
from adaptive_spec.integrations.vllm.ngram import NgramTexts

_log = logging.getLogger(__name__)


class Wishes(NamedTuple):
    """What a request says in ``SamplingParams.extra_args``.

    Attributes:
      request_class: its class in the constraints; None for the first.
      max_draft_tokens: longest draft for it, >= 0; None for any.
      max_passes: its own budget: most verifier passes that it may take, >= 1; None for any number.
    """

    request_class: str | None = None
    max_draft_tokens: int | None = None
    max_passes: int | None = None


@dataclass
class Totals:
    """What was done so far, counted as vLLM does.

    Attributes:
      steps: in which tokens were verified; ``drafts``: drafts verified, one a request and step.
      draft_tokens, accepted_tokens, emitted_tokens: of all requests.
    """

    steps: int = 0
    drafts: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0
    emitted_tokens: int = 0


class _Begun(NamedTuple):
    """A step under way.

    Attributes:
      step: for the driver; ``at_s``: when it began to be planned.
      drafted: tokens verified, by request.
    """

    step: Step
    at_s: float
    drafted: dict[str, int]


class Steering:
    """Decides for the requests of one scheduler.

    Attributes:
      driver: of the policy; ``totals``: what was done so far.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        placeholders: bool,
        one_width: bool,
        ngram: NgramTexts | None = None,
        clock: Callable[[], float] = time.perf_counter,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Sets up without requests.

        Args:
          driver: of the policy.
          placeholders: whether drafts never come back to the scheduler (asynchronous scheduling).
          one_width: whether all requests of a step get the same draft length.
          ngram: where an n-gram lookup drafts, what it would have proposed; None for others.
          clock: in seconds.
          wall_clock: in seconds, as requests' ``arrival_time``.
        """
        self.driver = driver
        self.totals = Totals()
        self._placeholders = placeholders
        self._one_width = one_width
        self._ngram = ngram
        self._looks_back = ngram is not None and driver.controller.policy.looks_back
        self._clock = clock
        self._wall_clock = wall_clock
        self._longest: dict[str, int] = {}  # by request that wishes for short drafts
        self._cut_to: dict[str, int] = {}  # by request whose draft is being made
        self._begun: dict[int, _Begun] = {}  # by identity of the scheduler's output
        self._planned_s = 0.0
        self._last_s = 0.0

    def before_schedule(self, running: Iterable[Any]) -> None:
        """Before a step is planned: decides how much of the drafts at hand is verified.

        Args:
          running: requests that run; drafts of theirs are cut.
        """
        self._planned_s = self._clock()
        if self.driver.drafts_ahead:
            return
        requests = {
            request.request_id: request
            for request in running
            if request.request_id in self.driver
            and not request.is_prefill_chunk
            and not self.driver.is_decided(request.request_id)
        }
        tau, _ = self.driver.decide({one: bool(r.spec_token_ids) for one, r in requests.items()})
        for one, request in requests.items():
            request.spec_token_ids = request.spec_token_ids[: self._shortened(one, tau)]

    def after_schedule(self, output: Any, requests: Mapping[str, Any]) -> None:
        """After a step was planned: what it carries out, and how long its drafts get.

        Args:
          output: the scheduler's; its ``num_spec_tokens_to_schedule`` is set.
          requests: all of the scheduler's.
        """
        self.driver.withdraw(output.preempted_req_ids or ())
        verified = output.scheduled_spec_decode_tokens
        sampling = [one for one in output.num_scheduled_tokens if self._samples(requests[one])]
        # A draft that nobody decided on is padding.
        drafted = {
            one: len(verified.get(one, ())) if self.driver.is_decided(one) else 0
            for one in sampling
        }
        carried_out = self.driver.begin_step(sampling)
        drafts_for = None
        if self.driver.drafts_ahead:
            tau, drafts_for = self.driver.decide(dict.fromkeys(sampling, True))
            self._ask_for(tau, output, requests)
        elif self._ngram is not None:
            self._ask_lookup_for(sampling, output, requests)
        comparable = output.total_num_scheduled_tokens == len(drafted) + sum(drafted.values())
        step = Step(carried_out, drafts_for, comparable)
        self._begun[id(output)] = _Begun(step, self._planned_s, drafted)

    def cut_drafts(self, request_ids: Iterable[str], drafts: list[list[int]]) -> None:
        """Drafts came back from the drafter: cuts them, in place, to what was decided."""
        for i, one in enumerate(request_ids):
            if one in self._cut_to:
                drafts[i] = drafts[i][: self._cut_to.pop(one)]

    def carried_out(self, output: Any) -> tuple[str, ...]:
        """Requests of which ``learn`` wants to know what came of them."""
        begun = self._begun.get(id(output))
        return () if begun is None else tuple(begun.step.carried_out)

    def learn(
        self,
        output: Any,
        fared: Mapping[str, tuple[int, Sequence[int]]],
        ended: Mapping[str, bool],
    ) -> None:
        """After a step: what came of it.

        Args:
          output: the scheduler's, of that step.
          fared: by request, how many tokens were accepted, and the tokens emitted.
          ended: requests that ended in it, and whether they ran to their end.
        """
        begun = self._begun.pop(id(output), None)
        if begun is None:
            return
        now = self._clock()
        elapsed_ms = (now - max(begun.at_s, self._last_s)) * 1e3
        self._last_s = now
        invalid = output.num_invalid_spec_tokens or {}
        verified = {}
        for one, (accepted, emitted) in fared.items():
            if emitted:
                drafted = begun.drafted[one] - invalid.get(one, 0)
                verified[one] = Verified(drafted, accepted, len(emitted))
        runs_of = None
        if self._ngram is not None and self._looks_back:
            for one in verified:
                self._ngram.extend(one, fared[one][1])
            runs_of = self._ngram.runs
        self.driver.observe(begun.step, verified, elapsed_ms, runs_of)
        self._count(verified)
        for one, ran_out in ended.items():
            self.release(one, finished=ran_out)

    def release(self, request_id: str, *, finished: bool) -> None:
        """A request left the engine; ``finished`` is False where it was aborted or failed."""
        self._longest.pop(request_id, None)
        self._cut_to.pop(request_id, None)
        if self._ngram is not None:
            self._ngram.end(request_id)
        self.driver.release(request_id, finished=finished)

    def _samples(self, request: Any) -> bool:
        """Whether a step that was planned gives this request tokens; takes it in if it is new."""
        # A streaming session begins anew with every chunk of input: it is left as it is.
        if request.is_prefill_chunk or request.resumable or request.sampling_params is None:
            return False
        if request.request_id not in self.driver:
            self._admit(request)
        return True

    def _admit(self, request: Any) -> None:
        wishes = read_wishes(request.sampling_params.extra_args, self.driver.controller.constraints)
        if wishes.max_passes is not None and self._placeholders:
            _log.warning(
                "extra_args: max_passes = %d of request %s is left out: with asynchronous "
                "scheduling its next pass has begun when it is known that none is left; use "
                "--no-async-scheduling",
                wishes.max_passes,
                request.request_id,
            )
            wishes = wishes._replace(max_passes=None)
        if wishes.max_draft_tokens is not None:
            self._longest[request.request_id] = wishes.max_draft_tokens
        self.driver.admit(
            request.request_id,
            request.num_prompt_tokens,
            request.max_tokens,
            wishes.request_class,
            max(self._wall_clock() - request.arrival_time, 0.0) * 1e3,
            wishes.max_passes,
        )
        if self._ngram is not None and self._looks_back:
            self._ngram.begin(request.request_id, request.all_token_ids[:])

    def _shortened(self, request_id: str, tau: Mapping[str, int]) -> int:
        decided = tau.get(request_id, 0)
        return min(decided, self._longest.get(request_id, decided))

    def _ask_for(self, tau: Mapping[str, int], output: Any, requests: Mapping[str, Any]) -> None:
        lengths = {one: self._shortened(one, tau) for one in tau}
        width = max(lengths.values(), default=0)
        if self._one_width:
            lengths = dict.fromkeys(lengths, width)
        if not lengths:
            return
        output.num_spec_tokens_to_schedule = width
        if not self._placeholders:
            self._cut_to.update(lengths)
            return
        for one in output.num_scheduled_tokens:
            # A list of its own: vLLM's is shared by all requests. None may be longer than the
            # drafts, not even those of requests that are left as they are.
            longest = lengths.get(one, width)
            requests[one].spec_token_ids = requests[one].spec_token_ids[:longest]

    def _ask_lookup_for(
        self, sampling: list[str], output: Any, requests: Mapping[str, Any]
    ) -> None:
        """Has the lookup copy no more than some request could have verified; for 0 it rests."""
        longest = self.driver.controller.max_draft_tokens
        ours = [self._longest.get(one, longest) for one in sampling]
        others = any(
            one not in self.driver and not requests[one].is_prefill_chunk
            for one in output.num_scheduled_tokens
        )
        if not others:
            most = min(max(ours, default=0), longest)
            output.num_spec_tokens_to_schedule = min(output.num_spec_tokens_to_schedule, most)

    def _count(self, verified: Mapping[str, Verified]) -> None:
        totals = self.totals
        totals.steps += 1 if verified else 0
        for drafted, accepted, emitted in verified.values():
            totals.drafts += 1 if drafted else 0
            totals.draft_tokens += drafted
            totals.accepted_tokens += accepted
            totals.emitted_tokens += emitted


def read_wishes(extra_args: Mapping[str, Any] | None, constraints: Any) -> Wishes:
    """What a request asks for; what cannot be had is logged and left out, for it has begun.

    Args:
      extra_args: of its sampling parameters, with a mapping ``adaptive_spec``, or with its fields
        as ``adaptive_spec.request_class`` (``vllm_xargs`` over HTTP takes no mappings).
      constraints: with the classes that there are.
    """
    given = _section(extra_args or {})
    if not isinstance(given, Mapping) or not set(given) <= set(Wishes._fields):
        allowed = ", ".join(Wishes._fields)
        _log.warning("extra_args: %s = %r; allowed are %s", SECTION, given, allowed)
        return Wishes()
    name = given.get("request_class")
    if name is not None:
        try:
            constraints.number(name)
        except ConfigError as error:
            _log.warning("extra_args: %s; taken as one of the first", error)
            name = None
    return Wishes(name, _count(given, "max_draft_tokens", 0), _count(given, "max_passes", 1))


def _count(given: Mapping[str, Any], name: str, least: int) -> int | None:
    """A wish that is a number; None where there is none, or none that can be had."""
    value = given.get(name)
    if value is None or (type(value) is int and least <= value <= UNLIMITED_PASSES):
        return value
    allowed = least, UNLIMITED_PASSES
    _log.warning("extra_args: %s = %r; it must be an integer in %d..%d", name, value, *allowed)
    return None


def _section(extra_args: Mapping[str, Any]) -> Any:
    prefix = f"{SECTION}."
    flat = {k.removeprefix(prefix): v for k, v in extra_args.items() if k.startswith(prefix)}
    section = extra_args.get(SECTION, {})
    return {**flat, **section} if isinstance(section, Mapping) else section
