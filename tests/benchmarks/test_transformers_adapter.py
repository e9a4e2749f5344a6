"""What the adapter costs: transformers' assisted generation under a constant tau, and its own.

Calls alternate, so that a slow spell of the machine falls on both alike; only their ratio means
anything.
"""

import time
from statistics import median
from typing import Any

import pytest

from adaptive_spec.integrations.transformers import adaptive
from tests.integrations.transformers.pair import draft, generate, model, own_draft, tokens

TAU = 5
ROUNDS = 7
NEW_TOKENS = 40


@pytest.mark.parametrize("policy", [f"fixed:tau={TAU}", "marginal", "auto"])
def test_adapter(benchmark: Any, policy: str) -> None:
    """Time per token over that of transformers' own constant tau."""
    ratios = []
    own = own_draft(TAU)
    theirs = tokens(generate(assistant_model=own, max_new_tokens=NEW_TOKENS))
    with adaptive(model(), policy) as run:  # one run, so that policies have learned

        def both() -> None:
            began = time.perf_counter()
            ours = tokens(generate(assistant_model=draft(), max_new_tokens=NEW_TOKENS))
            between = time.perf_counter()
            plainly(own)
            ratios.append((between - began) / (time.perf_counter() - between))
            assert ours == theirs

        benchmark.pedantic(both, rounds=ROUNDS, warmup_rounds=1)
    found = run.statistics
    policy_share = found.policy_ms / (found.draft_ms + found.verify_ms + found.policy_ms)
    benchmark.extra_info |= {"ratio": median(ratios), "policy_share": policy_share}
    print(  # noqa: T201
        f"\n{policy}: {median(ratios):.2f} of transformers' own constant {TAU}; "
        f"policy {policy_share:.1%} of the time"
    )


def plainly(assistant: Any) -> None:
    """transformers' own, past the driven method of the instance."""
    generate(verifier=_Undriven(), assistant_model=assistant, max_new_tokens=NEW_TOKENS)


class _Undriven:
    """The model by its class's methods."""

    def generate(self, *arguments: Any, **options: Any) -> Any:
        return type(model()).generate(model(), *arguments, **options)
