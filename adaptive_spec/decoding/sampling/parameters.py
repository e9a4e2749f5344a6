"""Sampling parameters, applied to logits as ``generate`` of transformers applies them.

The work is done by transformers' own logits processors, in its order: repetition penalty, custom
processors, then temperature, top-k, top-p and min-p. Both models' logits go through here.
"""

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from adaptive_spec._specs import spec_value
from adaptive_spec.decoding.sampling.contexts import Contexts
from adaptive_spec.decoding.sampling.distributions import Distribution, over_vocabulary
from adaptive_spec.errors import ConfigError

_NEG_INF = -float("inf")
_COLDEST = 1e-30  # float32 divides by no less


@dataclass(frozen=True)
class SamplingParameters:
    """How a distribution over the next token is made of logits. The defaults change nothing.

    Attributes:
      temperature: >= 0; logits are divided by it. 0 leaves the argmax alone.
      top_k: keep the so many likeliest tokens, and those as likely as the last; 0 keeps all.
      top_p: keep the likeliest tokens that together have this probability, in (0, 1].
      min_p: keep tokens at least this share of the likeliest one's probability, in [0, 1].
      repetition_penalty: > 0; makes tokens of the text less likely, where greater than 1.
      processors: transformers ``LogitsProcessor`` objects, called with the text ``[1, L]`` and
        logits ``[1, V]`` of one place at a time; they must not keep state from call to call.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    processors: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        for name, allowed, holds in (
            ("temperature", "0 or more", 0 <= self.temperature < math.inf),
            ("top_k", "0 (all tokens) or more", self.top_k >= 0),
            ("top_p", "greater than 0, at most 1", 0 < self.top_p <= 1),
            ("min_p", "0 to 1", 0 <= self.min_p <= 1),
            ("repetition_penalty", "greater than 0", 0 < self.repetition_penalty < math.inf),
        ):
            if not holds:
                raise ConfigError(f"{name} = {getattr(self, name)}; it must be {allowed}")

    @property
    def reads_text(self) -> bool:
        """Whether distributions depend on the text otherwise than through the logits."""
        return self.repetition_penalty != 1 or bool(self.processors)

    @property
    def fields(self) -> str:
        """What differs from the defaults, as ``name=value,...``."""
        parts = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "processors":
                value = tuple(type(processor).__name__ for processor in value)
            if value != field.default:
                parts.append(f"{field.name}={spec_value(value)}")
        return ",".join(parts)

    def processed(self, logits: torch.Tensor, contexts: Contexts) -> torch.Tensor:
        """Logits ``[n, V]`` after penalty and custom processors, which may read the text."""
        if self.repetition_penalty != 1:
            penalise = transformers.RepetitionPenaltyLogitsProcessor(float(self.repetition_penalty))
            logits = penalise(contexts.padded_ids(), logits)
        for processor in self.processors:
            logits = torch.cat(
                [
                    processor(contexts.exact_ids(place), logits[place : place + 1].clone())
                    for place in range(logits.shape[0])
                ]
            )
        return logits

    def distribution(
        self, logits: torch.Tensor, contexts: Contexts, token_ids: torch.Tensor | None = None
    ) -> Distribution:
        """Distributions over the next token.

        Args:
          logits: ``[n, C]``, one row for each place.
          contexts: the ``n`` places.
          token_ids: ``[C]`` tokens of the logits; None where logit i is token i.
        """
        logits = logits.float()  # as generate does
        if self.reads_text:
            logits = over_vocabulary(logits, token_ids, contexts.vocab_size, _NEG_INF)
            logits, token_ids = self.processed(logits, contexts), None
        if self.temperature < _COLDEST:
            return _narrowed(logits, token_ids, 1)._replace(scores=_certain(logits))
        if self.top_k:
            # The rest is done on the candidates that top-k can keep; ties may make them a few more.
            most = 2 * self.top_k + 64
            if most < logits.shape[-1]:
                logits, token_ids = _narrowed(logits, token_ids, most)
        # Moving the largest to 0 changes no probability, and no temperature is too small for it.
        logits = logits - logits.amax(-1, keepdim=True)
        for warper in self._warpers:
            logits = warper(None, logits)  # none of these looks at the text
        return Distribution(logits, token_ids)

    @functools.cached_property
    def _warpers(self) -> list[Any]:
        made: list[Any] = []
        if self.temperature != 1:
            made.append(transformers.TemperatureLogitsWarper(float(self.temperature)))
        if self.top_k:
            made.append(transformers.TopKLogitsWarper(self.top_k))
        if self.top_p < 1:
            made.append(transformers.TopPLogitsWarper(float(self.top_p)))
        if self.min_p > 0:
            made.append(transformers.MinPLogitsWarper(float(self.min_p)))
        return made


def _narrowed(logits: torch.Tensor, token_ids: torch.Tensor | None, count: int) -> Distribution:
    """The largest logits ``[n, count]`` and their tokens."""
    top = logits.topk(count, dim=-1)
    ids = top.indices if token_ids is None else token_ids[top.indices]
    return Distribution(top.values, ids)


def _certain(logits: torch.Tensor) -> torch.Tensor:
    """The one score of an argmax ``[n, 1]``: 0, or not a number where the largest logit is none."""
    largest = logits.amax(-1, keepdim=True)
    return largest - largest
