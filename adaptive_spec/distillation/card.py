"""The model card that goes with a distilled draft: data, recipe, and how well it does."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adaptive_spec.distillation.evaluation import Agreement

if TYPE_CHECKING:
    from adaptive_spec.distillation.distill import Distillation


def model_card(
    verifier: str,
    layers: Sequence[int],
    settings: "Distillation",
    *,
    num_parameters: int,
    num_texts: int,
    answer_tokens: int,
    coverage: float,
    num_prompts_given: int,
    result: Agreement,
) -> str:
    """The card as Markdown."""
    source = (
        f"{num_prompts_given} prompts given by the user"
        if num_prompts_given
        else "prompts that the verifier made up itself (Magpie, Xu et al. 2024)"
    )
    training = settings.training
    depths = " ".join(f"{value:.3f}" for value in result.by_depth)
    rows = "\n".join(
        f"| up to {upper:g} | {count} | {share:.2f} |" for upper, count, share in result.calibration
    )
    return f"""# Draft model for {verifier}

Proposes tokens for speculative decoding with {verifier}, whose embedding and head it shares: it is
of no use with another model. Made by `adaptive-spec distill`.

- **Weights**: {len(layers)} layers and a final norm, {num_parameters / 1e6:.1f} M parameters,
  bfloat16; begun as the verifier's layers {", ".join(map(str, layers))}. Its head is the
  verifier's, cut to {settings.head_tokens} tokens (FR-Spec), which cover {coverage:.1%} of the
  answers kept aside.
- **Data**: {num_texts} texts with {answer_tokens} answer tokens, written by the verifier itself in
  answer to {source}.
  No other text was used. {settings.writing.sampled_share:.0%} of the answers are sampled at
  temperature {settings.writing.temperature:g}, the others greedy.
- **Recipe**: cross-entropy with the verifier's next-token distribution over the draft's tokens, a
  prompt's tokens weighted {training.prompt_weight:g}; AdamW, learning rate
  {training.learning_rate:g} with cosine decay, {training.epochs} epochs in batches of
  {training.batch_size} texts, seed {training.seed}.

On answers to prompts kept aside ({result.num_tokens} tokens, greedy) its first choice is the
verifier's token in **{result.top1:.3f}** of all positions; after 0, 1, 2 and 3 right choices in a
row: {depths}.

| top-1 probability | tokens | share right |
| --- | ---: | ---: |
{rows}
"""
