"""Whether a draft model means the same by its tokens as the verifier."""

from typing import Any

from adaptive_spec.decoding.models import Verifier
from adaptive_spec.errors import VocabularyMismatchError


def require_shared_vocabulary(name: str, model: Any, tokenizer: Any, verifier: Verifier) -> int:
    """The number of tokens both models know; logits may be padded beyond it.

    Raises:
      VocabularyMismatchError: the same number stands for another token.
    """
    ours, theirs = verifier.model.config.vocab_size, model.config.vocab_size
    fix = "choose a drafter with the verifier's tokenizer, or --drafter lookup"
    if tokenizer is not None:
        here, there = verifier.tokenizer.get_vocab(), tokenizer.get_vocab()
        if here != there:
            same = sum(1 for token, index in there.items() if here.get(token) == index)
            raise VocabularyMismatchError(
                f"drafter {name} and verifier {verifier.name} have different vocabularies "
                f"({len(there)} and {len(here)} tokens, {same} in common); {fix}"
            )
    elif ours != theirs:
        raise VocabularyMismatchError(
            f"drafter {name} has {theirs} tokens and verifier {verifier.name} has {ours}; {fix}"
        )
    return int(min(ours, theirs))


def require_shared_special_tokens(
    name: str, model: Any, tokenizer: Any, verifier: Verifier
) -> None:
    """Refuses a drafter that begins or ends texts with other tokens; none of ours is ever padding.

    Such a drafter was made for another kind of text: a base model beside one with a chat template.

    Raises:
      VocabularyMismatchError: it does.
    """
    for role in ("bos", "eos"):
        ours = _special_ids(role, verifier.model, verifier.tokenizer)
        theirs = _special_ids(role, model, tokenizer)
        if ours and theirs and not ours & theirs:
            raise VocabularyMismatchError(
                f"drafter {name} has {role} token {_listed(theirs)}, verifier {verifier.name} has "
                f"{_listed(ours)}; choose a drafter trained with the verifier's special tokens, or "
                f"give it the verifier's {role}_token_id"
            )


def _special_ids(role: str, model: Any, tokenizer: Any) -> set[int]:
    """All ids that model and tokenizer name for a role."""
    sources = (tokenizer, model.config, model.generation_config)
    ids: set[int] = set()
    for found in (getattr(source, f"{role}_token_id", None) for source in sources):
        ids.update(found if isinstance(found, list | tuple) else () if found is None else (found,))
    return ids


def _listed(ids: set[int]) -> str:
    return " or ".join(map(str, sorted(ids)))
