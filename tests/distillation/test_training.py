"""Training: it learns, takes the same steps again, and goes on where it stopped."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adaptive_spec.decoding.trimmed_draft import TrimmedDraft, own_weights
from adaptive_spec.distillation.distill import initial_draft
from adaptive_spec.distillation.evaluation import agreement
from adaptive_spec.distillation.states import load_states, save_states
from adaptive_spec.distillation.texts import Text
from adaptive_spec.distillation.training import States, Training, train
from adaptive_spec.errors import DistillError
from tests.tiny_models import VOCABULARY

SETTINGS = Training(epochs=6, batch_size=5, learning_rate=3e-3, checkpoint_steps=4)


@pytest.fixture(scope="module")
def states(
    tmp_path_factory: pytest.TempPathFactory, verifier: Any, texts: list[Text]
) -> list[States]:
    path = tmp_path_factory.mktemp("states") / "states.npy"
    save_states(path, verifier, texts)
    ends = np.cumsum([text.token_ids.size for text in texts])
    return np.split(load_states(path), ends[:-1])


def fresh(verifier: Any) -> TrimmedDraft:
    return initial_draft(verifier, [0, 2], list(range(VOCABULARY)))


def weights(draft: TrimmedDraft) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in own_weights(draft).values()])


def test_the_loss_falls_and_agreement_rises(
    tmp_path: Path, verifier: Any, texts: list[Text], states: list[States]
) -> None:
    draft, losses = fresh(verifier), []
    before = agreement(draft, texts).top1
    longer = Training(epochs=40, batch_size=8, learning_rate=3e-3)
    train(draft, texts, states, longer, tmp_path / "ck.pt", lambda _, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert agreement(draft, texts).top1 > before


def test_a_cold_target_is_the_verifier_s_first_choice(
    tmp_path: Path, verifier: Any, texts: list[Text], states: list[States]
) -> None:
    def first_loss(temperature: float) -> float:
        losses: list[float] = []
        settings = Training(
            epochs=1, batch_size=len(texts), prompt_share=0.0, target_temperature=temperature
        )
        path = tmp_path / f"{temperature}.pt"
        train(fresh(verifier), texts, states, settings, path, lambda _, loss: losses.append(loss))
        return losses[0]

    draft, surprise = fresh(verifier), []
    head = draft.model.get_output_embeddings()
    for text, seen in zip(texts, states, strict=True):
        place = slice(text.answer_start - 1, text.token_ids.size - 1)
        with torch.no_grad():
            state = torch.from_numpy(seen[place].copy()).view(torch.bfloat16)
            choice = head(state.float()).argmax(-1)
            logits = draft.model(input_ids=torch.from_numpy(text.token_ids)[None]).logits[0, place]
        surprise += torch.nn.functional.cross_entropy(logits, choice, reduction="none").tolist()
    assert first_loss(0.01) == pytest.approx(np.mean(surprise), rel=0.01)
    assert first_loss(1.0) != pytest.approx(np.mean(surprise), rel=0.01)


def test_the_verifier_is_left_as_it_was(
    tmp_path: Path, verifier: Any, texts: list[Text], states: list[States]
) -> None:
    before = {name: value.clone() for name, value in verifier.state_dict().items()}
    train(fresh(verifier), texts, states, SETTINGS, tmp_path / "ck.pt")
    for name, value in verifier.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_an_interrupted_training_takes_the_same_steps(
    tmp_path: Path, verifier: Any, texts: list[Text], states: list[States]
) -> None:
    whole, resumed = fresh(verifier), fresh(verifier)
    train(whole, texts, states, SETTINGS, tmp_path / "whole.pt")

    def stop(step: int, loss: float) -> None:
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(resumed, texts, states, SETTINGS, tmp_path / "part.pt", stop)
    steps: list[int] = []
    resumed = fresh(verifier)
    train(resumed, texts, states, SETTINGS, tmp_path / "part.pt", lambda s, _: steps.append(s))
    assert steps[0] == 9  # the last checkpoint was after step 8
    assert torch.equal(weights(whole), weights(resumed))


def test_every_text_is_seen_once_an_epoch(
    tmp_path: Path, verifier: Any, texts: list[Text], states: list[States], monkeypatch: Any
) -> None:
    from adaptive_spec.distillation import training as module

    seen: list[int] = []
    original = module._rows_of_step

    def watch(*args: Any) -> list[int]:
        rows = original(*args)
        seen.extend(rows)
        return rows

    monkeypatch.setattr(module, "_rows_of_step", watch)
    train(fresh(verifier), texts, states, SETTINGS, tmp_path / "ck.pt")
    assert np.bincount(seen).tolist() == [SETTINGS.epochs] * len(texts)


def test_another_trainings_checkpoint_is_refused(
    tmp_path: Path, verifier: Any, texts: list[Text], states: list[States]
) -> None:
    train(fresh(verifier), texts, states, SETTINGS, tmp_path / "ck.pt")
    with pytest.raises(DistillError, match="epochs"):
        train(fresh(verifier), texts, states, Training(epochs=1), tmp_path / "ck.pt")


def test_a_loss_that_is_no_number_stops_the_training(
    tmp_path: Path, verifier: Any, texts: list[Text], states: list[States]
) -> None:
    broken = [np.full_like(one, 0x7FC0) for one in states]  # NaN in bfloat16
    with pytest.raises(DistillError, match="learning rate"):
        train(fresh(verifier), texts, broken, SETTINGS, tmp_path / "ck.pt")


def test_the_rate_rises_then_falls_to_zero() -> None:
    rates = [SETTINGS.rate(step, 100) for step in range(101)]
    assert 0 < rates[0] < rates[2] < 1.01
    assert rates[100] == pytest.approx(0.0, abs=1e-12)
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))
