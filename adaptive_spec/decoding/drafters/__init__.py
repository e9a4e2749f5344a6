"""Drafters: an independent draft model, prompt lookup, and the verifier's own first layers."""

from adaptive_spec.decoding.drafters.base import Draft, Drafter, KeepDrafting
from adaptive_spec.decoding.drafters.draft_model import DraftModelDrafter
from adaptive_spec.decoding.drafters.early_exit import early_exit_drafter, early_exit_model
from adaptive_spec.decoding.drafters.prompt_lookup import PromptLookupDrafter

__all__ = [
    "Draft",
    "DraftModelDrafter",
    "Drafter",
    "KeepDrafting",
    "PromptLookupDrafter",
    "early_exit_drafter",
    "early_exit_model",
]
