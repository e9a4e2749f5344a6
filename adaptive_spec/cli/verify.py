"""``adaptive-spec verify``: is speculative decoding lossless on these models and prompts?"""

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from adaptive_spec.cli import options
from adaptive_spec.cli.live import Pair, finished
from adaptive_spec.cli.live_options import ModelOptions, PromptOptions
from adaptive_spec.cli.live_runs import decode_plainly
from adaptive_spec.cli.output import note, progress, results_table, rounded, show, write_json
from adaptive_spec.cli.rules import SamplingOptions
from adaptive_spec.costs import ConstantCosts
from adaptive_spec.errors import ConfigError
from adaptive_spec.registry import make_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adaptive_spec.decoding.losslessness import Divergent
    from adaptive_spec.decoding.requests import Completion, Request
    from adaptive_spec.decoding.verification import VerificationRule

DEFAULT_POLICIES = ("fixed:tau=4", "auto")

DRAWS, FALSE_ALARM_RATE = 4, 0.001
"""Of the test of distributions, where not given."""


def verify(
    *,
    asked: PromptOptions,
    policy: options.PoliciesOption = None,
    models: ModelOptions,
    max_draft_tokens: options.MaxDraftTokensOption = 10,
    sampling: SamplingOptions,
    seed: options.SeedOption = 0,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Largest margin taken for a tie, token for token; default: 0.001 in float32, "
            "0.1 in float16, 0.5 in bfloat16.",
            rich_help_panel="Judgement",
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Times that each prompt is sampled under rejection sampling; default: {DRAWS}.",
            rich_help_panel="Judgement",
        ),
    ] = None,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(
            help="Probability that rejection sampling is called wrong though it is right; "
            f"default: {FALSE_ALARM_RATE:g}.",
            rich_help_panel="Judgement",
        ),
    ] = None,
    json_file: options.JsonOption = None,
) -> None:
    """Check that the output is the verifier's own: exit code 1 if it is not.

    Greedy decoding and coupled noise must give plain decoding's text, token for token; where they
    part, a tie within rounding is told from a real divergence. Under rejection sampling the tokens
    must be distributed as the verifier's.
    """
    specs = policy or DEFAULT_POLICIES
    for spec in specs:
        make_policy(spec)
    if false_alarm_rate is not None and not 0 < false_alarm_rate < 1:
        raise ConfigError(
            f"--false-alarm-rate {false_alarm_rate}: it must be greater than 0 and less than 1"
        )
    rule = sampling.chosen(seed)
    if not rule.lossless:
        raise ConfigError(f"the rule {rule.name!r} is lossy by design: nothing to verify")
    if rule.tau_invariant:
        of_no_use = {"--draws": draws, "--false-alarm-rate": false_alarm_rate}
        how = "its output is compared with plain decoding's, token for token"
    else:
        of_no_use = {"--tolerance": tolerance}
        how = "its tokens' distribution is tested"
    for name, value in of_no_use.items():
        if value is not None:
            raise ConfigError(
                f"{name} {value:g}: means nothing under the rule {rule.name!r}: {how}; "
                "leave it out, or choose another --rule"
            )
    wanted = asked.chosen()
    models.require_drafter("verify")
    models.require_room(max_draft_tokens)
    pair = models.load()
    requests = asked.requests(pair, wanted)
    check = _Check(pair, rule, max_draft_tokens, asked.batch_size, seed)
    if rule.tau_invariant:
        runs, table = check.outputs(requests, specs, tolerance)
    else:
        runs, table = check.distributions(
            requests, specs, draws or DRAWS, false_alarm_rate or FALSE_ALARM_RATE
        )
    show(table, json_file)
    write_json({"rule": rule.spec, "numerics": pair.verifier.numerics, "runs": runs}, json_file)
    if not all(run["holds"] for run in runs):
        raise typer.Exit(1)


