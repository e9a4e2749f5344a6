"""The sampling options of the commands, and the verification rule that they ask for."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from adaptive_spec._optional import require
from adaptive_spec.cli.output import note

if TYPE_CHECKING:
    from adaptive_spec.decoding.verification import VerificationRule

_PANEL = "Sampling"


@dataclass(frozen=True)
class SamplingOptions:
    """A verification rule, and the parameters of ``SamplingParameters``; None where not given."""

    rule: Annotated[
        str | None,
        typer.Option(
            help="How drafts are verified: 'greedy', or to sample: 'rejection' (rejection "
            "sampling), 'coupled' (coupled noise: the same text for every tau) or 'typical' "
            "(typical acceptance, lossy). Default: greedy; where sampling parameters are given, "
            "rejection, or coupled for `record`, `validate`, `demo`.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(help="Sample with this temperature; 0: greedy.", rich_help_panel=_PANEL),
    ] = None
    top_k: Annotated[
        int | None,
        typer.Option(help="Sample from the so many likeliest tokens.", rich_help_panel=_PANEL),
    ] = None
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Sample from the likeliest tokens of this probability.", rich_help_panel=_PANEL
        ),
    ] = None
    min_p: Annotated[
        float | None,
        typer.Option(
            help="Sample from tokens at least this share as likely as the likeliest.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    repetition_penalty: Annotated[
        float | None,
        typer.Option(
            help="Make tokens of the text less likely, if greater than 1.", rich_help_panel=_PANEL
        ),
    ] = None

    def chosen(self, seed: int) -> "VerificationRule":
        """The rule asked for: greedy match, or rejection sampling where there is what to sample.

        Args:
          seed: of the noise.

        Raises:
          ConfigError: an unknown rule, or parameters out of range or without effect under it.
        """
        return self._chosen(seed, to_sample="rejection")

    def chosen_to_replay(self, seed: int) -> "VerificationRule":
        """As ``chosen``, for traces: coupled noise where there is something to sample.

        Raises:
          ConfigError: as ``chosen``, or texts under the rule depend on tau.
        """
        rule = self._chosen(seed, to_sample="coupled")
        from adaptive_spec.decoding.recorder import require_tau_invariant

        require_tau_invariant(rule)
        return rule

    def _chosen(self, seed: int, *, to_sample: str) -> "VerificationRule":
        require("torch", "hf")
        require("transformers", "hf")
        from adaptive_spec.decoding.sampling import SamplingParameters
        from adaptive_spec.decoding.verification import make_rule

        given = {k: v for k, v in asdict(self).items() if k != "rule" and v is not None}
        samples = given.keys() - {"repetition_penalty"} and self.temperature != 0
        name = self.rule or (to_sample if samples else "greedy")
        rule = make_rule(name, SamplingParameters(**given), 0 if name == "greedy" else seed)
        if not rule.lossless:
            note(
                f"the rule {rule.name!r} is lossy: the text is not distributed as the verifier's "
                "own"
            )
        return rule
