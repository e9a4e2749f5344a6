"""A policy given to one call of ``generate``, or many, as ``custom_generate``."""

from typing import Any, Unpack

import torch

from adaptive_spec.errors import ConfigError
from adaptive_spec.integrations.transformers.call import Call, driven_models, method_of
from adaptive_spec.integrations.transformers.compatibility import CANDIDATES, LOOP, require_model
from adaptive_spec.integrations.transformers.run import Options, Run
from adaptive_spec.policy import Policy


def adaptive_generate(
    policy: str | Policy[Any, Any] = "auto",
    *,
    assistant_model: Any = None,
    **options: Unpack[Options],
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

    ``assistant_model`` may be None where the call says ``prompt_lookup_num_tokens=`` or
    ``assistant_early_exit=``; ``options`` are as for ``adaptive``.

    Raises:
      AdaptiveSpecError: an argument that is not allowed.
    """
    return AdaptiveGenerate(Run(policy, **options), assistant_model)


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
        if model in driven_models:
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
        with Call(self.run) as call:
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

    def __init__(self, model: Any, call: "Call") -> None:
        self._model, self._call = model, call
        setattr(self, CANDIDATES, self._candidates)

    def _candidates(self, **given: Any) -> Any:
        make = method_of(self._model, CANDIDATES)
        return self._call.candidates(make, {"self": self._model, **given})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._model(*args, **kwargs)
