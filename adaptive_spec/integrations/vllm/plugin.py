"""An entry point of the group ``vllm.general_plugins``: a wrong file is refused before models load.

vLLM calls it in each of its processes, before it reads its own arguments. It can't choose the
scheduler: vLLM has no hook for that, and its source is not patched here. So ``--scheduler-cls`` is
what puts a policy to work, on the command line or in the file of vLLM's ``--config``.
"""

import logging
import os
from collections.abc import Mapping

from adaptive_spec.integrations.configuration import FILE_VARIABLE, read_configuration
from adaptive_spec.policy import MAX_TAU

_log = logging.getLogger(__name__)


def register(environ: Mapping[str, str] = os.environ) -> None:
    """Reads the file that ``ADAPTIVE_SPEC_CONFIG`` names, if any, and makes its policy once.

    What depends on the engine (its longest draft, its method) is checked by the scheduler.

    Raises:
      AdaptiveSpecError: what is wrong with the file; vLLM does not start then.
    """
    path = environ.get(FILE_VARIABLE)
    if path is None:
        return
    configuration = read_configuration(None, environ)
    configuration.make_policy(MAX_TAU)
    _log.info(
        "adaptive_spec: %s is in order (policy %r); it counts for engines that are given "
        "--scheduler-cls adaptive_spec.integrations.vllm.Scheduler",
        path,
        configuration.policy,
    )
