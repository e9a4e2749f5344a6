"""What it costs to make bfloat16 more exact, and what it gains; interleaved in one run.

    python -m tests.benchmarks.exactness_price --limit 20 --new-tokens 64

Every prompt is decoded plainly and with drafts in every form of the verifier, in shuffled order.
Forms are dearer by the ratio of their times per output token; 95 % bootstrap intervals over
prompts. The last column counts prompts whose drafted text is the same form's plain text.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from adaptive_spec import ConstantCosts, Controller, make_policy
from adaptive_spec.decoding import DecodingEngine, Request, StopRules
from adaptive_spec.decoding.drafters.loading import load_drafter
from adaptive_spec.decoding.forward import StaticShapes
from adaptive_spec.decoding.models import load_verifier
from adaptive_spec.decoding.profiler import hardware_name
from adaptive_spec.prompts import Prompt, demo_prompts, read_prompts
from tests.benchmarks.contestants import Decode
from tests.benchmarks.transformers_ratio import measure, ratio

WARM_UP_TOKENS = 8


class Form(NamedTuple):
    """A way to compute: ``dtype``, head in float32 or not, and one width for all passes or not."""

    dtype: str
    float32_logits: bool
    one_width: bool

    def __str__(self) -> str:
        extras = [", one width"] * self.one_width + [", float32 logits"] * self.float32_logits
        return self.dtype + "".join(extras)


FORMS = (
    Form("bfloat16", False, False),
    Form("bfloat16", False, True),
    Form("bfloat16", True, False),
    Form("bfloat16", True, True),
    Form("float32", False, False),
)


def ways(arguments: argparse.Namespace, prompts: Sequence[Prompt]) -> tuple[Any, dict[str, Decode]]:
    """The verifier, for its tokens, and every form's plain and drafted decoding."""
    found: dict[str, Decode] = {}
    for form in FORMS:
        shapes = StaticShapes.fixed(arguments.tau + 1) if form.one_width else None
        verifier = load_verifier(
            arguments.verifier,
            dtype=form.dtype,
            device="cpu",
            float32_logits=form.float32_logits,
            shapes=shapes,
        )
        longest = max(len(verifier.encode(p.prompt)) for p in prompts) + arguments.new_tokens
        make_drafter = load_drafter(arguments.drafter, verifier)
        for name, tau in (("plain", 0), ("drafts", arguments.tau)):
            engine = DecodingEngine(
                verifier.runner(1, longest),
                make_drafter(1) if tau else None,
                Controller(make_policy(f"fixed:tau={tau}"), costs=ConstantCosts()),
                StopRules(verifier.eos_token_ids),
            )
            found[f"{form}: {name}"] = _decoding(engine, arguments.new_tokens)
    return verifier, found


def _decoding(engine: DecodingEngine, new_tokens: int) -> Decode:
    def decode(prompt: list[int]) -> list[int]:
        return list(engine.complete([Request("", prompt, new_tokens)])[0].token_ids)

    return decode


def report(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a table: each form's time over that of bfloat16 as it is."""
    lines = [f"{'':42}{'plain':>20}{'drafts':>21}  as plain"]
    for form in FORMS:
        plain, drafts = f"{form}: plain", f"{form}: drafts"
        prices = [
            ratio(measured, f"{FORMS[0]}: plain", plain),
            ratio(measured, f"{FORMS[0]}: drafts", drafts),
        ]
        same = sum(m[plain]["tokens"] == m[drafts]["tokens"] for m in measured)
        shown = " ".join(f"{at:6.2f} [{low:5.2f},{high:5.2f}]" for at, low, high in prices)
        lines.append(f"{form!s:42}{shown}  {same}/{len(measured)}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--verifier", default="builtin")
    options.add_argument("--drafter", default="lookup+builtin")
    options.add_argument("--tau", type=int, default=3, help="drafted tokens; one more is the width")
    options.add_argument("--prompts", type=Path, help="JSON Lines; default: those of the demo")
    options.add_argument("--limit", type=int)
    options.add_argument("--new-tokens", type=int, default=64)
    options.add_argument("--threads", type=int, help="torch threads")
    chosen = options.parse_args(arguments)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    prompts = demo_prompts()[: chosen.limit]
    if chosen.prompts:
        prompts = read_prompts(chosen.prompts, chosen.limit)
    verifier, every = ways(chosen, prompts)
    generator = np.random.default_rng(0)
    measured = []
    for i, prompt in enumerate(prompts):
        ids = verifier.encode(prompt.prompt)
        if i == 0:
            measure(every, ids[-WARM_UP_TOKENS:], generator)
        print(f"{i + 1}/{len(prompts)} {prompt.id}", file=sys.stderr, flush=True)  # noqa: T201
        measured.append(measure(every, ids, generator))
    what = f"tau {chosen.tau}, {len(prompts)} prompts, {chosen.new_tokens} new tokens"
    print(f"{hardware_name(verifier.model)}; torch {torch.__version__}; {what}")  # noqa: T201
    print("\n".join(report(measured)))  # noqa: T201


if __name__ == "__main__":
    main()
