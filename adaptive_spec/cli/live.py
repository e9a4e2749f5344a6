"""What the commands that run models share: loading, requests, one engine per run."""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from adaptive_spec._optional import require
from adaptive_spec.cli.options import AUTO
from adaptive_spec.cli.output import note, notes
from adaptive_spec.constraints import Constraints
from adaptive_spec.controller import Controller
from adaptive_spec.costs import ConstantCosts, CostModel
from adaptive_spec.errors import ConfigError, PromptError
from adaptive_spec.policy import Policy
from adaptive_spec.prompts import Prompt, demo_prompts, read_prompts
from adaptive_spec.traces.synthetic import NAME as SYNTHETIC

if TYPE_CHECKING:
    import torch

    from adaptive_spec.decoding.drafters import Drafter
    from adaptive_spec.decoding.drafters.loading import MakeDrafter
    from adaptive_spec.decoding.engine import DecodingEngine
    from adaptive_spec.decoding.forward import StaticShapes
    from adaptive_spec.decoding.models import Verifier
    from adaptive_spec.decoding.requests import Request
    from adaptive_spec.decoding.verification import VerificationRule


def prompts_from(
    path: Path | None, limit: int | None = None, categories: list[str] | None = None
) -> tuple[Prompt, ...]:
    """Prompts of a file, or those that come with the package.

    Raises:
      PromptError: a file that cannot be read or is malformed, or an unknown category.
    """
    if path is not None:
        return read_prompts(path, limit, categories)
    shipped = demo_prompts()
    known = {prompt.category for prompt in shipped}
    if not set(categories or ()) <= known:
        raise PromptError(
            f"--category: the prompts that come with the package have {', '.join(sorted(known))}; "
            f"got {', '.join(categories or ())}"
        )
    return tuple(p for p in shipped if not categories or p.category in categories)[:limit]


