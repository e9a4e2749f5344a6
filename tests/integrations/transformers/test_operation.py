"""All that goes around a policy goes around a run, too: metrics, logs, checkpoints, trials."""

import logging
from pathlib import Path
from typing import Any

import pytest

from adaptive_spec import ConfigError, PolicySpecError
from adaptive_spec.integrations.transformers import adaptive, adaptive_generate
from adaptive_spec.operations.checkpoints import Checkpoint
from adaptive_spec.operations.operation import Operation
from adaptive_spec.operations.prometheus import common_exporter
from tests.integrations.transformers.pair import draft, drafts_by, generate, model, tokens


def test_calls_are_counted_logged_shadowed_and_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = pytest.importorskip("prometheus_client").REGISTRY
    operation = Operation(
        metrics=True,
        logs=True,
        checkpoint=str(tmp_path / "learned.npz"),
        save_every_s=1e-9,
        shadow="ewma",
        trial="fixed:tau=2",
        trial_share=0.5,
    )
    plain = tokens(generate())
    engine = "of this run"
    try:
        with (
            caplog.at_level(logging.INFO, "adaptive_spec.operations"),
            adaptive(model(), "hazard", operation=operation, engine=engine) as run,
        ):
            assert run.attached is None
            for _ in range(6):
                assert tokens(generate(**drafts_by("assistant"))) == plain
        found = run.statistics
        for name, value in (("passes", found.passes), ("accepted_tokens", found.accepted)):
            labels = {"engine": engine} | ({"drafter": "assistant"} if "tokens" in name else {})
            metric = f"adaptive_spec:spec_decode_num_{name}_total"
            assert registry.get_sample_value(metric, labels) == value
    finally:
        common_exporter().forget(engine)
    assert run.attached is not None
    assert run.attached.shadow is not None
    assert run.attached.shadow.report().cycles == found.passes
    assert run.attached.trial is not None
    arms = run.attached.trial.report()
    assert arms.control.requests + arms.trial.requests == 6
    assert arms.trial.requests > 0
    lines: list[Any] = [one for one in caplog.records if one.getMessage() == "request"]
    assert len(lines) == 6
    assert Checkpoint.load(tmp_path / "learned.npz", run.controller.policy).header.requests == 6


def test_the_next_run_goes_on_with_what_was_learned(tmp_path: Path) -> None:
    operation = Operation(checkpoint=str(tmp_path / "learned.npz"), save_every_s=1e-9)
    options: Any = {"operation": operation, "measured_times": False}
    first = adaptive_generate("hazard", assistant_model=draft(), **options)
    generate(custom_generate=first)
    second = adaptive_generate("hazard", assistant_model=draft(), **options)
    generate(custom_generate=second)
    tested = [run.controller.state.shared.tested.sum() for run in (first.run, second.run)]
    assert tested[1] > 1.5 * tested[0]
    other = adaptive_generate("marginal", assistant_model=draft(), **options)
    with pytest.raises(ConfigError, match="policy = 'hazard', this controller has 'marginal'"):
        generate(custom_generate=other)


def test_what_is_wrong_is_refused_at_once() -> None:
    with pytest.raises(PolicySpecError, match="unknown policy 'theirs'"):
        adaptive(model(), operation=Operation(trial="theirs"))
    wrong: Any = {"max_draft_token": 3}
    for make in (lambda: adaptive(model(), **wrong), lambda: adaptive_generate(**wrong)):
        with pytest.raises(ConfigError, match="unknown option 'max_draft_token'; there are costs,"):
            make()
