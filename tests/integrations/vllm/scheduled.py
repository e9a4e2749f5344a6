"""Drives a scheduler of vLLM as its engine does, in steps that overlap, with a model that is drawn.

``python -m tests.integrations.vllm.scheduled FOLDER RESULT``: the CPU build of vLLM has no
asynchronous scheduling, but its scheduler needs no device. Nothing is decoded: how many drafted
tokens are accepted is drawn.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

NUM_TOKENS = 5
MAX_TOKENS = 30
BLOCKS = 24


def main(folder: str, policy: str) -> dict[str, Any]:
    from vllm.engine.arg_utils import EngineArgs

    config = EngineArgs(
        model=f"{folder}/verifier",
        skip_tokenizer_init=True,
        dtype="float32",
        enforce_eager=True,
        max_num_seqs=8,
        max_num_batched_tokens=64,
        block_size=16,
        enable_prefix_caching=False,
        per_request_spec_decode_metrics="detailed",
        speculative_config={
            "method": "draft_model",
            "model": f"{folder}/draft",
            "num_speculative_tokens": NUM_TOKENS,
        },
        scheduler_cls="adaptive_spec.integrations.vllm.Scheduler",
        additional_config={"adaptive_spec": {"policy": policy, "decision_limit_ms": 60_000.0}},
    ).create_engine_config()
    config.scheduler_config.async_scheduling = True
    config.cache_config.num_gpu_blocks = BLOCKS
    scheduler = _scheduler(config)
    requests = _requests()
    for request in requests:
        scheduler.add_request(request)
    finished, preemptions = _run(scheduler)
    return {
        "scheduler": type(scheduler).__name__,
        "books": scheduler._books.as_dict(),
        "finished": finished,
        "preemptions": preemptions,
        "drafted": [request.spec_decode_metrics.per_step_drafted for request in requests],
        "accepted": [request.spec_decode_metrics.per_step_accepted for request in requests],
        "tokens": [request.num_output_tokens for request in requests],
    }


def _scheduler(config: Any) -> Any:
    import torch
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.structured_output import StructuredOutputManager

    size = config.cache_config.block_size
    spec = FullAttentionSpec(block_size=size, num_kv_heads=2, head_size=32, dtype=torch.float32)
    return config.scheduler_config.get_scheduler_cls()(
        vllm_config=config,
        kv_cache_config=KVCacheConfig(
            num_blocks=BLOCKS, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["0"], spec)]
        ),
        structured_output_manager=StructuredOutputManager(config),
        block_size=size,
        hash_block_size=size,
        log_stats=True,
    )


def _requests() -> list[Any]:
    from vllm import SamplingParams
    from vllm.v1.request import Request

    sampling = SamplingParams(max_tokens=MAX_TOKENS, ignore_eos=True, temperature=0.0)
    lengths = [100, 4, 20, 70, 9, 33, 5, 40, 12, 80]
    return [
        Request(f"r{i}", [1] * length, sampling.clone(), None) for i, length in enumerate(lengths)
    ]


def _run(scheduler: Any) -> tuple[dict[str, str], int]:
    """Two steps at a time, of which the older one's outcome comes before a third is planned."""
    rng = np.random.default_rng(0)
    planned: list[tuple[Any, list[str]]] = []
    finished: dict[str, str] = {}
    preemptions = width = 0
    while scheduler.has_requests():
        output = scheduler.schedule()
        verified = output.scheduled_spec_decode_tokens
        # The runner takes drafts out of a table as wide as the last drafter was asked for.
        assert all(len(tokens) <= width for tokens in verified.values())
        width = output.num_spec_tokens_to_schedule
        preemptions += len(output.preempted_req_ids)
        samples = [
            one
            for one in output.num_scheduled_tokens
            if not scheduler.requests[one].is_prefill_chunk
        ]
        planned.append((output, samples))
        if len(planned) > 1 or not output.num_scheduled_tokens:
            output, samples = planned.pop(0)
            finished |= _outcome(scheduler, output, samples, rng)
    return finished, preemptions


def _outcome(
    scheduler: Any, output: Any, samples: list[str], rng: np.random.Generator
) -> dict[str, str]:
    from vllm.v1.outputs import ModelRunnerOutput

    ids = list(output.num_scheduled_tokens)
    sampled: list[list[int]] = []
    for one in ids:
        drafted = len(output.scheduled_spec_decode_tokens.get(one, ()))
        count = 1 + int(rng.integers(0, drafted + 1)) if one in samples else 0
        sampled.append([2] * count)
    outcome = ModelRunnerOutput(ids, {one: i for i, one in enumerate(ids)}, sampled)
    outputs = scheduler.update_from_output(output, outcome)
    return {
        one.request_id: str(one.finish_reason)
        for client in outputs.values()
        for one in client.outputs
        if one.finish_reason is not None
    }


if __name__ == "__main__":
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    results = {policy: main(sys.argv[1], policy) for policy in sys.argv[3:]}
    Path(sys.argv[2]).write_text(json.dumps(results), encoding="utf-8")
