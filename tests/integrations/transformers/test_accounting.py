"""Passes, tokens, times and rows: what is counted is what happened."""

import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from transformers import StoppingCriteria

from adaptive_spec import ConfigError
from adaptive_spec.integrations.transformers import Run, adaptive, adaptive_generate
from adaptive_spec.traces import read_cycles, write_cycles
from tests.decoding.scripted import Scripted
from tests.integrations.transformers.pair import (
    NEW_TOKENS,
    PROMPT,
    draft,
    drafts_by,
    generate,
    model,
    tokens,
)


class Passes:
    """Counts forward passes of the verifier while it does not draft."""

    def __init__(self) -> None:
        self.count = 0
        self._handle = model().register_forward_hook(self._hear)

    def _hear(self, module: Any, arguments: Any, output: Any) -> None:
        self.count += module.config.num_hidden_layers == 3  # fewer in an early exit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()


@pytest.mark.parametrize("drafter", ["assistant", "lookup", "early-exit"])
def test_every_verifier_pass_is_counted_once(drafter: str) -> None:
    with adaptive(model(), Scripted()) as run, Passes() as passes:
        lengths = [len(tokens(generate(**drafts_by(drafter), max_new_tokens=n))) for n in (1, 9)]
    found = run.statistics
    assert found.passes == found.ledger.passes == passes.count
    assert found.emitted == found.ledger.tokens == sum(lengths) - 2 * len(PROMPT)
    assert found.accepted == found.emitted - found.passes
    assert found.requests == found.ledger.requests == 2
    assert found.finish_reasons == {"length": 2}
    assert run.controller.running.size == 0


def test_statistics_add_up_with_the_cycles() -> None:
    with adaptive(model(), Scripted(), keep_cycles=True, max_draft_tokens=5) as run:
        for prompt in (PROMPT, PROMPT[:3]):
            generate(prompt=prompt, assistant_model=draft())
    found, cycles = run.statistics, [c for done in run.completions for c in done.cycles]
    drafted = np.array([c.num_draft_tokens for c in cycles])
    accepted = np.array([c.num_accepted_tokens for c in cycles])
    places = np.arange(5)
    np.testing.assert_array_equal(found.drafted_by_position, (drafted[:, None] > places).sum(0))
    np.testing.assert_array_equal(found.accepted_by_position, (accepted[:, None] > places).sum(0))
    assert found.passes == len(cycles)
    assert found.fallback_passes == (drafted == 0).sum()
    assert found.mean_acceptance_length == found.emitted / found.passes
    assert found.acceptance_rate == accepted.sum() / drafted.sum()
    assert found.known_agreement == sum(bit >= 0 for c in cycles for bit in c.agreement)
    assert found.known_agreement < found.emitted
    assert found.draft_ms == pytest.approx(sum(c.draft_ms for c in cycles))
    assert found.verify_ms > 0
    assert found.prefill_ms > 0
    assert found.policy_ms > 0
    assert all(c.draft_ms == 0.0 for c in cycles if c.num_draft_tokens == 0)


def test_cycles_can_be_written_as_a_log(tmp_path: Path) -> None:
    with adaptive(model(), Scripted(), keep_cycles=True) as run:
        text = tokens(generate(assistant_model=draft()))
    [done] = run.completions
    assert [*PROMPT, *done.token_ids] == text
    write_cycles(run.completions, tmp_path / "cycles.parquet", rule=done.rule)
    logged = read_cycles(tmp_path / "cycles.parquet")
    assert [c.num_emitted_tokens for c in logged] == [c.num_emitted_tokens for c in done.cycles]
    assert {c.drafter for c in logged} <= {"assistant", None}


def test_cycles_that_were_not_kept_are_missed_by_name() -> None:
    with pytest.raises(ConfigError, match="keep_cycles=True"):
        _ = Run().completions


@pytest.mark.parametrize(
    ("options", "reason"),
    [({}, "length"), ({"eos_token_id": 0}, "eos"), ({"stopping_criteria": True}, "stop")],
)
def test_it_is_known_what_ended_a_text(options: dict[str, Any], reason: str) -> None:
    plain = tokens(generate())
    if "eos_token_id" in options:
        options = {"eos_token_id": plain[len(PROMPT) + 5]}
    if "stopping_criteria" in options:
        options = {"stopping_criteria": [Failing(3, None)]}
    with adaptive(model(), "fixed:tau=2", keep_cycles=True) as run:
        generate(assistant_model=draft(), **options)
    [done] = run.completions
    assert done.finish_reason == reason
    assert run.controller.running.size == 0


