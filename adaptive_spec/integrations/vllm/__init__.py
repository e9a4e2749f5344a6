r"""Policies in vLLM, by configuration alone (docs/vllm.md).

::

    vllm serve MODEL --speculative-config ... \
      --scheduler-cls adaptive_spec.integrations.vllm.Scheduler

vLLM itself is imported with ``Scheduler`` only: the rest of this package is plain Python.
"""

from typing import Any

__all__ = ["Scheduler"]


def __getattr__(name: str) -> Any:
    if name == "Scheduler":
        from adaptive_spec.integrations.vllm.scheduler import Scheduler

        return Scheduler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
