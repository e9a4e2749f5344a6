import itertools
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConfigError
from adaptive_spec.decoding import (
    ComposedDrafter,
    Drafter,
    DraftModelDrafter,
    ModelRunner,
    PromptLookupDrafter,
)
from adaptive_spec.decoding.profiler import hardware_name, profile_costs
from tests.tiny_models import tiny_gpt2, tiny_llama


def profile(model: Any, make: Any = lambda slots: None, **options: Any) -> Any:
    sizes = {"batch_sizes": (1, 2), "contexts": (4, 9), "widths": (2, 7), "repeats": 1}
    return profile_costs(model, make, **{**sizes, **options}, generator=np.random.default_rng(0))


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_llama(layers=1)


def test_every_point_is_measured_at_its_own_size(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, int]] = []
    original = ModelRunner.append

    def spy(self: ModelRunner, rows: Any, token_ids: Any, **options: Any) -> Any:
        widths = {len(tokens) for tokens in token_ids}
        assert len(widths) == 1
        seen.append((len(rows), self.length(rows[0]), widths.pop()))
        return original(self, rows, token_ids, **options)

    monkeypatch.setattr(ModelRunner, "append", spy)
    costs = profile(model, contexts=(4, 9), widths=(2, 33), repeats=2)
    assert (costs.batch_sizes, costs.context_tokens, costs.widths) == ((1, 2), (4, 9), (1, 2, 33))
    points = set(itertools.product((1, 2), (4, 9), (1, 2, 33)))
    assert set(seen) == points
    assert all(seen.count(point) >= 2 for point in points)


def test_the_fit_is_monotone_in_the_width(model: Any) -> None:
    costs = profile(model, widths=(2, 3, 4, 5, 6))
    assert (np.diff(costs.verify_grid_ms, axis=-1) >= 0).all()
    assert (costs.verify_grid_ms > 0).all()


@pytest.mark.parametrize("kind", ["none", "lookup", "model"])
def test_drafting_is_measured_too(model: Any, kind: str) -> None:
    def make(slots: int) -> Drafter | None:
        if kind == "model":
            return DraftModelDrafter(ModelRunner(model, slots=slots), kind)
        return PromptLookupDrafter() if kind == "lookup" else None

    costs = profile(model, make)
    assert costs.draft_start_ms.shape == costs.draft_step_ms.shape == (2, 2)
    drafting = costs.draft_start_ms + costs.draft_step_ms
    assert (drafting == 0).all() if kind == "none" else (drafting > 0).all()


def test_each_drafter_of_a_composition_has_a_curve(model: Any) -> None:
    def make(slots: int) -> Drafter:
        small = DraftModelDrafter(ModelRunner(tiny_llama(layers=1), slots=slots), "small")
        return ComposedDrafter([PromptLookupDrafter(), small])

    told: list[int] = []
    costs = profile(model, make, repeats=1, on_progress=lambda done, total: told.append(total))
    assert [name for name, _ in costs.drafts] == ["lookup", "small"]
    assert told[-1] == 2 * 2 * (3 + 2 * 2)  # batches, contexts, widths and two drafts of each
    lookup, small = (costs.of_drafter(name) for name in ("lookup", "small"))
    assert (lookup.draft_step_ms + lookup.draft_start_ms).max() > 0
    assert np.array_equal(small.draft_step_ms, costs.draft_step_ms)


def test_a_drafter_with_fewer_tokens_is_not_shown_others(model: Any) -> None:
    small = tiny_llama(layers=1, vocab_size=5)
    profile(model, lambda slots: DraftModelDrafter(ModelRunner(small, slots=slots), "small"))


def test_progress_ends_at_the_total(model: Any) -> None:
    told: list[tuple[int, int]] = []
    profile(model, repeats=2, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, len(told)) for i in range(len(told))]
    assert len(told) == 2 * 2 * 2 * 3  # repeats, batches, contexts, widths


def test_the_order_comes_from_the_generator(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def order(seed: int) -> list[Any]:
        seen: list[Any] = []

        def noted(self: object, context: int, what: int, part: int = 0) -> float:
            seen.append((context, what))
            return 1.0

        monkeypatch.setattr("adaptive_spec.decoding.profiler._Bench.time_ms", noted)
        profile_costs(
            model, lambda slots: None, contexts=(4, 9), generator=np.random.default_rng(seed)
        )
        monkeypatch.undo()
        return seen

    assert order(1) == order(1)
    assert order(1) != order(2)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"repeats": 0}, "repeats = 0"),
        ({"widths": (0,)}, "sizes must be at least 1"),
        ({"batch_sizes": (-1,)}, "sizes must be at least 1"),
        ({"contexts": ()}, "sizes must be at least 1"),
        ({"contexts": (250,)}, "need 257 tokens; the verifier has a context of 256"),
    ],
)
def test_sizes_that_cannot_be(model: Any, sizes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        profile(model, **sizes)


def test_the_drafter_s_context_counts_too(model: Any) -> None:
    short = tiny_gpt2(layers=1, context=16)

    def make(slots: int) -> Drafter:
        return DraftModelDrafter(ModelRunner(short, slots=slots), "short")

    profile(model, make, contexts=(10,))
    with pytest.raises(ConfigError, match="the drafter short has a context of 16"):
        profile(model, make, contexts=(11,))


def test_the_hardware_has_a_name(model: Any) -> None:
    assert hardware_name(model).endswith(" threads")