class _Check:
    """One pair, one rule: what its runs are held to."""

    def __init__(
        self,
        pair: Pair,
        rule: "VerificationRule",
        max_draft_tokens: int,
        batch_size: int,
        seed: int,
    ) -> None:
        self._pair = pair
        self._rule = rule
        self._max_draft_tokens = max_draft_tokens
        self._batch_size = batch_size
        self._seed = seed
        self._title = f"{rule.spec}, {pair.verifier.name}"

    def outputs(
        self,
        requests: "list[Request]",
        specs: "Sequence[str]",
        tolerance: float | None,
    ) -> tuple[list[dict[str, Any]], Table]:
        """Every output against plain decoding's."""
        from adaptive_spec.decoding.losslessness import divergences

        runs = []
        names = ["policy", "outputs", "identical", "ties", "real\ndivergences"]
        table = results_table(self._title, "against plain decoding, token for token", names)
        with progress() as bar:
            task = bar.add_task("plain decoding", total=len(requests))
            plain = decode_plainly(
                self._pair,
                requests,
                self._batch_size,
                lambda: bar.advance(task),
                rule=self._rule,
            )
            decoded = {spec: self._decode(bar, spec, requests) for spec in specs}
        for spec, done in decoded.items():
            model = self._pair.verifier.model
            found = divergences(model, self._rule, requests, plain, done, tolerance)
            ties = sum(entry.divergence.is_tie for entry in found)
            table.add_row(
                Text(spec),
                str(len(requests)),
                str(len(requests) - len(found)),
                str(ties),
                str(len(found) - ties),
            )
            for entry in found:
                note(f"{spec}: {entry.id}: {_sentence(entry)}")
            runs.append(
                {
                    "policy": spec,
                    "holds": ties == len(found),
                    "outputs": len(requests),
                    "identical": len(requests) - len(found),
                    "ties": ties,
                    "divergences": [_as_dict(entry) for entry in found],
                }
            )
        return runs, table

    def distributions(
        self,
        requests: "list[Request]",
        specs: "Sequence[str]",
        draws: int,
        false_alarm_rate: float,
    ) -> tuple[list[dict[str, Any]], Table]:
        """Every sampled token against the verifier's distribution."""
        from adaptive_spec.decoding.losslessness import distribution_test, repeated, token_ranks

        level = false_alarm_rate / len(specs)
        runs = []
        caption = (
            f"chi-square test that each token's rank is the verifier's; a correct rule fails one "
            f"of these {len(specs)} tests with probability {false_alarm_rate:g} at most"
        )
        table = results_table(self._title, caption, ["policy", "tokens", "p-value", "as verifier"])
        many = repeated(requests, draws, self._rule)
        with progress() as bar:
            for spec in specs:
                done = self._decode(bar, spec, many, stop_tokens=False)
                model = self._pair.verifier.model
                ranks = [token_ranks(model, self._rule, r, done[r.id].token_ids) for r in many]
                test = distribution_test(np.concatenate(ranks))
                holds = test.p_value >= level
                table.add_row(
                    Text(spec), f"{test.tokens:,}", f"{test.p_value:.3g}", "yes" if holds else "no"
                )
                if not holds:
                    note(
                        f"{spec}: real divergence: the sampled tokens are not distributed as the "
                        f"verifier's (p = {test.p_value:.2g}, below {level:.2g}); rule "
                        f"{self._rule.spec}"
                    )
                runs.append(
                    {
                        "policy": spec,
                        "holds": holds,
                        "tokens": test.tokens,
                        "counts": list(test.counts),
                        "p_value": test.p_value,
                        "level": level,
                    }
                )
        return runs, table

    def _decode(
        self, bar: Any, spec: str, requests: "list[Request]", *, stop_tokens: bool = True
    ) -> "dict[str, Completion]":
        task = bar.add_task(spec, total=len(requests))
        engine = self._pair.engine(
            make_policy(spec),
            ConstantCosts(),
            requests=requests,
            max_draft_tokens=self._max_draft_tokens,
            batch_size=self._batch_size,
            seed=self._seed,
            measured_times=False,
            rule=self._rule,
            stop_tokens=stop_tokens,
        )
        return finished(engine, requests, lambda: bar.advance(task))


def _sentence(entry: "Divergent") -> str:
    found = entry.divergence
    kind = "a tie within rounding" if found.is_tie else "real divergence"
    return (
        f"{kind} at output position {found.position}: {found.plain_id} in plain decoding, "
        f"{found.other_id} in speculative decoding, {found.margin:.2g} below the largest score "
        f"(a tie up to {found.tolerance:g}); top-2 margins {found.top2_margin:.2g} alone and "
        f"{found.block_top2_margin:.2g} in the block; rule {entry.rule}"
    )


def _as_dict(entry: "Divergent") -> dict[str, Any]:
    found = entry.divergence
    return {
        "id": entry.id,
        "kind": "tie" if found.is_tie else "divergence",
        "rule": entry.rule,
        "position": found.position,
        "plain_id": found.plain_id,
        "other_id": found.other_id,
        "margin": _number(found.margin),
        "tolerance": found.tolerance,
        "top2_margin": _number(found.top2_margin),
        "block_top2_margin": _number(found.block_top2_margin),
    }


def _number(value: float) -> Any:
    """A number for JSON, which has neither infinity nor NaN."""
    return rounded(value, 6) if np.isfinite(value) else None
