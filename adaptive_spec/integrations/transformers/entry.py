"""The two ways in: around calls of ``generate``, or given to one as ``custom_generate``."""

import functools
import inspect
import logging
import threading
import types
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from transformers import StoppingCriteriaList
from transformers.generation import candidate_generator

from adaptive_spec.constraints import AnyConstraints
from adaptive_spec.costs import CostModel
from adaptive_spec.errors import ConfigError
from adaptive_spec.integrations.transformers.assistant import AssistantSource
from adaptive_spec.integrations.transformers.candidates import PolicyCandidates, PromisesEnd
from adaptive_spec.integrations.transformers.compatibility import (
    CANDIDATES,
    LOOP,
    require_model,
    require_settings,
)
from adaptive_spec.integrations.transformers.drafts import DraftSource, greedy_as_is
from adaptive_spec.integrations.transformers.generation import Generation
from adaptive_spec.integrations.transformers.lookup import LookupSource
from adaptive_spec.integrations.transformers.run import Run
from adaptive_spec.policy import Policy

_log = logging.getLogger(__name__)

_driven: "weakref.WeakSet[Any]" = weakref.WeakSet()
"""Models inside an ``adaptive`` block."""


def adaptive(
    model: Any,
    policy: str | Policy[Any, Any] = "auto",
    *,
    costs: CostModel | str | None = None,
    constraints: AnyConstraints = None,
    max_draft_tokens: int = 10,
    seed: int = 0,
    measured_times: bool = True,
    keep_cycles: bool = False,
) -> "Adaptive":
    """Lets a policy decide in every assisted ``model.generate`` within a ``with`` block.

    ::

        with adaptive(model, policy="auto") as run:
            model.generate(**inputs, assistant_model=draft)  # as before, in every other respect
        print(run.statistics.mean_acceptance_length)

    What is generated is what transformers would generate: the same text where it is greedy, a text
    from the same distribution where it is sampled. Calls that are not assisted are left alone.

    Args:
      model: a transformers model.
      policy: who decides, or its spec.
      costs: prices shown to the policy; None for ``ConstantCosts()``, which policies that follow the
        measured times, such as "auto", put right.
      constraints: what is promised, of all requests or by class (``Run.request_class``).
      max_draft_tokens: K, largest tau.
      seed: all of the policy's randomness derives from it.
      measured_times: tell the policy what its cycles took. Otherwise it takes the cost model's
        times, and decides alike on every machine.
      keep_cycles: keep every request's tokens and cycles, as ``Run.completions``.

    Raises:
      AdaptiveSpecError: an argument that is not allowed.
      ConfigError: transformers has changed what the adapter hangs on.
    """
    require_model(model, max_draft_tokens)
    run = Run(
        policy,
        costs=costs,
        constraints=constraints,
        max_draft_tokens=max_draft_tokens,
        seed=seed,
        measured_times=measured_times,
        keep_cycles=keep_cycles,
    )
    return Adaptive(model, run)


