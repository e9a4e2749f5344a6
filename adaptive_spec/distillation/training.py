"""Training a draft on the verifier's soft targets, resumable at every checkpoint.

The loss is the cross-entropy between the verifier's next-token distribution over the draft's part
of the vocabulary and the draft's own (knowledge distillation on the teacher's outputs: Kim and
Rush 2016; for speculative decoding DistillSpec, Zhou et al. 2024, forward KL). At a target
temperature below 1 the verifier's distribution is sharpened first: a small draft then spends its
capacity on the first choice, which is all that greedy decoding asks of it. Which texts a step sees
follows from the seed and the step's number alone, so that a resumed run takes the same steps.
"""

import dataclasses
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from adaptive_spec._arrays import IntArray
from adaptive_spec._files import atomic_write
from adaptive_spec.decoding.trimmed_draft import TrimmedDraft, own_weights
from adaptive_spec.distillation.texts import Text
from adaptive_spec.errors import DistillError

States: TypeAlias = npt.NDArray[np.uint16]

_WARMUP = 0.03
_BUCKET = 32  # batches whose texts are sorted by length together
_MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Training:
    """How a draft is trained.

    Attributes:
      epochs: times that every text is seen, >= 1.
      batch_size: texts of a step, >= 1.
      learning_rate: at its peak, > 0; it falls to zero along a cosine.
      weight_decay: of AdamW, >= 0.
      target_temperature: at which the verifier's distribution is learned, > 0; 1 leaves it as is.
      prompt_share: share of a prompt's tokens that a step learns from, 0 to 1, drawn anew at
        every step; of an answer it learns from all.
      max_tokens: texts are cut to so many tokens, >= 2.
      checkpoint_steps: steps from one checkpoint to the next, >= 1.
      seed: of the order of the texts.
    """

    epochs: int = 8
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    target_temperature: float = 1.0
    prompt_share: float = 0.25
    max_tokens: int = 1024
    checkpoint_steps: int = 100
    seed: int = 0

    def num_steps(self, num_texts: int) -> int:
        """Steps of the whole training."""
        return self.epochs * -(-num_texts // self.batch_size)

    def rate(self, step: int, num_steps: int) -> float:
        """Learning rate of a step, as a share of the peak."""
        warmup = max(_WARMUP * num_steps, 1.0)
        return min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / num_steps))


