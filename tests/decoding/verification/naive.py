"""Small distributions that depend on the text, and whole blocks emitted from them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats

from adaptive_spec._arrays import IntArray
from adaptive_spec.decoding.draft import Draft
from adaptive_spec.decoding.sampling import Distribution, DraftDistributions
from adaptive_spec.decoding.verification import Block, Chooser, DraftChoices, VerificationRule

DEPTH = 2


@dataclass(frozen=True)
class Tables:
    """Logits of the next token after 0, 1 and 2 tokens: ``[V]``, ``[V, V]``, ``[V, V, V]``."""

    logits: tuple[torch.Tensor, ...]

    @staticmethod
    def random(vocab_size: int, seed: int, scale: float = 1.5) -> "Tables":
        generator = torch.Generator().manual_seed(seed)
        sizes = [(vocab_size,) * (n + 1) for n in range(DEPTH + 1)]
        return Tables(tuple(torch.randn(size, generator=generator) * scale for size in sizes))

    def after(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits after these tokens, ``[n, k]`` to ``[n, V]``."""
        table = self.logits[tokens.shape[1]]
        return table[tuple(tokens.T)] if tokens.shape[1] else table.expand(len(tokens), -1)


def joint(tables: Tables) -> torch.Tensor:
    """Probability of every block of ``DEPTH + 1`` tokens drawn from the tables."""
    first, second, third = (table.double().softmax(-1) for table in tables.logits)
    return first[:, None, None] * second[:, :, None] * third


def sampled_blocks(
    rule: VerificationRule,
    p: Tables,
    q: Tables,
    count: int,
    *,
    certain: bool = False,
    token_ids: torch.Tensor | None = None,
) -> tuple[IntArray, IntArray]:
    """Blocks ``[count, DEPTH + 1]`` emitted by one cycle each, and the tokens each accepted.

    What a cycle doesn't emit is drawn from p. Drafts come from q by the rule, or are fixed.
    ``token_ids`` are the tokens of q's logits, where it knows only some.
    """
    vocab_size = p.logits[0].shape[0]
    texts = [[0]] * count
    seeds = np.arange(count).astype(np.uint64)
    choices = DraftChoices(Chooser(rule, seeds, vocab_size), texts, np.arange(count))
    drafted = torch.zeros((count, 0), dtype=torch.int64)
    for _ in range(DEPTH):
        logits = q.after(drafted)
        if token_ids is not None:
            logits = logits[:, token_ids]
        token = choices.choose(logits, token_ids)
        if certain:
            token = (drafted.sum(1) + 1) % vocab_size
        drafted = torch.cat([drafted, token[:, None]], dim=1)
    drawn_from = () if certain else choices.drawn_from()
    logits = torch.stack([p.after(drafted[:, :k]) for k in range(DEPTH + 1)], dim=1)
    verdict = rule.verify(
        logits, Block(texts, Draft(drafted.tolist(), drawn_from=drawn_from), seeds)
    )
    generator = torch.Generator().manual_seed(1)
    blocks = []
    for tokens in verdict.token_ids:
        block = torch.tensor([tokens])
        while block.shape[1] <= DEPTH:
            more = torch.multinomial(p.after(block).softmax(-1), 1, generator=generator)
            block = torch.cat([block, more], dim=1)
        blocks.append(block[0])
    return torch.stack(blocks).numpy(), verdict.num_accepted_tokens


def p_value(blocks: IntArray, tables: Tables) -> float:
    """Of the chi-square test that blocks are drawn from the tables; rare ones are pooled."""
    expected = joint(tables).numpy().ravel() * len(blocks)
    vocab_size = tables.logits[0].shape[0]
    index = np.ravel_multi_index(tuple(blocks.T), (vocab_size,) * blocks.shape[1])
    observed = np.bincount(index, minlength=expected.size).astype(float)
    rare = expected < 5
    if rare.any():
        expected = np.append(expected[~rare], expected[rare].sum())
        observed = np.append(observed[~rare], observed[rare].sum())
    keep = expected > 1e-9
    assert observed[~keep].sum() == 0, "blocks that cannot occur"
    result: Any = stats.chisquare(observed[keep], expected[keep] * (len(blocks) / expected.sum()))
    return float(result.pvalue)


def one_step(distribution: Distribution, batch_size: int) -> tuple[DraftDistributions, ...]:
    """Draft distributions of one depth, for all rows."""
    return (DraftDistributions.of_steps([(np.arange(batch_size), distribution)]),)
