"""Policies in SGLang's adaptive speculation, by configuration alone (docs/sglang.md).

``register`` is an entry point of the group ``sglang.srt.plugins``: SGLang calls it in every
process. It changes nothing unless ``ADAPTIVE_SPEC_CONFIG`` names a configuration.
"""

import os

from adaptive_spec.integrations.configuration import FILE_VARIABLE

_REPLACED = "sglang.srt.speculative.adaptive_spec_params.AdaptiveSpeculativeParams"


def register() -> None:
    """Puts ``policy.AdaptiveSpecPolicy`` in the place of SGLang's own rule, if one is configured.

    What is wrong with the configuration is found when SGLang makes its policy, at start: it logs
    and survives what a plugin raises here.
    """
    if not os.environ.get(FILE_VARIABLE):
        return
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    from adaptive_spec.integrations.sglang.policy import AdaptiveSpecPolicy

    HookRegistry.register(_REPLACED, AdaptiveSpecPolicy, HookType.REPLACE)
