"""A policy around calls of ``generate``: a ``with`` block that changes nothing else of them."""

import functools
import inspect
import logging
import threading
import types
from collections.abc import Callable
from typing import Any, Unpack

from adaptive_spec.errors import ConfigError
from adaptive_spec.integrations.transformers.call import Call, driven_models, method_of
from adaptive_spec.integrations.transformers.compatibility import CANDIDATES, require_model
from adaptive_spec.integrations.transformers.run import Options, Run
from adaptive_spec.policy import Policy

_log = logging.getLogger(__name__)


def adaptive(
    model: Any, policy: str | Policy[Any, Any] = "auto", **options: Unpack[Options]
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
      options: what else is said of the run, as ``Options`` has it: costs, constraints and so on.

    Raises:
      AdaptiveSpecError: an argument that is not allowed.
      ConfigError: transformers has changed what the adapter hangs on.
    """
    run = Run(policy, **options)
    require_model(model, run.controller.max_draft_tokens)
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
        if self._model in driven_models:
            raise ConfigError(
                "adaptive: a policy drives this model already; leave that block first"
            )
        self._entered = True
        model = self._model
        # Bound methods, so that a copy of the model made within the block generates by itself.
        replaced = {
            "generate": types.MethodType(self._generate(method_of(model, "generate")), model),
            CANDIDATES: types.MethodType(self._candidates(method_of(model, CANDIDATES)), model),
        }
        self._before = {name: vars(model)[name] for name in replaced if name in vars(model)}
        driven_models.add(model)
        vars(model).update(replaced)
        return self._run

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        methods = vars(self._model)
        for name in ("generate", CANDIDATES):
            del methods[name]
        methods.update(self._before)
        driven_models.discard(self._model)
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
            call = Call(self._run)
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
            call: Call | None = getattr(self._calls, "call", None)
            if call is None:
                return candidates(model, *args, **kwargs)
            return call.candidates(candidates, signature.bind(model, *args, **kwargs).arguments)

        return driven
