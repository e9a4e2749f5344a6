"""The model card that goes with a distilled draft: data, recipe, and how well it does."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adaptive_spec.distillation.evaluation import Agreement
from adaptive_spec.distillation.passages import Sources

if TYPE_CHECKING:
    from adaptive_spec.distillation.distill import Distillation


def model_card(
    verifier: str,
    layers: Sequence[int] | None,
    settings: "Distillation",
    *,
    num_layers: int,
    num_parameters: int,
    num_texts: int,
    answer_tokens: int,
    coverage: float,
    sources: Sources,
    temperature: float,
    result: Agreement,
) -> str:
    """The card as Markdown."""
    begun = (
        "a draft that was there before, trained on"
        if layers is None
        else f"begun as the verifier's layers {', '.join(map(str, layers))}"
    )
    training = settings.training
    depths = " ".join(f"{value:.3f}" for value in result.by_depth)
    rows = "\n".join(
        f"| up to {upper:g} | {count} | {share:.2f} |" for upper, count, share in result.calibration
    )
    return f"""# Draft model for {verifier}

Proposes tokens for speculative decoding with {verifier}, whose embedding and head it shares: it is
of no use with another model. Made by `adaptive-spec distill`.

- **Weights**: {num_layers} layers and a final norm, {num_parameters / 1e6:.1f} M parameters,
  bfloat16; {begun}. Its head is the
  verifier's, cut to {settings.head_tokens} tokens (FR-Spec), which cover {coverage:.1%} of the
  answers kept aside{_counted(sources)}.
- **Data**: {num_texts} texts with {answer_tokens} answer tokens, written by the verifier itself in
  answer to {_prompts(sources)}. {settings.writing.sampled_share:.0%} of the answers are sampled at
  temperature {settings.writing.temperature:g}, the others greedy.
- **Recipe**: cross-entropy with the verifier's next-token distribution over the draft's tokens at
  temperature {training.target_temperature:g}, at all tokens of an answer and
  {training.prompt_share:.0%} of its prompt's; AdamW, learning rate
  {training.learning_rate:g} with cosine decay, {training.epochs} epochs in batches of
  {training.batch_size} texts, seed {training.seed}. Then its logits were
  divided by {temperature:.2f}, the temperature at which its confidence is calibrated best on the
  prompts kept aside.

On answers to prompts kept aside ({result.num_tokens} tokens, greedy) its first choice is the
verifier's token in **{result.top1:.3f}** of all positions; after 0, 1, 2 and 3 right choices in a
row: {depths}.

| top-1 probability | tokens | share right |
| --- | ---: | ---: |
{rows}
"""


def _counted(sources: Sources) -> str:
    number = len(sources.head_texts)
    return f"; counted in the answers and in {number} texts more" if number else ""


def _prompts(sources: Sources) -> str:
    if sources.prompts:
        given = sum(bool(len(answer)) for answer in sources.answers)
        read = f", {given} of which came with an answer that it only read" if given else ""
        return f"{len(sources.prompts)} prompts given by the user{read}"
    made_up = "prompts that the verifier made up itself (Magpie, Xu et al. 2024)"
    if not sources.documents:
        return f"{made_up}; no other text was used"
    return f"{made_up} and to tasks on passages out of {len(sources.documents)} documents"
