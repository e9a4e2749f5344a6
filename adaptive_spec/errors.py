"""Every error that the package raises on purpose: one base class, one subclass per cause.

Each subclass also derives from the builtin that a caller would expect, so ``except ValueError``
keeps working. A message names the field, what it got, what is allowed and how to fix it.
"""


class AdaptiveSpecError(Exception):
    """Base class of all errors raised on purpose by adaptive-spec."""


class PolicySpecError(AdaptiveSpecError, ValueError):
    """A policy spec names an unknown policy or field, or a value that it does not allow."""


class PolicyContractError(AdaptiveSpecError, RuntimeError):
    """A policy broke its contract: wrong shape, dtype, or a tau outside the cap."""


class DrafterSpecError(AdaptiveSpecError, ValueError):
    """A drafter spec names an unknown drafter or field, or a value that it does not allow."""


class ConfigError(AdaptiveSpecError, ValueError):
    """A setting is missing, contradictory or outside its range."""


class CostsError(AdaptiveSpecError, ValueError):
    """Costs are negative, not finite, badly shaped, or their file cannot be read."""


class TraceError(AdaptiveSpecError, ValueError):
    """A trace file or import is missing, foreign, truncated, or contradicts itself."""


class PromptError(AdaptiveSpecError, ValueError):
    """A prompt file is malformed, or a prompt cannot be decoded as asked."""


class ContextLengthError(PromptError):
    """A prompt leaves no room for a new token in the model's context."""


class VocabularyMismatchError(AdaptiveSpecError, ValueError):
    """Verifier and drafter do not share one vocabulary."""


class ModelLoadError(AdaptiveSpecError, OSError):
    """A model or tokenizer cannot be found, loaded, or driven by the decoding core."""


class NumericsError(AdaptiveSpecError, RuntimeError):
    """A model returned logits that are not numbers."""


class DrafterError(AdaptiveSpecError, RuntimeError):
    """A drafter could not begin a sequence."""


class DeviceMemoryError(AdaptiveSpecError, MemoryError):
    """A sequence does not fit into the device's memory, even alone."""


class MissingDependencyError(AdaptiveSpecError, ImportError):
    """An optional dependency that this call needs is not installed."""


class DistillError(AdaptiveSpecError, RuntimeError):
    """A draft cannot be distilled as asked, or a working folder holds something else."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python or torch ran out; torch has an error class for it on some devices only."""
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (
            isinstance(error, RuntimeError)
            and ("can't allocate memory" in text or "out of memory" in text)
        )
    )
