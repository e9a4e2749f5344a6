"""Requests that a pretended engine decoded, and what each real one would say of them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st


class Request(NamedTuple):
    """Agreement bits of the text of one request, and the steps that decoded it."""

    bits: list[bool]
    drafted: list[int]
    accepted: list[int]

    @property
    def tokens(self) -> int:
        return len(self.bits)


def decode(bits: list[bool], lengths: list[int]) -> Request:
    """Decodes a text whose agreement is ``bits``, drafting ``lengths`` in turn."""
    drafted: list[int] = []
    accepted: list[int] = []
    position = 0
    while position < len(bits):
        tau = lengths[len(drafted) % len(lengths)]
        # Drafts reach beyond the end, where nothing stops them from being accepted.
        ahead = [*bits[position:], *([True] * tau)][:tau]
        drafted.append(tau)
        accepted.append(next((i for i, bit in enumerate(ahead) if not bit), tau))
        position += accepted[-1] + 1
    return Request(bits, drafted, accepted)


def requests(least_draft: int = 1) -> st.SearchStrategy[list[Request]]:
    bits = st.lists(st.booleans() | st.just(True), min_size=1, max_size=30)
    lengths = st.lists(st.integers(least_draft, 6), min_size=1, max_size=3)
    one = st.builds(decode, bits, lengths)
    return st.lists(one, min_size=1, max_size=4)


def histogram_of(request: Request, longest: int) -> list[int]:
    counts: list[int] = np.bincount(request.accepted, minlength=longest + 1).tolist()
    return counts


def vllm(request: Request, name: str, *, detailed: bool = True) -> dict[str, Any]:
    """A response; vLLM's first token comes with the prompt, before the first step."""
    longest = max(request.drafted)
    metrics: dict[str, Any] = {
        "mean_acceptance_length": 1.0 + sum(request.accepted) / len(request.accepted),
        "acceptance_histogram": histogram_of(request, longest),
        "num_spec_steps": len(request.drafted),
        "num_draft_tokens": sum(request.drafted),
        "num_spec_tokens": longest,
    }
    if detailed:
        metrics |= {"per_step_accepted": request.accepted, "per_step_drafted": request.drafted}
    usage = {"prompt_tokens": 7, "completion_tokens": request.tokens + 1}
    return {"id": name, "usage": usage, "metrics": {"speculative_decoding": metrics}}


def sglang(request: Request, name: str) -> dict[str, Any]:
    """A response of a server of one width, which is the first that was drafted."""
    histogram = histogram_of(request, 0)
    return {
        "text": "...",
        "meta_info": {
            "id": name,
            "prompt_tokens": 7,
            "completion_tokens": request.tokens,
            "spec_verify_ct": len(request.drafted),
            "spec_num_correct_drafts": sum(request.accepted),
            "spec_num_proposed_drafts": len(request.drafted) * request.drafted[0],
            "spec_correct_drafts_histogram": histogram,
        },
    }


def flashspec(request: Request, name: str) -> dict[str, Any]:
    emitted = [accepted + 1 for accepted in request.accepted]
    emitted[-1] -= sum(emitted) - request.tokens
    steps = [
        {"arm": 0, "drafter": 0, "proposed": d, "accepted": a, "emitted": e, "seconds": 0.002}
        for d, a, e in zip(request.drafted, request.accepted, emitted, strict=True)
    ]
    return {"id": name, "prompt_tokens": 7, "arm_steps": steps}


def llama_timings(request: Request, name: str) -> dict[str, Any]:
    timings = {
        "cache_n": 2,
        "prompt_n": 5,
        "predicted_n": sum(request.accepted) + len(request.accepted) + 1,
        "predicted_ms": 12.5,
    }
    if sum(request.drafted):
        timings |= {"draft_n": sum(request.drafted), "draft_n_accepted": sum(request.accepted)}
    return {"id": name, "timings": timings}


def metrics_text(some: list[Request], prefix: str, labels: str = "") -> str:
    drafted = [d for request in some for d in request.drafted if d]
    accepted = [a for r in some for d, a in zip(r.drafted, r.accepted, strict=True) if d]
    own = f"{{{labels}}}" if labels else ""
    lines = [
        f"# HELP {prefix}spec_decode_num_drafts_total drafts",
        f"{prefix}spec_decode_num_drafts_total{own} {len(drafted)}",
        f"{prefix}spec_decode_num_draft_tokens_total{own} {sum(drafted)}",
        f"{prefix}spec_decode_num_accepted_tokens_total{own} {sum(accepted)}",
        "process_start_time_seconds 1.7e9",
    ]
    for i in range(max(drafted, default=0)):
        both = ",".join(filter(None, [labels, f'position="{i}"']))
        count = sum(a > i for a in accepted)
        lines.append(f"{prefix}spec_decode_num_accepted_tokens_per_pos_total{{{both}}} {count}")
    return "\n".join(lines) + "\n"


def write_lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path
