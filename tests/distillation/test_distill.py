"""The whole of it: from a verifier's folder to a draft that drafts."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adaptive_spec.decoding.drafters import DraftRequest
from adaptive_spec.decoding.drafters.loading import load_drafter
from adaptive_spec.decoding.models import Verifier, load_verifier
from adaptive_spec.decoding.trimmed_draft import load_draft, own_weights
from adaptive_spec.distillation import distill as module
from adaptive_spec.distillation.distill import Distillation, distill
from adaptive_spec.distillation.passages import Sources
from adaptive_spec.distillation.training import Training
from adaptive_spec.distillation.writing import Writing
from adaptive_spec.errors import ConfigError, DistillError
from tests.tiny_pair import TinyPair, save_tiny_pair

SETTINGS = Distillation(
    answer_tokens=1000,
    layers=(0, -1),
    head_tokens=120,
    kept_aside=4,
    writing=Writing(part_size=48, batch_size=16, prompt_tokens=200, max_new_tokens=24),
    training=Training(epochs=2, batch_size=8),
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> TinyPair:
    return save_tiny_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def loaded(pair: TinyPair) -> Verifier:
    return load_verifier(str(pair.verifier), prepared=False)


@pytest.fixture(scope="module")
def made(loaded: Verifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("draft")
    stages: list[str] = []

    def note(stage: str, done: int, total: int, remark: str) -> None:
        assert 0 <= done <= total
        if not stages or stages[-1] != stage:
            stages.append(stage)

    distill(loaded, folder, SETTINGS, on_progress=note)
    assert stages == ["writing", "reading", "training", "evaluating"]
    return folder


def test_the_draft_loads_and_drafts(made: Path, pair: TinyPair) -> None:
    verifier = load_verifier(str(pair.verifier))
    drafter = load_drafter(str(made), verifier)(1)
    assert drafter is not None
    drafter.begin(0, [5, 6, 7])
    draft = drafter.propose(DraftRequest([0], [[5, 6, 7]], np.array([4]), want_signals=True)).read()
    assert len(draft.token_ids[0]) == 4
    assert set(draft.token_ids[0]) <= set(drafter.token_ids.tolist())  # type: ignore[attr-defined]
    assert draft.signals is not None
    assert np.isfinite(draft.signals.top1_probability).all()


def test_the_card_says_what_was_done(made: Path) -> None:
    card = (made / "README.md").read_text(encoding="utf-8")
    for words in ("made up itself", "layers 0, 1", "120 tokens", "2 epochs", "kept aside"):
        assert words in card, words
    settings = json.loads((made / "draft.json").read_text(encoding="utf-8"))
    assert 0 <= settings["agreement"]["top1"] <= 1


def test_it_goes_on_from_what_is_there(
    made: Path, loaded: Verifier, tmp_path: Path, monkeypatch: Any
) -> None:
    again = tmp_path / "again"
    shutil.copytree(made / "work", again / "work")
    monkeypatch.setattr(module, "write_part", None)  # nothing is left to write
    distill(loaded, again, SETTINGS)
    for name in ("draft.safetensors", "draft.json", "README.md"):
        assert (again / name).read_bytes() == (made / name).read_bytes(), name


def test_the_same_settings_make_the_same_draft(
    made: Path, loaded: Verifier, tmp_path: Path
) -> None:
    distill(loaded, tmp_path, SETTINGS)
    weights = "draft.safetensors"
    assert (tmp_path / weights).read_bytes() == (made / weights).read_bytes()


def test_other_settings_are_refused_in_the_same_folder(made: Path, loaded: Verifier) -> None:
    other = dataclasses.replace(SETTINGS, head_tokens=60)
    with pytest.raises(DistillError, match="head_tokens"):
        distill(loaded, made, other)
    with pytest.raises(DistillError, match="prompts"):
        distill(loaded, made, SETTINGS, Sources(prompts=[[5, 6]]))
    with pytest.raises(DistillError, match="starting weights"):
        distill(loaded, made, dataclasses.replace(SETTINGS, layers=(1, 0)))


def test_more_text_can_be_asked_for_later(made: Path, loaded: Verifier, tmp_path: Path) -> None:
    shutil.copytree(made / "work", tmp_path / "work")
    (tmp_path / "work" / "training.pt").unlink()
    before = sorted(path.name for path in tmp_path.glob("work/texts-*"))
    distill(loaded, tmp_path, dataclasses.replace(SETTINGS, answer_tokens=2000))
    after = sorted(path.name for path in tmp_path.glob("work/texts-*"))
    assert len(after) > len(before)
    assert after[: len(before)] == before
    for name in before:
        assert (tmp_path / "work" / name).read_bytes() == (made / "work" / name).read_bytes()


def test_a_draft_is_trained_on_from_another(made: Path, loaded: Verifier, tmp_path: Path) -> None:
    shutil.copytree(made / "work", tmp_path / "work")
    (tmp_path / "work" / "training.pt").unlink()
    still = dataclasses.replace(
        SETTINGS,
        layers=(0,),  # says nothing: the draft that is trained on has two
        training=dataclasses.replace(SETTINGS.training, epochs=1, learning_rate=1e-9),
    )
    distill(loaded, tmp_path, still, start=load_draft(made, loaded.model))
    theirs, ours = (own_weights(load_draft(one, loaded.model)) for one in (made, tmp_path))
    assert len(ours) == len(theirs)
    norm = "model.norm.weight"  # calibrated, which scales it
    ours[norm].data *= (theirs[norm] / ours[norm]).mean()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=2**-7, atol=1e-3)
    assert "trained on" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_given_prompts_are_answered(loaded: Verifier, tmp_path: Path) -> None:
    prompts = [[i, i + 1, i + 2] for i in range(5, 90)]
    result = distill(loaded, tmp_path, SETTINGS, Sources(prompts=prompts))
    assert result.num_tokens > 0
    assert "85 prompts given" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_layers_that_are_not_there_are_refused(loaded: Verifier, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the verifier has 2"):
        distill(loaded, tmp_path, dataclasses.replace(SETTINGS, layers=(0, 7)))


@pytest.mark.parametrize(
    "field", [{"answer_tokens": 3}, {"kept_aside": 1}, {"head_tokens": 1}, {"layers": ()}], ids=str
)
def test_bad_settings_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(field))):
        dataclasses.replace(SETTINGS, **field)
