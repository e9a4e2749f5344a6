"""Where two outputs of one prompt part, and whether rounding explains it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adaptive_spec.decoding import transfer
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.decoding.sampling import Contexts, over_vocabulary
from adaptive_spec.decoding.verification.base import VerificationRule
from adaptive_spec.decoding.verification.coupled import CoupledNoise
from adaptive_spec.decoding.verification.greedy import GREEDY

# Margins between logits that rounding can turn over; logits are of the order of ten.
_TIE_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.5}


@dataclass(frozen=True)
class Divergence:
    """The first place where two outputs of one prompt part.

    What a rule takes the largest of is called scores: logits under greedy match; under coupled
    noise log-probabilities plus noise, times the temperature, so that they compare with logits.

    Attributes:
      position: output position, from 0.
      plain_id, other_id: the tokens there; None where that output had ended.
      margin: how far the lower of the two tokens' scores lies below the largest, in a pass without
        cache over the common text; infinite where one output had ended.
      tolerance: largest margin that rounding explains.
      top2_margin: between the two largest scores, in that pass; NaN where one output had ended.
      block_top2_margin: the same in a pass through the KV cache over the block in which the other
        output's token was verified; NaN where the block is not known.
    """

    position: int
    plain_id: int | None
    other_id: int | None
    margin: float
    tolerance: float
    top2_margin: float = float("nan")
    block_top2_margin: float = float("nan")

    @property
    def is_tie(self) -> bool:
        """Whether both tokens are the rule's choice up to rounding: neither output is wrong."""
        return self.margin <= self.tolerance


@torch.inference_mode()
def explain_divergence(
    model: Any,
    prompt_ids: Sequence[int],
    plain_ids: Sequence[int],
    other_ids: Sequence[int],
    tolerance: float | None = None,
    *,
    rule: VerificationRule = GREEDY,
    seed: int = 0,
    block: tuple[int, int] | None = None,
) -> Divergence | None:
    """Tells a tie within rounding from a real difference; None where the outputs are equal.

    Args:
      model: the verifier, a transformers causal language model.
      prompt_ids: the prompt's tokens.
      plain_ids: output of plain decoding.
      other_ids: the output in question.
      tolerance: margin taken for a tie; None for the model's dtype: float32 1e-3, float16 0.1,
        bfloat16 0.5.
      rule: by which both were decoded; one whose outputs do not depend on tau.
      seed: of the sequence's noise.
      block: output position at which the other's cycle with the differing token began, and its
        drafted tokens.
    """
    plain, other = list(plain_ids), list(other_ids)
    if plain == other:
        return None
    if tolerance is None:
        tolerance = _TIE_TOLERANCE.get(model.dtype, 1e-3)
    common = min(len(plain), len(other))
    position = next((i for i in range(common) if plain[i] != other[i]), common)
    if position == common:
        return Divergence(
            position,
            plain[position] if position < len(plain) else None,
            other[position] if position < len(other) else None,
            float("inf"),
            tolerance,
        )
    text = [*prompt_ids, *plain[:position]]
    device = model.get_input_embeddings().weight.device
    logits = model(input_ids=transfer.to_device([text], device), use_cache=False).logits[0, -1:]
    scores = _scores(rule, logits, text, seed)
    pair = scores[[plain[position], other[position]]]
    return Divergence(
        position,
        plain[position],
        other[position],
        float(scores.max() - pair.min()),
        tolerance,
        _top2_margin(scores),
        float("nan")
        if block is None
        else _top2_margin(
            _scores(rule, _block_logits(model, prompt_ids, other, position, block), text, seed)
        ),
    )


def _scores(
    rule: VerificationRule, logits: torch.Tensor, text: list[int], seed: int
) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """What the rule takes the largest of after this text: ``[1, V]`` to ``[V]``, on the host."""
    contexts = Contexts(
        [text],
        np.array([seed], np.uint64),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        None,
        logits.shape[-1],
        logits.device,
    )
    logits = logits.float()
    if isinstance(rule, CoupledNoise):
        distribution = rule.sampling.distribution(logits, contexts)
        noisy = distribution.perturbed(contexts.keys(rule.purpose))
        noisy = noisy * (rule.sampling.temperature or 1)
        scores = over_vocabulary(noisy, distribution.token_ids, logits.shape[-1], -float("inf"))
    else:
        scores = rule.sampling.processed(logits, contexts)
    host: np.ndarray[Any, np.dtype[np.float32]] = transfer.to_host(scores[0])
    return host


def _block_logits(
    model: Any,
    prompt_ids: Sequence[int],
    output: list[int],
    position: int,
    block: tuple[int, int],
) -> torch.Tensor:
    """Logits ``[1, V]`` behind ``output[:position]``, in a pass over a block as wide as it was.

    What stood in the block behind that position does not matter to them, but for its number.
    """
    start, num_drafted = block
    text = [*prompt_ids, *output[:position]]
    begin = len(prompt_ids) + start - 1
    tail = text[begin:]
    runner = ModelRunner(model)
    runner.prefill(0, text[:begin])
    room = max(runner.context_limit - len(text), 0)
    padding = [text[-1]] * min(num_drafted + 1 - len(tail), room)
    return runner.append([0], [[*tail, *padding]])[0, len(tail) - 1 : len(tail)]


def _top2_margin(scores: "np.ndarray[Any, np.dtype[np.float32]]") -> float:
    second, first = np.partition(scores, -2)[-2:]
    return float(first - second)