def train(
    draft: TrimmedDraft,
    texts: Sequence[Text],
    states: Sequence[States],
    settings: Training,
    checkpoint: Path,
    on_step: Callable[[int, float], None] | None = None,
) -> None:
    """Trains the draft's own weights in place, going on from the checkpoint if there is one.

    Args:
      draft: in float32; computes in bfloat16 where that is enough.
      texts: what to learn from.
      states: for each text ``[T, hidden]``, the verifier's final states as bits of bfloat16.
      settings: how.
      checkpoint: file that is replaced as training goes on.
      on_step: called with the steps taken and the last loss, in nats per token.

    Raises:
      DistillError: a checkpoint of another training, or a loss that is not a number.
    """
    own = own_weights(draft)
    for parameter in draft.model.parameters():
        parameter.requires_grad_(False)
    for parameter in own.values():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        own.values(), betas=(0.9, 0.95), weight_decay=settings.weight_decay, fused=True
    )
    num_steps = settings.num_steps(len(texts))
    origin = _origin(own, draft.token_ids, settings, len(texts))
    start = _resume(checkpoint, own, optimizer, origin)
    draft.model.train()
    lengths = np.array([min(text.token_ids.size, settings.max_tokens) for text in texts])
    for step in range(start, num_steps):
        rows = _rows_of_step(lengths, settings, step)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * settings.rate(step, num_steps)
        generator = np.random.default_rng((settings.seed, step))
        loss = _loss(
            draft, [texts[i] for i in rows], [states[i] for i in rows], settings, generator
        )
        if not math.isfinite(loss.item()):
            raise DistillError(
                f"distill: the loss is {loss.item()} at step {step}; lower the learning rate"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(own.values(), _MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % settings.checkpoint_steps == 0 or step + 1 == num_steps:
            _save(checkpoint, own, optimizer, step + 1, origin)
        if on_step is not None:
            on_step(step + 1, loss.item())
    draft.model.eval()


def _loss(
    draft: TrimmedDraft,
    texts: Sequence[Text],
    states: Sequence[States],
    settings: Training,
    generator: np.random.Generator,
) -> torch.Tensor:
    """Mean of the cross-entropies at an answer's tokens and at a share of its prompt's."""
    device = draft.token_ids.device
    sizes = [min(text.token_ids.size, settings.max_tokens) for text in texts]
    ids = np.zeros((len(texts), max(sizes)), np.int64)
    learned = np.zeros(ids.shape, np.bool_)
    targets = np.zeros((*ids.shape, states[0].shape[1]), np.uint16)
    for i, (text, size) in enumerate(zip(texts, sizes, strict=True)):
        ids[i, :size] = text.token_ids[:size]
        targets[i, : size - 1] = states[i][: size - 1]
        learned[i, : size - 1] = generator.random(size - 1) < settings.prompt_share
        learned[i, text.answer_start - 1 : size - 1] = True
    seen = torch.from_numpy(np.flatnonzero(learned)).to(device)
    teacher = torch.from_numpy(targets[learned]).to(device).view(torch.bfloat16)
    head = draft.model.get_output_embeddings()
    with torch.autocast(device.type, torch.bfloat16):
        # Padding on the right: causal attention keeps it out of everything before it.
        hidden = draft.model.base_model(
            input_ids=torch.from_numpy(ids).to(device), use_cache=False
        ).last_hidden_state
        logits = head(hidden.flatten(0, 1)[seen])
        with torch.no_grad():
            wanted = (head(teacher).float() / settings.target_temperature).softmax(-1)
    return functional.cross_entropy(logits.float(), wanted)


def _rows_of_step(lengths: IntArray, settings: Training, step: int) -> list[int]:
    """Texts of a step: an epoch is a shuffle, in which texts of like length share batches."""
    per_epoch = -(-lengths.size // settings.batch_size)
    epoch, index = divmod(step, per_epoch)
    generator = np.random.default_rng((settings.seed, epoch))
    order = generator.permutation(lengths.size)
    bucket = _BUCKET * settings.batch_size
    order = np.concatenate(
        [
            part[np.argsort(lengths[part], kind="stable")]
            for part in np.split(order, range(bucket, lengths.size, bucket))
        ]
    )
    batches = [
        order[start : start + settings.batch_size]
        for start in range(0, lengths.size, settings.batch_size)
    ]
    rows: list[int] = batches[generator.permutation(per_epoch)[index]].tolist()
    return rows


def _origin(
    own: dict[str, Any], token_ids: torch.Tensor, settings: Training, num_texts: int
) -> dict[str, Any]:
    """What a training is known by, so that no other one's checkpoint is gone on with."""
    weights = 0
    for value in (*own.values(), token_ids):
        weights = zlib.crc32(value.detach().cpu().numpy().tobytes(), weights)
    return {
        "head_tokens": token_ids.numel(),
        "texts": num_texts,
        **dataclasses.asdict(settings),
        "starting weights": weights,
    }


def _save(
    path: Path, own: dict[str, Any], optimizer: Any, step: int, origin: dict[str, Any]
) -> None:
    with atomic_write(path) as temporary:
        torch.save(
            {
                "step": step,
                "origin": origin,
                "weights": {name: value.detach() for name, value in own.items()},
                "optimizer": optimizer.state_dict(),
            },
            temporary,
        )


def _resume(path: Path, own: dict[str, Any], optimizer: Any, origin: dict[str, Any]) -> int:
    """Loads a checkpoint if there is one; returns the steps already taken."""
    if not path.is_file():
        return 0
    saved = torch.load(path, weights_only=True)
    for name, value in origin.items():
        if saved["origin"].get(name) != value:
            raise DistillError(
                f"{path}: a checkpoint of a training with {name} = {saved['origin'].get(name)}, "
                f"this one has {value}; use the same settings to go on, or delete it to train anew"
            )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(saved["weights"][name])
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["step"])
