"""Reading prompts into a cache: what another row has read already is copied instead.

Keys and values of a token depend on the tokens before it alone. So a prompt that begins like the
text of any other row, at work or done with, needs passes only from where the two part. No tree of
prefixes is kept: the texts of the rows are all there is to share.
"""

from collections.abc import Mapping, Sequence

from adaptive_spec.decoding.runner import ModelRunner

LEAST_SHARED_TOKENS = 16
"""Copying fewer saves nothing: a pass over a few tokens more costs the same."""


def read_prompts(
    runner: ModelRunner, held: dict[int, list[int]], prompts: Mapping[int, list[int]]
) -> dict[int, int]:
    """Makes rows hold their prompts, whatever they held before.

    Prompts that share nothing with one another are read together; one that begins like another of
    them is read after it.

    Args:
      runner: the model, whose rows are filled.
      held: by row, the tokens it holds, as far as its length in the cache goes. Entries of the rows
        filled are replaced by their prompts; true even where a pass fails.
      prompts: by row, the tokens it is to hold.

    Returns:
      By row, how many of its tokens no pass had to read.
    """
    reused: dict[int, int] = {}
    waiting = list(prompts)
    while waiting:
        ready = []
        for i, row in enumerate(waiting):
            prompt = prompts[row]
            source, shared = _longest(runner, held, prompt, row)
            coming = max((common_prefix(prompts[r], prompt) for r in waiting[:i]), default=0)
            if coming >= shared + LEAST_SHARED_TOKENS:
                continue
            if source == row or shared < LEAST_SHARED_TOKENS:
                shared = shared if source == row else 0
                runner.truncate([row], [shared])
            else:
                runner.cache.fork(source, [row], shared)
            held[row] = prompt
            reused[row] = shared
            ready.append(row)
        ready.sort()
        runner.prefill_rows(ready, [prompts[row][reused[row] :] for row in ready])
        waiting = [row for row in waiting if row not in reused]
    return reused


def common_prefix(text: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    for i, (one, another) in enumerate(zip(text, other, strict=False)):
        if one != another:
            return i
    return min(len(text), len(other))


def _longest(
    runner: ModelRunner, held: Mapping[int, Sequence[int]], prompt: Sequence[int], own: int
) -> tuple[int, int]:
    """The row that holds most of a prompt's beginning, ``own`` if others hold no more; how much."""
    shared = {
        row: min(common_prefix(text, prompt), runner.length(row)) for row, text in held.items()
    }
    row = max(shared, key=lambda row: (shared[row], row == own), default=own)
    return row, shared.get(row, 0)