class Failing(StoppingCriteria):
    """Raises in some cycle, or ends the text there."""

    def __init__(self, cycle: int, error: BaseException | None) -> None:
        self.left, self.error = cycle, error

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        self.left -= 1
        if self.left == 0 and self.error is not None:
            raise self.error
        return torch.full((1,), self.left <= 0)


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()], ids=repr)
def test_a_request_that_fails_gives_its_row_back(error: BaseException) -> None:
    before = set(vars(model()))
    with adaptive(model(), Scripted()) as run:
        with pytest.raises(type(error)):
            generate(assistant_model=draft(), stopping_criteria=[Failing(3, error)])
        assert run.controller.running.size == 0
        assert run.statistics.failed == 1
        assert run.statistics.requests == run.statistics.ledger.requests == 0
        assert run.statistics.passes == 3
        assert tokens(generate(assistant_model=draft())) == tokens(generate())
    assert run.statistics.requests == 1
    assert set(vars(model())) == before


class Breaking(torch.nn.Module):
    """A layer that fails."""

    def forward(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("this layer broke")


@pytest.mark.parametrize("drafter", ["assistant", "early-exit"])
def test_a_drafter_that_fails_leaves_the_model_as_it_was(drafter: str) -> None:
    given = drafts_by(drafter)
    broken = given.get("assistant_model", model()).model
    layer, broken.layers[0] = broken.layers[0], Breaking()
    try:
        with adaptive(model(), "fixed:tau=2") as run, pytest.raises(RuntimeError, match="broke"):
            generate(**given)
    finally:
        broken.layers[0] = layer
    assert model().config.num_hidden_layers == 3
    assert run.controller.running.size == 0
    assert run.statistics.passes == 0


def test_what_is_learned_serves_the_next_request() -> None:
    with adaptive(model(), "heuristic:initial=1,scope=shared", measured_times=False) as run:
        for _ in range(3):
            generate(assistant_model=model())  # agrees always: drafts get longer
        first = run.statistics
        generate(assistant_model=model())
    assert run.statistics.passes - first.passes < first.passes / 3 + 1


def test_decisions_on_the_models_times_are_alike_every_time() -> None:
    logs = []
    for _ in range(2):
        given = adaptive_generate(
            "auto",
            assistant_model=draft(),
            costs="draft=0.05",
            measured_times=False,
            keep_cycles=True,
        )
        generate(custom_generate=given, max_new_tokens=30)
        [done] = given.run.completions
        logs.append([(c.tau, c.num_accepted_tokens) for c in done.cycles])
    assert logs[0] == logs[1]
    assert any(tau > 0 for tau, _ in logs[0])


def test_threads_share_a_run() -> None:
    plain = {n: tokens(generate(max_new_tokens=n)) for n in range(6, 10)}
    assert draft() is not None
    texts: dict[int, list[int]] = {}
    with adaptive(model(), Scripted()) as run:
        threads = [
            threading.Thread(
                target=lambda n=n: texts.update(
                    {n: tokens(generate(assistant_model=draft(), max_new_tokens=n))}
                )
            )
            for n in plain
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == plain
    assert run.statistics.requests == len(plain)
    assert run.statistics.emitted == sum(plain)
    assert run.controller.running.size == 0


def test_the_prompt_is_not_taken_for_the_time_of_a_cycle() -> None:
    with adaptive(model(), "fixed:tau=2", keep_cycles=True) as run:
        for _ in range(2):
            generate(assistant_model=draft(), max_new_tokens=NEW_TOKENS)
    first, second = run.completions
    # Nothing is known yet of what a cycle takes: all goes to the prompt.
    assert first.cycles[0].verify_ms == first.cycles[0].draft_ms == 0.0
    assert first.prefill_ms > 0
    assert second.cycles[0].verify_ms > 0
    assert second.cycles[0].draft_ms > 0
