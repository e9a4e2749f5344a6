"""The interface of a verification rule, and what verification shows."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from adaptive_spec._arrays import FloatArray, IntArray
from adaptive_spec.decoding import transfer
from adaptive_spec.decoding.draft import Draft
from adaptive_spec.decoding.sampling.contexts import Contexts
from adaptive_spec.decoding.sampling.distributions import Distribution
from adaptive_spec.decoding.sampling.parameters import SamplingParameters
from adaptive_spec.decoding.token_signals import token_signals
from adaptive_spec.errors import NumericsError
from adaptive_spec.hints import Certainty


class Choice(NamedTuple):
    """Tokens that a drafter's logits propose.

    Attributes:
      token_ids: ``[n]``, -1 where the logits are no numbers.
      drawn_from: what they were drawn from, where verification must know; None where the text and
        the noise decide alone.
    """

    token_ids: torch.Tensor
    drawn_from: Distribution | None = None


@dataclass(frozen=True)
class Verdict:
    """What a pass showed.

    Attributes:
      num_accepted_tokens: ``[B]`` drafted tokens that are accepted.
      token_ids: for each row, the accepted tokens and the verifier's next one.
      certainty: ``[B]`` how sure the verifier was of that one; None where not asked for, or not
        told.
      acceptance_probability: ``[B, depth]`` with which the drafted tokens were to be accepted, NaN
        where none was tested; None where not asked for, or where there is no such chance.
    """

    num_accepted_tokens: IntArray
    token_ids: list[list[int]]
    certainty: Certainty | None = None
    acceptance_probability: FloatArray | None = None


@dataclass(frozen=True)
class Block:
    """What a verifier pass went over, besides each row's last verified token.

    Attributes:
      texts: ``[B]`` verified text, prompt included.
      draft: what follows it; rows that no ``drawn_from`` names proposed without a draw.
      seeds: ``[B]`` of the sequences' noise.
      wants_certainty: whether the verdict is to tell how sure the verifier was.
      wants_acceptance: whether it is to tell how likely drafted tokens were to be accepted.
    """

    texts: Sequence[Sequence[int]]
    draft: Draft
    seeds: npt.NDArray[np.uint64]
    wants_certainty: bool = False
    wants_acceptance: bool = False

    def contexts(self, logits: torch.Tensor) -> Contexts:
        """The places of logits ``[B, width, V]``, row by row."""
        _, width, vocab_size = logits.shape
        drafted = self.draft.on_device(logits.device, width - 1)
        return Contexts.along_blocks(self.texts, self.seeds, drafted, vocab_size)

    def read(
        self, values: torch.Tensor, logits: torch.Tensor, accepted: torch.Tensor
    ) -> tuple[npt.NDArray[Any], Certainty]:
        """These int64 values on the host, the draft's tokens, and how sure the verifier was.

        All in one read. Its certainty is worked out at the one place of each row that counts.

        Args:
          values: of any shape.
          logits: ``[B, width, V]``.
          accepted: ``[B]`` on the device.
        """
        row = torch.arange(accepted.shape[0], device=accepted.device)
        seen = token_signals(logits[row, accepted])[:, 1:]
        packed = torch.cat([values.reshape(-1), transfer.as_integers(seen).reshape(-1)])
        flat = self.draft.read_with(packed)
        own, numbers = np.split(flat, [values.numel()])
        entropy, margin = transfer.from_integers(numbers).reshape(-1, 2).T
        return own.reshape(values.shape), Certainty(entropy, margin)


class VerificationRule(abc.ABC):
    """Decides which drafted tokens stand, and what follows them; and how a draft model proposes.

    Attributes:
      name: in specs; ``lossless``: outputs are distributed as the verifier's own.
      tau_invariant: outputs do not depend on what was drafted, token for token, so that one trace
        replays every policy.
      sampling: how distributions are made of logits; ``seed``: of sequences without their own.
    """

    name: ClassVar[str]
    lossless: ClassVar[bool] = True
    tau_invariant: ClassVar[bool] = False
    sampling: SamplingParameters
    seed: int

    @property
    def spec(self) -> str:
        """Name, parameters and seed, for labels and metadata."""
        seed = f"seed={self.seed}" if self.seed else ""
        parts = ",".join(filter(None, (self.sampling.fields, *self._own_fields(), seed)))
        return f"{self.name}:{parts}" if parts else self.name

    @property
    def label(self) -> str:
        """``spec``, said to be lossy where it is."""
        return self.spec if self.lossless else f"{self.spec} (lossy)"

    def _own_fields(self) -> tuple[str, ...]:
        return ()

    @abc.abstractmethod
    def choose(
        self, logits: torch.Tensor, contexts: Contexts, token_ids: torch.Tensor | None = None
    ) -> Choice:
        """What a draft model with these logits proposes.

        Args:
          logits: ``[n, C]``.
          contexts: the ``n`` places.
          token_ids: ``[C]`` tokens of the logits; None where logit i is token i.
        """

    @abc.abstractmethod
    def verify(self, logits: torch.Tensor, block: Block) -> Verdict:
        """Judges drafts; one read from the device, which brings the draft's tokens, too.

        Args:
          logits: ``[B, width, V]`` of the verifier; entry i follows the last verified token and i
            drafted ones; meaningless beyond a row's draft.
          block: what the pass went over.

        Raises:
          NumericsError: logits that are not numbers.
        """


def verdict(
    accepted: npt.NDArray[np.int64],
    final: npt.NDArray[np.int64],
    drafts: Sequence[Sequence[int]],
    certainty: Certainty | None = None,
) -> Verdict:
    """The verdict on rows that accept so many tokens ``[B]`` and go on with these ``[B]``.

    Raises:
      NumericsError: a token is negative, which marks logits that are no numbers.
    """
    if (final < 0).any():
        raise NumericsError(
            "the verifier's logits are not finite; a lower-precision dtype may have overflowed: "
            "load the model in float32 or bfloat16"
        )
    tokens = [
        [*draft[:n], token]
        for draft, n, token in zip(drafts, accepted.tolist(), final.tolist(), strict=True)
    ]
    return Verdict(accepted.astype(np.int64), tokens, certainty)


def match(own: torch.Tensor, logits: torch.Tensor, block: Block) -> Verdict:
    """Accepts drafted tokens while they equal the verifier's own; one read from the device.

    Args:
      own: ``[B, width]`` tokens on the device.
      logits: ``[B, width, V]`` of the verifier.
      block: what the pass went over.

    Raises:
      NumericsError: a token that counts is negative, which marks logits that are no numbers.
    """
    draft = block.draft
    if not block.wants_certainty:
        return matched(draft.read_with(own), draft.token_ids)
    count = transfer.to_device(draft.num_tokens.tolist(), own.device)
    column = torch.arange(own.shape[1] - 1, device=own.device)
    drafted = draft.on_device(own.device, own.shape[1] - 1)
    right = (own[:, :-1] == drafted) & (column < count[:, None])
    chosen, certainty = block.read(own, logits, right.long().cumprod(1).sum(1))
    return matched(chosen, draft.token_ids, certainty)


def matched(
    own: npt.NDArray[np.int64],
    drafts: Sequence[Sequence[int]],
    certainty: Certainty | None = None,
) -> Verdict:
    """Accepts drafted tokens while they equal the verifier's own, ``[B, width]``.

    Raises:
      NumericsError: a token that counts is negative, which marks logits that are no numbers.
    """
    num_drafted = np.array([len(draft) for draft in drafts], np.int64)
    proposed = np.full(own.shape, -2, np.int64)
    for i, draft in enumerate(drafts):
        proposed[i, : len(draft)] = draft
    accepted = np.logical_and.accumulate(proposed == own, axis=1).sum(axis=1)
    final = own[np.arange(len(drafts)), accepted]
    counts = np.arange(own.shape[1]) <= num_drafted[:, None]
    final[((own < 0) & counts).any(axis=1)] = -1
    return verdict(accepted, final, drafts, certainty)
