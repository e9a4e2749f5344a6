"""Ways to decode a prompt, side by side: this package's and transformers' own."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from adaptive_spec import ConstantCosts, Controller, make_policy
from adaptive_spec.controller import UNNAMED
from adaptive_spec.decoding import (
    ComposedDrafter,
    DecodingEngine,
    Drafter,
    ModelRunner,
    Request,
    StopRules,
)
from adaptive_spec.decoding.builtin import draft_dir
from adaptive_spec.decoding.drafters import early_exit_model
from adaptive_spec.decoding.drafters.loading import load_drafter
from adaptive_spec.decoding.drafters.specs import EarlyExitSpec, parse_drafter
from adaptive_spec.decoding.models import BUILTIN, builtin_model_dir, load_verifier
from adaptive_spec.decoding.pretrained import load_model
from adaptive_spec.decoding.trimmed_draft import TrimmedDraft, is_draft_folder, load_draft

Decode: TypeAlias = Callable[[list[int]], list[int]]
"""Output tokens for a prompt's."""

TAUS = (3, 5)
LOOKUP_TAU = 5

COSTS = ConstantCosts(drafts=(("lookup", 0.0),))
"""A draft model at the default price; a lookup costs next to nothing."""


class Contestants:
    """Models loaded once; ``encode`` turns a prompt into tokens.

    transformers runs a model of its own, loaded and left as everybody would; the weights are the
    same, those of an early-exit drafter too, which transformers gets as a model of fewer layers.

    Attributes:
      ways: by name; ``pairs``: names of ours and theirs to be compared, plain decoding first.
      model: our verifier's.
    """

    def __init__(
        self, verifier: str, drafter: str, policy: str, dtype: str, new_tokens: int
    ) -> None:
        """Loads the models.

        Args:
          verifier: "builtin", a folder, or an id on the hub.
          drafter: "builtin", "early-exit:layers=3" or the like, a folder, or an id on the hub.
          policy: of ours against transformers' heuristic schedule.
          dtype: float32, bfloat16 or float16.
          new_tokens: most tokens of an answer.
        """
        self._ours = load_verifier(verifier, dtype=dtype, device="cpu")
        self.encode, self.model = self._ours.encode, self._ours.model
        if drafter == BUILTIN:
            drafter = str(draft_dir("builtin"))
        self._make_drafter = load_drafter(drafter, self._ours)
        self._make_lookup = load_drafter("lookup", self._ours)
        path = str(builtin_model_dir()) if verifier == BUILTIN else verifier
        self._theirs = load_model(path, verifier, dtype, "cpu")
        parsed = parse_drafter(drafter)
        if is_draft_folder(drafter):
            self._assistant = _with_whole_vocabulary(load_draft(Path(drafter), self._theirs))
        elif isinstance(parsed, EarlyExitSpec):
            self._assistant = early_exit_model(self._theirs, parsed.layers)
        else:
            self._assistant = load_model(drafter, drafter, dtype, "cpu")
        self._new_tokens = new_tokens
        self.ways: dict[str, Decode] = {}
        self.pairs: list[tuple[str, str]] = []
        self._add("plain", self._engine(None, "fixed:tau=0"), "generate", self._generate())
        for tau in TAUS:
            ours = self._engine(self._make_drafter(1), f"fixed:tau={tau}")
            self._add(f"draft tau={tau}", ours, f"assisted tau={tau}", self._assisted(tau))
        ours = self._engine(self._make_drafter(1), policy)
        self._add(f"draft {policy}", ours, "assisted heuristic", self._assisted(None))
        ours = self._engine(self._make_lookup(1), f"fixed:tau={LOOKUP_TAU}")
        theirs = self._generate(prompt_lookup_num_tokens=LOOKUP_TAU)
        self._add(f"lookup tau={LOOKUP_TAU}", ours, f"prompt lookup tau={LOOKUP_TAU}", theirs)
        # transformers has no composition: this one stands against plain decoding.
        parts = [made for made in (self._make_lookup(1), self._make_drafter(1)) if made]
        composed = ComposedDrafter(parts)
        name = f"ours: lookup+draft {policy}"
        self.ways[name] = self._engine(composed, policy)
        self.pairs.append((name, self.pairs[0][1]))

    def _add(self, our_name: str, ours: Decode, their_name: str, theirs: Decode) -> None:
        our_name = f"ours: {our_name}"
        their_name = f"transformers: {their_name}"
        self.ways |= {our_name: ours, their_name: theirs}
        self.pairs.append((our_name, their_name))

    def _engine(self, drafter: Drafter | None, policy: str) -> Decode:
        names = drafter.names if drafter else UNNAMED
        engine = DecodingEngine(
            ModelRunner(self._ours.model),
            drafter,
            Controller(make_policy(policy), costs=COSTS, drafters=names),
            StopRules(self._ours.eos_token_ids),
        )

        def decode(prompt: list[int]) -> list[int]:
            return list(engine.complete([Request("", prompt, self._new_tokens)])[0].token_ids)

        return decode

    def _generate(self, **options: Any) -> Decode:
        eos = list(self._ours.eos_token_ids)

        def decode(prompt: list[int]) -> list[int]:
            ids = torch.tensor([prompt])
            output = self._theirs.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self._new_tokens,
                do_sample=False,
                eos_token_id=eos or None,
                pad_token_id=eos[0] if eos else 0,
                **options,
            )
            return output[0, len(prompt) :].tolist()  # type: ignore[no-any-return]

        return decode

    def _assisted(self, tau: int | None) -> Decode:
        """transformers' assisted generation; None for its heuristic schedule."""
        assistant = copy.copy(self._assistant)
        assistant.generation_config = copy.deepcopy(assistant.generation_config)
        settings = assistant.generation_config
        settings.assistant_confidence_threshold = 0
        settings.num_assistant_tokens_schedule = "constant" if tau else "heuristic"
        if tau:
            settings.num_assistant_tokens = tau
        return self._generate(assistant_model=assistant)


class _SpreadHead(nn.Module):
    """A trimmed head for code that expects logits of the whole vocabulary: -inf for the rest."""

    def __init__(self, head: nn.Module, token_ids: torch.Tensor, vocab_size: int) -> None:
        """Spreads ``head``'s logits over ``vocab_size``."""
        super().__init__()
        self.head, self._ids, self._size = head, token_ids, vocab_size

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """``[..., hidden] -> [..., vocab_size]``."""
        logits: torch.Tensor = self.head(states)
        whole = logits.new_full((*logits.shape[:-1], self._size), -torch.inf)
        return whole.index_copy_(-1, self._ids, logits)


def _with_whole_vocabulary(draft: TrimmedDraft) -> Any:
    """The draft as transformers can use it, with the same proposals at nearly the same price."""
    model = draft.model
    vocab_size = model.get_input_embeddings().weight.shape[0]
    model.lm_head = _SpreadHead(model.lm_head, draft.token_ids, vocab_size)
    model.config.vocab_size = vocab_size
    return model
