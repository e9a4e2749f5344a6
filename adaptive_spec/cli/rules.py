"""The verification rule that a command's sampling options ask for."""

from typing import TYPE_CHECKING

from adaptive_spec._optional import require
from adaptive_spec.cli.output import note

if TYPE_CHECKING:
    from adaptive_spec.decoding.verification import VerificationRule


def chosen_rule(
    name: str | None,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    repetition_penalty: float | None,
    seed: int,
    *,
    to_sample: str = "rejection",
) -> "VerificationRule":
    """The rule of the options, None where one was not given.

    Args:
      name: of the rule; None for greedy match, or ``to_sample`` where there is something to sample.
      temperature: as in ``SamplingParameters``, as are the next four.
      top_k: number of tokens.
      top_p: probability.
      min_p: share.
      repetition_penalty: factor.
      seed: of the noise.
      to_sample: the command's rule for sampling.

    Raises:
      ConfigError: an unknown rule, or parameters out of range or without effect under it.
    """
    require("torch", "hf")
    require("transformers", "hf")
    from adaptive_spec.decoding.sampling import SamplingParameters
    from adaptive_spec.decoding.verification import make_rule

    given = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
    }
    sampling = SamplingParameters(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    if name is None:
        samples = any(value is not None for value in (temperature, top_k, top_p, min_p))
        name = to_sample if samples and temperature != 0 else "greedy"
    rule = make_rule(name, sampling, 0 if name == "greedy" else seed)
    if not rule.lossless:
        note(f"the rule {rule.name!r} is lossy: the text is not distributed as the verifier's own")
    return rule
