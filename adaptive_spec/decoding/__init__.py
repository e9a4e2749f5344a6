"""The decoding core: speculative decoding of transformers models, driven by a policy.

Needs the extra ``adaptive-spec[hf]`` (torch and transformers). One cycle is
``DecodingEngine._cycle``; the rest of the package is what that page stands on.
"""

from adaptive_spec.decoding.drafters import (
    ComposedDrafter,
    Draft,
    Drafter,
    DraftModelDrafter,
    DraftRequest,
    KnownOutputs,
    PromptLookupDrafter,
    SyntheticDrafter,
    early_exit_drafter,
    early_exit_model,
)
from adaptive_spec.decoding.engine import DecodingEngine
from adaptive_spec.decoding.forward import prepare
from adaptive_spec.decoding.kv_cache import KVCache
from adaptive_spec.decoding.requests import (
    Completion,
    CycleRecord,
    Event,
    Failed,
    Finished,
    FinishReason,
    Request,
    TokensEmitted,
)
from adaptive_spec.decoding.runner import ModelRunner
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.stopping import StopRules
from adaptive_spec.decoding.verification import (
    CoupledNoise,
    Divergence,
    GreedyMatch,
    RejectionSampling,
    TypicalAcceptance,
    VerificationRule,
    explain_divergence,
    make_rule,
)

__all__ = [
    "Completion",
    "ComposedDrafter",
    "CoupledNoise",
    "CycleRecord",
    "DecodingEngine",
    "Divergence",
    "Draft",
    "DraftModelDrafter",
    "DraftRequest",
    "Drafter",
    "Event",
    "Failed",
    "FinishReason",
    "Finished",
    "GreedyMatch",
    "KVCache",
    "KnownOutputs",
    "ModelRunner",
    "PromptLookupDrafter",
    "RejectionSampling",
    "Request",
    "SamplingParameters",
    "StopRules",
    "SyntheticDrafter",
    "TokensEmitted",
    "TypicalAcceptance",
    "VerificationRule",
    "early_exit_drafter",
    "early_exit_model",
    "explain_divergence",
    "make_rule",
    "prepare",
]
