"""Runs vLLM offline, for tests and benchmarks that must not live in vLLM's process.

``python -m tests.integrations.vllm.engine_run JOB RESULT``: both are JSON files. A job has the
arguments of ``LLM`` and runs, of which each has requests and the scheduler that serves them. The
engine is set up once, with the scheduler of the first run; for every further run it gets a new one,
made as vLLM makes it.
"""

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # so that the scheduler can be looked at


def main(job: dict[str, Any]) -> list[dict[str, Any]]:
    from vllm import LLM

    first = job["runs"][0]
    scheduler = {} if first.get("configuration") is None else _adaptive(first["configuration"])
    llm = LLM(**job["llm"], **scheduler, disable_log_stats=False)
    results = []
    for i, run in enumerate(job["runs"]):
        if i > 0:
            _renew_scheduler(llm, run)
        results.append(_serve(llm, run))
    return results


def _adaptive(configuration: dict[str, Any]) -> dict[str, Any]:
    return {
        "scheduler_cls": "adaptive_spec.integrations.vllm.Scheduler",
        "additional_config": {"adaptive_spec": configuration},
    }


def _renew_scheduler(llm: Any, run: dict[str, Any]) -> None:
    core = llm.llm_engine.engine_core.engine_core
    config, old = core.vllm_config, core.scheduler
    chosen = _adaptive(run["configuration"]) if run.get("configuration") is not None else {}
    config.scheduler_config.scheduler_cls = chosen.get("scheduler_cls")
    config.additional_config = chosen.get("additional_config", {})
    core.scheduler = config.scheduler_config.get_scheduler_cls()(
        vllm_config=config,
        kv_cache_config=old.kv_cache_config,
        structured_output_manager=core.structured_output_manager,
        include_finished_set=False,
        log_stats=True,
        block_size=old.block_size,
        hash_block_size=old.hash_block_size,
    )
    core.scheduler.finished_req_ids |= old.finished_req_ids  # workers are to forget these


def _serve(llm: Any, run: dict[str, Any]) -> dict[str, Any]:
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    scheduler = llm.llm_engine.engine_core.engine_core.scheduler
    if "table" in run:
        scheduler.dynamic_sd_lookup = run["table"]
    if "concurrency" in run:
        scheduler.max_num_active_reqs = run["concurrency"]
    prompts, sampling = [], []
    for request in run["requests"]:
        prompts.append(request["prompt"])
        options = {"temperature": 0.0, **request["sampling"]}
        if "regex" in options:
            options["structured_outputs"] = StructuredOutputsParams(regex=options.pop("regex"))
        sampling.append(SamplingParams(**options))
    preempted = _preemptions(llm)
    began = time.perf_counter()
    outputs = llm.generate(prompts, sampling, use_tqdm=False)
    seconds = time.perf_counter() - began
    books = getattr(scheduler, "_books", None)
    return {
        "seconds": seconds,
        "preemptions": _preemptions(llm) - preempted,
        "scheduler": type(scheduler).__name__,
        "books": None if books is None else books.as_dict(),
        "outputs": [
            {
                "token_ids": list(output.outputs[0].token_ids),
                "text": output.outputs[0].text,
                "finish_reason": output.outputs[0].finish_reason,
                "stop_reason": output.outputs[0].stop_reason,
                "metrics": _plain(output.outputs[0].spec_decode_metrics),
            }
            for output in outputs
        ],
    }


def _preemptions(llm: Any) -> int:
    counters = [metric for metric in llm.get_metrics() if metric.name == "vllm:num_preemptions"]
    return sum(int(counter.value) for counter in counters)


def _plain(metrics: Any) -> dict[str, Any] | None:
    return None if metrics is None else dataclasses.asdict(metrics)


if __name__ == "__main__":
    written = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(written), encoding="utf-8")
