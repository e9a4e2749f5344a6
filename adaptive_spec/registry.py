"""Policies by name: built-in and third-party ones, found through one entry-point group.

A package offers a policy by declaring, in its ``pyproject.toml``::

    [project.entry-points."adaptive_spec.policies"]
    my-rule = "my_package.my_module:MyRule"

after which ``make_policy("my-rule:field=1")`` and every command accept it.
"""

import dataclasses
import functools
import importlib.metadata
import inspect
from typing import Any

from adaptive_spec._specs import build, spec_text, split_spec, unknown_name
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policy import Policy

GROUP = "adaptive_spec.policies"


def policy_names() -> list[str]:
    """Names of all installed policies."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)})


@functools.cache
def policy_class(name: str) -> type[Policy[Any, Any]]:
    """The policy registered under a name.

    Raises:
      PolicySpecError: no such policy, or what is registered cannot be loaded or is not a policy.
    """
    points = [p for p in importlib.metadata.entry_points(group=GROUP) if p.name == name]
    if not points:
        raise PolicySpecError(unknown_name("policy", name, policy_names()))
    targets = sorted({point.value for point in points})
    if len(targets) > 1:
        raise PolicySpecError(
            f"policy {name!r} is registered more than once ({', '.join(targets)}); "
            "uninstall one of the packages"
        )
    try:
        cls = points[0].load()
    except Exception as error:
        raise PolicySpecError(
            f"policy {name!r}: {targets[0]} cannot be loaded ({error})"
        ) from error
    if not (inspect.isclass(cls) and issubclass(cls, Policy) and dataclasses.is_dataclass(cls)):
        raise PolicySpecError(
            f"policy {name!r}: {targets[0]} is not a dataclass derived from adaptive_spec.Policy"
        )
    return cls


def make_policy(spec: str | Policy[Any, Any]) -> Policy[Any, Any]:
    """A policy from a spec such as ``"ewma:smoothing=0.3,margin=1"``; a policy is passed through.

    Raises:
      PolicySpecError: unknown name or field, or a value that the policy refuses.
    """
    if isinstance(spec, Policy):
        return spec
    if not isinstance(spec, str):
        raise PolicySpecError(
            f"policy {spec!r}: give a spec such as 'fixed:tau=3', or an instance of a Policy"
        )
    name, fields = split_spec(spec, PolicySpecError)
    return build(policy_class(name), name, fields, PolicySpecError)


def policy_spec(policy: Policy[Any, Any]) -> str:
    """The spec that builds this policy again (its class name where it is not registered)."""
    target = f"{type(policy).__module__}:{type(policy).__qualname__}"
    for point in importlib.metadata.entry_points(group=GROUP):
        if point.value == target:
            return spec_text(point.name, policy)
    return spec_text(type(policy).__name__, policy)


def summary(cls: type[Policy[Any, Any]]) -> str:
    """One line on what a policy does: the first of its docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]