def quiet_libraries() -> None:
    """Keeps transformers' own bars and advice out of our output."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    require("torch", "hf")
    transformers = require("transformers", "hf")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


@contextlib.contextmanager
def status(text: str) -> Iterator[None]:
    """Shows that something is under way."""
    if notes.is_terminal:
        with notes.status(escape(text)):
            yield
    else:
        note(f"{text}...")
        yield


@dataclass(frozen=True)
class Pair:
    """A verifier, and what makes drafters for it."""

    verifier: "Verifier"
    make_drafter: "MakeDrafter"

    @staticmethod
    def load(
        verifier: str,
        drafter: str,
        dtype: str,
        device: str | None,
        *,
        prepared: bool = True,
        float32_logits: bool = False,
        verify_width: int | None = None,
        cuda_graphs: bool = False,
    ) -> "Pair":
        """Loads both models; the built-in one is converted at its first use.

        Args:
          verifier: as of ``load_verifier``, as are ``dtype``, ``device``, ``prepared`` and
            ``float32_logits``.
          drafter: as of ``load_drafter``; "auto" is the best that comes with the package.
          dtype: of both models.
          device: of both models.
          prepared: whether weights are rearranged.
          float32_logits: whether the verifier's are.
          verify_width: tokens of all the verifier's passes; None to run each as it is.
          cuda_graphs: capture both models' passes, in few shapes.

        Raises:
          ConfigError: graphs on a device that has none.
          AdaptiveSpecError: as ``load_verifier`` and ``load_drafter``.
        """
        quiet_libraries()
        from adaptive_spec.decoding.builtin import BUILTIN, builtin_model_dir
        from adaptive_spec.decoding.drafters.loading import load_drafter
        from adaptive_spec.decoding.drafters.specs import parse_drafter
        from adaptive_spec.decoding.forward import StaticShapes
        from adaptive_spec.decoding.models import load_verifier
        from adaptive_spec.decoding.pretrained import parse_target

        if drafter == AUTO:
            drafter = "lookup+builtin" if verifier == BUILTIN else "lookup"
        # Refuse what is misspelt before loading, or even converting, anything.
        parse_drafter(drafter)
        _, place = parse_target(dtype, device)
        shapes = _graph_shapes(place) if cuda_graphs else None
        if verifier == BUILTIN:
            builtin_model_dir(
                on_convert=lambda: note(
                    "converting the built-in model's weights, once, about half a minute..."
                )
            )
        with status(f"loading {verifier}"):
            target = load_verifier(
                verifier,
                dtype=dtype,
                device=device,
                prepared=prepared,
                float32_logits=float32_logits,
                shapes=shapes if verify_width is None else StaticShapes.fixed(verify_width),
            )
            return Pair(target, load_drafter(drafter, target, shapes=shapes))

    def requests(
        self, prompts: tuple[Prompt, ...], max_new_tokens: int, chat_template: bool
    ) -> "list[Request]":
        """The prompts as requests."""
        from adaptive_spec.decoding.requests import Request

        encode = self.verifier.encode
        return [
            Request(p.id, encode(p.prompt, chat_template=chat_template), max_new_tokens, p.category)
            for p in prompts
        ]

    def guessed_costs(self) -> ConstantCosts:
        """Costs for a first run: drafting in proportion to the layers' weights, verifying flat."""
        drafter = self.make_drafter(1)
        if drafter is None:
            return ConstantCosts(draft=0.0, verify=0.05)
        guesses = [self._guessed_draft(component) for component in drafter.components]
        named = tuple(zip(drafter.names, guesses, strict=True)) if len(guesses) > 1 else ()
        return ConstantCosts(draft=guesses[-1], verify=0.05, drafts=named)

    def _guessed_draft(self, drafter: "Drafter") -> float:
        """Time of a draft step over that of a plain pass."""
        if drafter.spec.startswith(SYNTHETIC):
            return ConstantCosts().draft  # stands for a draft model, though it runs the verifier
        runner = getattr(drafter, "runner", None)
        if runner is None:
            return 0.0
        return round(_layer_weights(runner.model) / _layer_weights(self.verifier.model), 3)

    def costs(self, given: CostModel | None) -> CostModel:
        """The costs given, or a guess, said to be one; in milliseconds of this machine.

        Policies see prices beside measured times, so both must be in the same unit.
        """
        from adaptive_spec.decoding.profiler import plain_pass_ms

        costs = given
        if costs is None:
            costs = self.guessed_costs()
            note(f"costs: guessed as {costs}; measure them with `adaptive-spec profile`")
        drafter = self.make_drafter(1)
        if drafter is not None:
            costs.require_drafters(drafter.names)
        if isinstance(costs, ConstantCosts) and costs.plain_ms == 1.0:
            costs = dataclasses.replace(
                costs, plain_ms=plain_pass_ms(self.verifier.model, shapes=self.verifier.shapes)
            )
        return costs

    def engine(
        self,
        policy: Policy[Any, Any],
        costs: CostModel,
        *,
        requests: "Sequence[Request]" = (),
        max_draft_tokens: int = 10,
        batch_size: int = 1,
        constraints: Constraints | None = None,
        seed: int = 0,
        stop_strings: tuple[str, ...] = (),
        record_signals: bool = False,
        measured_times: bool = True,
        drafting: bool = True,
        rule: "VerificationRule | None" = None,
        stop_tokens: bool = True,
    ) -> "DecodingEngine":
        """An engine with a controller of its own; greedy without a rule.

        Where ``requests`` are given, it has no more rows than these, and room for the longest.
        """
        from adaptive_spec.decoding.engine import DecodingEngine
        from adaptive_spec.decoding.stopping import StopRules
        from adaptive_spec.decoding.verification import GREEDY

        longest = None
        if requests:
            batch_size = min(batch_size, len(requests))
            longest = max(len(r.prompt_ids) + r.max_new_tokens for r in requests)
        drafter = self.make_drafter(batch_size) if drafting else None
        controller = Controller(
            policy,
            costs=costs,
            max_draft_tokens=max_draft_tokens,
            constraints=constraints,
            seed=seed,
            drafters=drafter.names if drafter else ("none",),
        )
        return DecodingEngine(
            self.verifier.runner(batch_size, longest),
            drafter,
            controller,
            StopRules(
                self.verifier.eos_token_ids if stop_tokens else (),
                stop_strings,
                self.verifier.tokenizer,
            ),
            rule=rule or GREEDY,
            batch_size=batch_size,
            record_signals=record_signals,
            measured_times=measured_times,
        )


def finished(
    engine: "DecodingEngine", requests: "list[Request]", on_finished: Callable[[], None]
) -> "dict[str, Any]":
    """Runs requests to their end; completions by id.

    Raises:
      AdaptiveSpecError: as soon as a request fails, its error.
    """
    from adaptive_spec.decoding.requests import Failed, Finished

    done = {}
    for event in engine.run(requests):
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Finished):
            done[event.completion.id] = event.completion
            on_finished()
    say_if_memory_ran_out(engine)
    return done


def say_if_memory_ran_out(engine: "DecodingEngine") -> None:
    """Notes that a run went on with fewer sequences than asked for, if it did."""
    if engine.batch_limit < engine.batch_size:
        note(f"memory ran out: went on with {engine.batch_limit} sequences at a time")


def _graph_shapes(device: "torch.device") -> "StaticShapes":
    """The shapes in which passes are captured.

    Raises:
      ConfigError: a device without CUDA graphs.
    """
    from adaptive_spec.decoding.forward import StaticShapes

    if device.type != "cuda":
        raise ConfigError(
            f"--cuda-graphs: device {str(device)!r} has none; give a CUDA device, or leave it out"
        )
    return StaticShapes()


def _layer_weights(model: Any) -> int:
    from adaptive_spec.decoding.forward import num_weights

    embedding = model.get_input_embeddings().weight.numel()
    return int(max(num_weights(model.base_model) - embedding, 1))
