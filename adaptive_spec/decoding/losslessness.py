"""Checks that speculative decoding writes what the verifier alone would have written.

Rules whose outputs do not depend on tau are compared with plain decoding, token for token; where
they part, rounding is told from a real difference. Other rules are held to the verifier's
distribution by a test with a stated rate of false alarms.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats

from adaptive_spec._arrays import FloatArray
from adaptive_spec.decoding import transfer
from adaptive_spec.decoding.requests import Completion, Request
from adaptive_spec.decoding.sampling import Contexts, over_vocabulary
from adaptive_spec.decoding.verification import Divergence, VerificationRule, explain_divergence
from adaptive_spec.errors import ConfigError
from adaptive_spec.randomness import key_uniform, keyed

BINS = 20
"""Classes of the chi-square test."""

_PLACES_AT_ONCE = 64
_RANDOMISER = 0x5EED  # part of the key that no noise of a rule has


@dataclass(frozen=True)
class Divergent:
    """A request whose outputs part; ``id`` of the request, ``rule``: spec of the rule in use."""

    id: str
    rule: str
    divergence: Divergence


def divergences(
    model: Any,
    rule: VerificationRule,
    requests: Iterable[Request],
    plain: dict[str, Completion],
    speculative: dict[str, Completion],
    tolerance: float | None = None,
) -> list[Divergent]:
    """Where outputs are not those of plain decoding, one entry for each request that differs.

    Args:
      model: the verifier.
      rule: by which all was decoded.
      requests: what was asked.
      plain: completions of plain decoding, by id.
      speculative: those in question, by id.
      tolerance: as in ``explain_divergence``.

    Raises:
      ConfigError: a rule whose outputs depend on tau, so that a difference says nothing.
    """
    if not rule.tau_invariant:
        raise ConfigError(
            f"the rule {rule.name!r} writes another text for another tau; check its distribution"
        )
    found = []
    for request in requests:
        ours = speculative[request.id]
        other = ours.token_ids
        same = zip(plain[request.id].token_ids, other, strict=False)
        position = next((i for i, (a, b) in enumerate(same) if a != b), 0)
        blocks = (
            (cycle.position, cycle.num_draft_tokens)
            for cycle in ours.cycles
            if cycle.position <= position < cycle.position + cycle.num_emitted_tokens
        )
        divergence = explain_divergence(
            model,
            request.prompt_ids,
            plain[request.id].token_ids,
            other,
            tolerance,
            rule=rule,
            seed=request.noise_seed(rule.seed),
            block=next(blocks, None),
        )
        if divergence is not None:
            found.append(Divergent(request.id, rule.spec, divergence))
    return found


@dataclass(frozen=True)
class DistributionTest:
    """Whether sampled tokens are distributed as the verifier's.

    Attributes:
      tokens: tokens looked at; ``counts``: ``[BINS]`` how many fell in each class.
      p_value: of the chi-square test; a correct rule goes below any level a with probability a.
    """

    tokens: int
    counts: tuple[int, ...]
    p_value: float


def distribution_test(ranks: FloatArray) -> DistributionTest:
    """Chi-square test that numbers in [0, 1] are uniform.

    Raises:
      ConfigError: too few for the test to mean anything.
    """
    if ranks.size < 5 * BINS:
        raise ConfigError(
            f"{ranks.size} sampled tokens are too few for a test of their distribution; "
            f"at least {5 * BINS} are needed: more prompts, tokens or draws"
        )
    counts = np.bincount(np.minimum((ranks * BINS).astype(np.int64), BINS - 1), minlength=BINS)
    return DistributionTest(
        ranks.size, tuple(counts.tolist()), float(stats.chisquare(counts).pvalue)
    )


@torch.inference_mode()
def token_ranks(
    model: Any,
    rule: VerificationRule,
    request: Request,
    output_ids: Sequence[int],
) -> FloatArray:
    """Where each sampled token stands in the verifier's distribution, as a number in [0, 1].

    That is P(a likelier token) + v * P(the token), with v uniform. Whatever the distributions are,
    these numbers are independent and uniform if every token was drawn from its own (Rosenblatt
    1952, randomised for discrete distributions). A token that cannot be drawn counts as 1.

    Args:
      model: the verifier; looked at in one pass without cache.
      rule: gives the sampling parameters.
      request: the prompt.
      output_ids: what was written, without stop tokens having ended it early.
    """
    prompt, output = list(request.prompt_ids), list(output_ids)
    device = model.get_input_embeddings().weight.device
    ids = transfer.to_device([[*prompt, *output[:-1]]], device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :]
    wanted = transfer.to_device(output, device)
    drafted = wanted[None, :]
    parts = []
    for first in range(0, len(output), _PLACES_AT_ONCE):
        counts = np.arange(first, min(first + _PLACES_AT_ONCE, len(output)))
        contexts = Contexts(
            [prompt],
            np.zeros(1, np.uint64),
            np.zeros(counts.size, np.int64),
            counts,
            drafted,
            logits.shape[-1],
            device,
        )
        some = slice(first, first + counts.size)
        distribution = rule.sampling.distribution(logits[some], contexts)
        p = over_vocabulary(
            distribution.probabilities(), distribution.token_ids, logits.shape[-1], 0.0
        ).double()
        own = p.gather(-1, wanted[some, None])
        above = torch.where(p > own, p, 0.0).sum(-1)
        # Of equally likely tokens, the one of lower number comes first.
        column = torch.arange(p.shape[-1], device=device)
        equal = torch.where((p == own) & (column < wanted[some, None]), p, 0.0).sum(-1)
        parts.append(torch.stack([above + equal, own[:, 0]]))
    above, own = transfer.to_host(torch.cat(parts, dim=1))
    seed = np.array([request.noise_seed(rule.seed)], np.uint64)
    v = key_uniform(keyed(seed, np.arange(len(output)), _RANDOMISER))
    ranks: FloatArray = np.where(own > 0, np.clip(above + v * own, 0.0, 1.0), 1.0)
    return ranks


def repeated(requests: Sequence[Request], draws: int, rule: VerificationRule) -> list[Request]:
    """Each request so many times, every time with noise of its own."""
    return [
        Request(
            f"{request.id}#{draw}",
            request.prompt_ids,
            request.max_new_tokens,
            request.category,
            int(keyed(np.array([request.noise_seed(rule.seed)], np.uint64), draw)[0]),
        )
        for request in requests
        for draw in range(draws)
    ]
