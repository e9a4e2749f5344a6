"""Drafters: a draft model, prompt lookup, the verifier's own first layers, compositions of them."""

from adaptive_spec.decoding.draft import Draft
from adaptive_spec.decoding.drafters.base import Drafter, DraftRequest, KeepDrafting
from adaptive_spec.decoding.drafters.composed import ComposedDrafter
from adaptive_spec.decoding.drafters.draft_model import DraftModelDrafter
from adaptive_spec.decoding.drafters.early_exit import early_exit_drafter, early_exit_model
from adaptive_spec.decoding.drafters.prompt_lookup import PromptLookupDrafter
from adaptive_spec.decoding.drafters.synthetic import KnownOutputs, SyntheticDrafter

__all__ = [
    "ComposedDrafter",
    "Draft",
    "DraftModelDrafter",
    "DraftRequest",
    "Drafter",
    "KeepDrafting",
    "KnownOutputs",
    "PromptLookupDrafter",
    "SyntheticDrafter",
    "early_exit_drafter",
    "early_exit_model",
]
