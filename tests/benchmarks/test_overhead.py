"""What a cycle spends outside of the models' forward passes: target 5 % on the real pair."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adaptive_spec import ConstantCosts, Controller, make_policy
from adaptive_spec.decoding import DecodingEngine, DraftModelDrafter, ModelRunner, Request
from adaptive_spec.decoding.drafters.loading import load_drafter
from adaptive_spec.decoding.models import load_verifier

PROMPT = "List three facts about foxes, then repeat the list."


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("spec", "policy"), [("lookup", "ewma"), ("early-exit:layers=3", "fixed:tau=3")]
)
def test_share_outside_of_forward_passes(
    benchmark: Any, weights: Path, spec: str, policy: str, dtype: str
) -> None:
    verifier = load_verifier(str(weights), dtype=dtype, device="cpu")
    runner, drafter = ModelRunner(verifier.model), load_drafter(spec, verifier)(1)
    inside = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal inside
            began = time.perf_counter()
            result = function(*args, **options)
            inside += time.perf_counter() - began
            return result

        return call

    runners = [runner, drafter.runner] if isinstance(drafter, DraftModelDrafter) else [runner]
    for one in runners:
        forward: Any = one._forward
        forward.logits, forward.fill = timed(forward.logits), timed(forward.fill)
    controller = Controller(make_policy(policy), costs=ConstantCosts(plain_ms=50.0))
    engine = DecodingEngine(runner, drafter, controller)
    prompt = verifier.encode(PROMPT)
    engine.complete([Request("warm", prompt, 4)])
    inside = 0.0
    completion = benchmark.pedantic(engine.complete, args=([Request("a", prompt, 48)],), rounds=1)
    share = 1 - inside / benchmark.stats.stats.total
    benchmark.extra_info["share_outside"] = share
    cycles = len(completion[0].cycles)
    print(f"\n{dtype}, {spec}, {policy}: {share:.1%} outside, {cycles} cycles")  # noqa: T201
