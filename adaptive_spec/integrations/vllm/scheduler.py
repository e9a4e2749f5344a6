"""vLLM's schedulers with a policy that decides draft lengths; nothing of vLLM is patched.

Every override calls vLLM's own method and leaves its result as it is, but for draft lengths; what
is done beside it is done under a ``Guard``. The scheduler's interface is not declared public: a
release in which it looks different is refused when the engine starts.
"""

import inspect
import logging
from collections.abc import Iterable
from typing import Any

import vllm
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler as SyncScheduler
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
from vllm.v1.outputs import DraftTokenIds, ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus

from adaptive_spec.constraints import EndReason
from adaptive_spec.errors import ConfigError
from adaptive_spec.integrations.configuration import read_configuration
from adaptive_spec.integrations.driver import Driver
from adaptive_spec.integrations.safety import SafePolicy
from adaptive_spec.integrations.trial import require_working
from adaptive_spec.integrations.vllm.books import Books
from adaptive_spec.integrations.vllm.compatibility import Engine, require_fitting, require_supported
from adaptive_spec.integrations.vllm.guard import Guard
from adaptive_spec.integrations.vllm.ngram import NgramTexts
from adaptive_spec.integrations.vllm.steering import Steering

_log = logging.getLogger(__name__)

_RAN_OUT = (
    RequestStatus.FINISHED_STOPPED,
    RequestStatus.FINISHED_LENGTH_CAPPED,
    RequestStatus.FINISHED_REPETITION,
)
"""How requests end that were neither aborted nor failed."""

_EXPECTED = {
    "schedule": ("throttle_prefills",),
    "update_from_output": ("scheduler_output", "model_runner_output"),
    "update_draft_token_ids": ("draft_token_ids",),
    "finish_requests": ("request_ids", "finished_status"),
    "shutdown": (),
}
_EXPECTED_FIELDS = (
    "num_scheduled_tokens",
    "total_num_scheduled_tokens",
    "scheduled_spec_decode_tokens",
    "preempted_req_ids",
    "num_spec_tokens_to_schedule",
    "num_invalid_spec_tokens",
)

_Before = dict[str, tuple[Request, int, int]]
"""By request: itself, output tokens that it had before a step, drafted tokens accepted in it."""


