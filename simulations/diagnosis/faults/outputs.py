"""Fast but wrong: output that is not the verifier's own."""

from statistics import median

from adaptive_spec.simulations.diagnosis.findings import Figure, Finding, Judgement
from adaptive_spec.simulations.diagnosis.known import Known

NAME = "output differs from plain decoding"

_LOSSY = "(lossy)"
"""How labels of verification rules end that change the output by design."""


def output_differs(known: Known) -> Judgement:
    """Found where the rule is lossy, or a check of the output failed."""
    verified = known.verified
    if known.rule.endswith(_LOSSY):
        return Finding(
            NAME,
            None,
            (),
            "choose a lossless rule (greedy, rejection or coupled) and measure again: what a lossy "
            "one gains is no speed of the same product",
            (f"the rule is {known.rule}: it accepts tokens that the verifier would not have said",),
        )
    if verified is None or not verified.failed:
        return None
    evidence = [Figure("policies whose output failed the check", len(verified.failed), style=".0f")]
    if verified.positions:
        evidence += [
            Figure("outputs that parted, ties left out", verified.outputs, style=".0f"),
            Figure("median position where they did", median(verified.positions), style=".0f"),
        ]
    return Finding(
        NAME,
        None,
        tuple(evidence),
        "trust no figure of speed before this is mended. Where outputs part only after a "
        "rejection, keys and values of rejected tokens were not rolled back; where they part at "
        "once, look for processing (temperature, penalties, masks) that only one of the two models "
        "gets, and for a chat template that only one of the prompts went through",
        (f"checked under the rule {verified.rule}: {', '.join(verified.failed)} failed",),
    )
