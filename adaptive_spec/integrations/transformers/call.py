"""One call of ``generate`` under a policy, however it came to be."""

import functools
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from transformers import StoppingCriteriaList
from transformers.generation import candidate_generator

from adaptive_spec.errors import ConfigError
from adaptive_spec.integrations.transformers.assistant import AssistantSource
from adaptive_spec.integrations.transformers.candidates import PolicyCandidates, PromisesEnd
from adaptive_spec.integrations.transformers.compatibility import require_settings
from adaptive_spec.integrations.transformers.drafts import DraftSource, greedy_as_is
from adaptive_spec.integrations.transformers.generation import Generation
from adaptive_spec.integrations.transformers.lookup import LookupSource
from adaptive_spec.integrations.transformers.run import Run

driven_models: "weakref.WeakSet[Any]" = weakref.WeakSet()
"""Models inside an ``adaptive`` block."""


class Call:
    """The loops in a call: one as a rule, none where it is not assisted."""

    def __init__(self, run: Run) -> None:
        """Begins with none."""
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
        raw = not given["logits_processor"]
        self._end.generation = Generation(self._run, source, ids, settings, scores_are_raw=raw)
        return PolicyCandidates(self._end.generation)

    def _finish(self, *, failed: bool) -> None:
        generation, self._end.generation = self._end.generation, None
        if generation is not None:
            generation.finish(failed=failed)

    def __enter__(self) -> Self:
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


def method_of(model: Any, name: str) -> Callable[..., Any]:
    """A method of a model as a function of the model, be it of its class or its own."""
    own = vars(model).get(name)
    if own is None:
        method: Callable[..., Any] = getattr(type(model), name)
        return method

    @functools.wraps(getattr(type(model), name))
    def of_instance(model: Any, *args: Any, **kwargs: Any) -> Any:
        return own(*args, **kwargs)

    return of_instance