class AdaptiveScheduler(SyncScheduler):  # type: ignore[misc]  # vLLM is not there to be checked
    """For steps that are planned when the one before is done."""

    dynamic_sd_lookup: list[int] | None
    _placeholders = False

    def __init__(self, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        """Reads the configuration, tries the policy out, and sets vLLM's own scheduler up.

        Raises:
          AdaptiveSpecError: a configuration that cannot be driven, with the reason.
        """
        engine = describe(vllm_config)
        require_supported(engine)
        require_expected_interface()
        configuration = read_configuration(vllm_config.additional_config)
        longest, costs = engine.num_speculative_tokens, engine.costs
        policy = configuration.make_policy(longest)
        safe = SafePolicy(policy, longest)
        controller = configuration.controller(safe, longest, costs)
        require_fitting(engine, configuration, policy, controller.costs)
        require_working(configuration.controller(policy, longest, costs))
        one_width = configuration.widths is not None
        configuration.operation.attach(controller)
        driver = Driver(controller, drafts_ahead=engine.drafts_ahead)
        ngram = None
        if engine.ngram is not None:
            ngram = NgramTexts(*engine.ngram, controller.max_draft_tokens)
        self._steering = Steering(
            driver, placeholders=self._placeholders, one_width=one_width, ngram=ngram
        )
        self._guard = Guard(configuration.decision_limit_ms)
        self._books = Books(configuration.books, self._steering, safe, self._guard)
        self._clerk = Guard(configuration.decision_limit_ms)
        self._farewells: list[tuple[Request, EndReason]] = []
        super().__init__(vllm_config, *args, **kwargs)
        if self.dynamic_sd_lookup is None and not one_width:
            # vLLM pads requests whose prompt is cached as if they had a draft, unless it has a
            # table of draft lengths by batch size. This one says what it does without.
            self.dynamic_sd_lookup = [longest] * (self.max_num_running_reqs + 1)
        _log.info("adaptive_spec: %s drives %s", configuration, engine)

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        self._guard.call(self._end_spent)
        self._guard.call(self._steering.before_schedule, self.running)
        output = super().schedule(throttle_prefills)
        self._guard.call(self._steering.after_schedule, output, self.requests)
        return output

    def update_draft_token_ids(self, draft_token_ids: DraftTokenIds) -> None:
        drafts = draft_token_ids.draft_token_ids
        self._guard.call(self._steering.cut_drafts, draft_token_ids.req_ids, drafts)
        super().update_draft_token_ids(draft_token_ids)

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        before = self._guard.call(self._sampled, scheduler_output, model_runner_output)
        outputs: dict[int, EngineCoreOutputs] = super().update_from_output(
            scheduler_output, model_runner_output
        )
        self._guard.call(self._learn, scheduler_output, before)
        self._say_farewell(outputs)
        self._clerk.call(self._keep_books, not self.requests)
        return outputs

    def finish_requests(
        self, request_ids: str | Iterable[str] | None, finished_status: RequestStatus
    ) -> list[Request]:
        finished: list[Request] = super().finish_requests(request_ids, finished_status)
        for request in finished:
            self._guard.call(self._release, request)
        return finished

    def shutdown(self) -> None:
        self._clerk.call(self._keep_books, True)
        super().shutdown()

    def _sampled(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> _Before:
        """How requests stand before vLLM takes a step's tokens over."""
        sampled = model_runner_output.sampled_token_ids
        place = model_runner_output.req_id_to_index
        return {
            one: (
                self.requests[one],
                self.requests[one].num_output_tokens,
                max(len(sampled[place[one]]) - 1, 0) if sampled else 0,
            )
            for one in self._steering.carried_out(scheduler_output)
            if one in self.requests and one in place
        }

    def _learn(self, scheduler_output: SchedulerOutput, before: _Before | None) -> None:
        fared, ended = {}, {}
        for one, (request, had, accepted) in (before or {}).items():
            fared[one] = accepted, request.output_token_ids[had:]
            if request.is_finished():
                ended[one] = request.status in _RAN_OUT
        self._steering.learn(scheduler_output, fared, ended)

    def _release(self, request: Request) -> None:
        self._steering.release(request.request_id, finished=request.status in _RAN_OUT)

    def _keep_books(self, at_once: bool) -> None:
        self._books.keep(at_once=at_once)

    def _end_spent(self) -> None:
        """Ends requests whose passes or whose time is spent, with the text so far."""
        for one, reason in self._steering.driver.spent().items():
            for request in self.finish_requests(one, RequestStatus.FINISHED_LENGTH_CAPPED):
                self._farewells.append((request, reason))

    def _say_farewell(self, outputs: dict[int, EngineCoreOutputs]) -> None:
        """Tells the clients of requests that were ended here."""
        for request, reason in self._farewells:
            own = outputs.setdefault(request.client_index, EngineCoreOutputs())
            own.outputs.append(
                EngineCoreOutput(
                    request_id=request.request_id,
                    new_token_ids=[],
                    finish_reason=request.get_finished_reason(),
                    stop_reason=reason.name.lower(),
                    events=request.take_events(),
                    trace_headers=request.trace_headers,
                    spec_decode_metrics=request.spec_decode_metrics,
                )
            )
        self._farewells.clear()


class AdaptiveAsyncScheduler(AdaptiveScheduler, AsyncScheduler):  # type: ignore[misc]
    """For steps that are planned while the one before runs."""

    _placeholders = True


def Scheduler(vllm_config: Any, *args: Any, **kwargs: Any) -> AdaptiveScheduler:  # noqa: N802
    """The scheduler that goes with ``--async-scheduling``, as vLLM chooses its own.

    Raises:
      AdaptiveSpecError: a configuration that cannot be driven, with the reason.
    """
    if vllm_config.scheduler_config.async_scheduling:
        return AdaptiveAsyncScheduler(vllm_config, *args, **kwargs)
    return AdaptiveScheduler(vllm_config, *args, **kwargs)


def describe(vllm_config: Any) -> Engine:
    """What an engine is set up for."""
    speculation, parallel = vllm_config.speculative_config, vllm_config.parallel_config
    return Engine(
        version=vllm.__version__,
        method=None if speculation is None else speculation.method,
        num_speculative_tokens=vllm_config.num_speculative_tokens,
        ngram=_ngram_lengths(speculation),
        parallel_drafting=bool(speculation and speculation.parallel_drafting),
        adaptive_verification=bool(speculation and speculation.enable_adaptive_verification),
        async_scheduling=bool(vllm_config.scheduler_config.async_scheduling),
        data_parallel_size=parallel.data_parallel_size,
        pipeline_parallel_size=parallel.pipeline_parallel_size,
    )


def _ngram_lengths(speculation: Any) -> tuple[int, int] | None:
    if speculation is None or speculation.method != "ngram":
        return None
    return int(speculation.prompt_lookup_min), int(speculation.prompt_lookup_max)


def require_expected_interface() -> None:
    """Refuses a release whose scheduler is not the one that is extended here.

    Raises:
      ConfigError: what is missing.
    """
    missing = [
        f"SchedulerOutput.{name}"
        for name in _EXPECTED_FIELDS
        if name not in SchedulerOutput.__dataclass_fields__
    ]
    for name, parameters in _EXPECTED.items():
        method = getattr(SyncScheduler, name, None)
        known = () if method is None else tuple(inspect.signature(method).parameters)
        if method is None or known != ("self", *parameters):
            missing.append(f"Scheduler.{name}({', '.join(parameters)})")
    if missing:
        raise ConfigError(
            f"vLLM {vllm.__version__} has another scheduler than adaptive-spec knows (it lacks "
            f"{', '.join(missing)}); take one that docs/vllm.md lists, or "
            "drop --scheduler-cls"
        )