class Adaptive:
    """A ``with`` block in which a model's ``generate`` is driven; made by ``adaptive``.

    Two methods of the instance are replaced within the block; its class and all others are not.
    """

    def __init__(self, model: Any, run: Run) -> None:
        """Changes nothing yet."""
        self._model, self._run = model, run
        self._calls = threading.local()
        self._before: dict[str, Any] = {}
        self._entered = False

    def __enter__(self) -> Run:
        if self._entered:
            raise ConfigError("adaptive: a block is entered once; call adaptive(...) again")
        if self._model in _driven:
            raise ConfigError(
                "adaptive: a policy drives this model already; leave that block first"
            )
        self._entered = True
        model = self._model
        # Bound methods, so that a copy of the model made within the block generates by itself.
        replaced = {
            "generate": types.MethodType(self._generate(_method(model, "generate")), model),
            CANDIDATES: types.MethodType(self._candidates(_method(model, CANDIDATES)), model),
        }
        self._before = {name: vars(model)[name] for name in replaced if name in vars(model)}
        _driven.add(model)
        vars(model).update(replaced)
        return self._run

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        methods = vars(self._model)
        for name in ("generate", CANDIDATES):
            del methods[name]
        methods.update(self._before)
        _driven.discard(self._model)
        if error is None and not self._run.begun:
            _log.warning(
                "adaptive: no call of generate was assisted; give it assistant_model=, "
                "prompt_lookup_num_tokens= or assistant_early_exit="
            )

    def _generate(self, generate: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(generate)

        @functools.wraps(generate)
        def driven(model: Any, *args: Any, **kwargs: Any) -> Any:
            if getattr(self._calls, "call", None) is not None:
                return generate(model, *args, **kwargs)  # an early exit: it drafts for itself
            call = _Call(self._run)
            given = signature.bind_partial(model, *args, **kwargs)
            mine = call.criteria(given.arguments.get("stopping_criteria"))
            given.arguments["stopping_criteria"] = mine
            self._calls.call = call
            try:
                with call:
                    return generate(*given.args, **given.kwargs)
            finally:
                self._calls.call = None

        return driven

    def _candidates(self, candidates: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(candidates)

        @functools.wraps(candidates)
        def driven(model: Any, *args: Any, **kwargs: Any) -> Any:
            call: _Call | None = getattr(self._calls, "call", None)
            if call is None:
                return candidates(model, *args, **kwargs)
            return call.candidates(candidates, signature.bind(model, *args, **kwargs).arguments)

        return driven


def _method(model: Any, name: str) -> Callable[..., Any]:
    """A method of a model as a function of the model, be it of its class or its own."""
    own = vars(model).get(name)
    if own is None:
        method: Callable[..., Any] = getattr(type(model), name)
        return method

    @functools.wraps(getattr(type(model), name))
    def of_instance(model: Any, *args: Any, **kwargs: Any) -> Any:
        return own(*args, **kwargs)

    return of_instance


def adaptive_generate(
    policy: str | Policy[Any, Any] = "auto",
    *,
    assistant_model: Any = None,
    costs: CostModel | str | None = None,
    constraints: AnyConstraints = None,
    max_draft_tokens: int = 10,
    seed: int = 0,
    measured_times: bool = True,
    keep_cycles: bool = False,
) -> "AdaptiveGenerate":
    """A ``custom_generate`` under a policy, for one call of ``generate`` or many.

    ::

        generate = adaptive_generate("auto", assistant_model=draft)
        model.generate(**inputs, custom_generate=generate)
        print(generate.run.statistics.mean_acceptance_length)

    transformers does not hand ``assistant_model=``, ``streamer=`` and ``tokenizer=`` on to a
    ``custom_generate``: the draft model is given here, a streamer to the call as
    ``draft_streamer=``, and stop strings as a ``StopStringCriteria``. ``adaptive`` needs none of
    that.

    Args:
      policy: who decides, or its spec; other arguments as for ``adaptive``.
      assistant_model: the draft model; None where the call says ``prompt_lookup_num_tokens=`` or
        ``assistant_early_exit=``.

    Raises:
      AdaptiveSpecError: an argument that is not allowed.
    """
    run = Run(
        policy,
        costs=costs,
        constraints=constraints,
        max_draft_tokens=max_draft_tokens,
        seed=seed,
        measured_times=measured_times,
        keep_cycles=keep_cycles,
    )
    return AdaptiveGenerate(run, assistant_model)


class AdaptiveGenerate:
    """What ``adaptive_generate`` makes. The model is not changed.

    Attributes:
      run: the policy at work.
    """

    def __init__(self, run: Run, assistant_model: Any) -> None:
        """Begins with no requests."""
        self.run = run
        self._assistant_model = assistant_model

    def __call__(
        self,
        model: Any,
        input_ids: torch.Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        inputs_tensor: Any = None,
        draft_streamer: Any = None,
        **model_kwargs: Any,
    ) -> Any:
        """Called by ``generate``; arguments and result as transformers has them."""
        assistant = self._assistant_model
        require_model(model, self.run.controller.max_draft_tokens)
        if model in _driven:
            raise ConfigError(
                "adaptive_generate: a policy drives this model already; leave that block first"
            )
        drafts_itself = (
            generation_config.prompt_lookup_num_tokens is not None
            or generation_config.assistant_early_exit is not None
        )
        if assistant is None and not drafts_itself:
            raise ConfigError(
                "adaptive_generate: there is no drafter; give the factory assistant_model= (that "
                "of generate is not handed on), or the call prompt_lookup_num_tokens="
            )
        with _Call(self.run) as call:
            return getattr(type(model), LOOP)(
                _Driven(model, call),
                input_ids,
                logits_processor=logits_processor,
                stopping_criteria=call.criteria(stopping_criteria),
                generation_config=generation_config,
                inputs_tensor=inputs_tensor,
                streamer=draft_streamer,
                assistant_model=assistant,
                **model_kwargs,
            )


class _Driven:
    """A model for the length of one loop: itself, but for who makes its candidates."""

    def __init__(self, model: Any, call: "_Call") -> None:
        self._model, self._call = model, call
        setattr(self, CANDIDATES, functools.partial(call.candidates_of, model))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._model(*args, **kwargs)


class _Call:
    """One call of ``generate``, and the loops in it: one as a rule, none where it is not assisted."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._end = PromisesEnd()

    def criteria(self, given: Any) -> StoppingCriteriaList:
        """The call's stopping criteria, and ours after them."""
        return StoppingCriteriaList([*(given or ()), self._end])

    def candidates(self, make: Callable[..., Any], given: dict[str, Any]) -> PolicyCandidates:
        """Candidates for a loop that begins, made by transformers with arguments as ``given``.

        Raises:
          ConfigError: a setting that is not served.
        """
        self._finish(failed=False)  # speech models run one loop after the other in a call
        settings, ids = given["generation_config"], given["input_ids"]
        assistant, tokenizer = given.get("assistant_model"), given.get("assistant_tokenizer")
        require_settings(settings, ids.shape[0], assistant, tokenizer)
        source = _source(self._run, make(**given), given)
        self._end.generation = Generation(self._run, source, ids, settings)
        return PolicyCandidates(self._end.generation)

    def candidates_of(self, model: Any, **given: Any) -> PolicyCandidates:
        """The same for a model that is called by ``_Driven``."""
        return self.candidates(_method(model, CANDIDATES), {"self": model, **given})

    def _finish(self, *, failed: bool) -> None:
        generation, self._end.generation = self._end.generation, None
        if generation is not None:
            generation.finish(failed=failed)

    def __enter__(self) -> "_Call":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._finish(failed=error is not None)


def _source(run: Run, inner: Any, given: dict[str, Any]) -> DraftSource:
    """What drafts by a generator of transformers'.

    Raises:
      ConfigError: a generator of a kind that cannot be steered.
    """
    prompt_tokens = given["input_ids"].shape[1]
    reads_back = (
        run.policy.looks_back
        and prompt_tokens > 0
        and greedy_as_is(given["generation_config"], given["logits_processor"])
    )
    if type(inner) is candidate_generator.PromptLookupCandidateGenerator:
        return LookupSource(inner, prompt_tokens, reads_back=reads_back)
    names = {
        candidate_generator.AssistedCandidateGenerator: "assistant",
        candidate_generator.EarlyExitCandidateGenerator: "early-exit",
    }
    if type(inner) not in names:
        raise ConfigError(
            f"generate: drafts by {type(inner).__name__} cannot be steered; use assistant_model=, "
            "prompt_lookup_num_tokens= or assistant_early_exit="
        )
    return AssistantSource(names[type(inner)], inner, prompt_tokens, reads_back=reads_back)
