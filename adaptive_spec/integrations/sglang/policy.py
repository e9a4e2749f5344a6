"""What SGLang makes in the place of its own ``AdaptiveSpeculativeParams``.

The only module here that asks SGLang anything: the steps that it has buffers for, and its ranks.
"""

import dataclasses
from collections.abc import Sequence

from adaptive_spec.constraints import Constraints
from adaptive_spec.controller import Controller
from adaptive_spec.costs import ConstantCosts
from adaptive_spec.errors import ConfigError
from adaptive_spec.integrations.configuration import Configuration, read_configuration
from adaptive_spec.integrations.safety import SafePolicy
from adaptive_spec.integrations.sglang.batches import BatchSteps
from adaptive_spec.integrations.trial import require_working
from adaptive_spec.operations.operation import Operation
from adaptive_spec.policy import MAX_TAU

_COSTS = ConstantCosts(draft=0.05, verify=0.02)
"""Where none are configured: an EAGLE head is a layer or two of its verifier."""


class AdaptiveSpecPolicy(BatchSteps):
    """A policy of this package behind SGLang's ``AdaptiveSpecPolicy`` protocol."""

    def __init__(self, initial_steps: int, cfg_path: str | None = None) -> None:
        """Is made by SGLang's worker, at start.

        Args:
          initial_steps: ``--speculative-num-steps``.
          cfg_path: ``--speculative-adaptive-config``, whose ``candidate_steps`` count (of all batch
            sizes together); SGLang's own where there is none.

        Raises:
          ConfigError: a configuration that cannot be carried out, with the reason.
        """
        from sglang.srt.runtime_context import get_parallel
        from sglang.srt.speculative.adaptive_spec_params import resolve_candidate_steps_from_config

        candidates = resolve_candidate_steps_from_config(cfg_path)
        configuration, parallel = read_configuration(None), get_parallel()
        controller = controller_for(configuration, candidates, initial_steps)
        # Ranks run the same batch and have to decide alike, and their clocks differ.
        alone = int(parallel.tp_size) == 1
        attach(configuration.operation, controller, 0 if alone else int(parallel.tp_rank), alone)
        super().__init__(controller, candidates, initial_steps, timed=alone)


def controller_for(
    configuration: Configuration, candidate_steps: Sequence[int], initial_steps: int
) -> Controller:
    """A controller as configured, of a policy that cannot fail the engine.

    Args:
      configuration: of the policy.
      candidate_steps: steps that SGLang has buffers for.
      initial_steps: that it begins with.

    Raises:
      ConfigError: with the reason, and what to change.
    """
    widths = configuration.widths or tuple(candidate_steps)
    _require_supported(configuration, widths, candidate_steps, initial_steps)
    longest = max(candidate_steps)
    policy = configuration.make_policy(longest)
    if policy.looks_inside_draft and policy.needs_signals:
        raise ConfigError(
            f"policy = {configuration.policy!r} looks inside the draft as it is written, which "
            "SGLang does not show; take one that decides beforehand, such as 'auto'"
        )
    configuration = dataclasses.replace(configuration, widths=widths, max_draft_tokens=longest)
    require_working(configuration.controller(policy, longest, _COSTS))
    return configuration.controller(SafePolicy(policy, initial_steps), longest, _COSTS)


def attach(operation: Operation, controller: Controller, rank: int, alone: bool) -> None:
    """Has a rank's controller watched; one rank is watched for all, since they decide alike.

    Raises:
      ConfigError: a checkpoint where there are several ranks, or one that does not fit.
    """
    if operation.checkpoint is not None and not alone:
        raise ConfigError(
            "operation: checkpoint: with tensor parallelism every rank would restore the file at "
            "a time of its own, and ranks must begin alike; leave it out"
        )
    if rank == 0:
        operation.attach(controller, engine="sglang")


def _require_supported(
    configuration: Configuration,
    widths: Sequence[int],
    candidate_steps: Sequence[int],
    initial_steps: int,
) -> None:
    known = sorted(candidate_steps)
    if 0 not in known or max(known) > MAX_TAU or initial_steps not in known:
        raise ConfigError(
            f"candidate_steps = {known}: 0 and --speculative-num-steps = {initial_steps} must be "
            f"among them, and none above {MAX_TAU}; give --speculative-adaptive-config a file "
            'like {"1": {"candidate_steps": [0, 1, 2, 3, 5]}}'
        )
    strange = sorted(set(widths) - set(known))
    if strange or 0 not in widths:
        raise ConfigError(
            f"widths = {list(widths)}: 0 must be among them, and {strange or 'no other'} "
            f"beyond candidate_steps = {known}; change either"
        )
    promised = configuration.by_class.constraints
    if configuration.classes or any(one != Constraints() for one in promised):
        raise ConfigError(
            "constraints and classes: SGLang does not tell its policy which requests are in a "
            "batch, so that nothing can be promised of one; leave them out"
        )
    operation = configuration.operation
    if operation.trial is not None or operation.logs or operation.spans:
        raise ConfigError(
            "operation: trial, logs and spans: SGLang does not tell its policy which requests are "
            "in a batch, so that there is none to try, log or trace; leave them out"
        )
    if configuration.books is not None or configuration.max_draft_tokens is not None:
        raise ConfigError(
            "books and max_draft_tokens: in SGLang there are no books of requests, and the longest "
            "draft is the largest of widths; leave them out"
        )
