"""Sets up schedulers that are to be refused; writes what each says.

``python -m tests.integrations.vllm.refused FOLDER RESULT CASES``: cases are a JSON object from
names to what differs from what would work: arguments of the engine, the configuration, and what is
changed in vLLM's own afterwards, since setting it up so would need other devices.
"""

import json
import sys
from pathlib import Path
from typing import Any


def main(folder: str, cases: dict[str, Any]) -> dict[str, str]:
    from vllm.engine.arg_utils import EngineArgs

    said = {}
    for name, case in cases.items():
        speculation = {"method": "draft_model", "model": f"{folder}/draft"}
        engine = {
            "speculative_config": {**speculation, "num_speculative_tokens": 4},
            **case.get("engine", {}),
        }
        config = EngineArgs(
            model=f"{folder}/verifier",
            dtype="float32",
            enforce_eager=True,
            scheduler_cls="adaptive_spec.integrations.vllm.Scheduler",
            additional_config={"adaptive_spec": case.get("configuration", {})},
            **engine,
        ).create_engine_config()
        for part, fields in case.get("changed", {}).items():
            for field, value in fields.items():
                setattr(getattr(config, part), field, value)
        try:
            config.scheduler_config.get_scheduler_cls()(vllm_config=config)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is written down
            said[name] = f"{type(error).__name__}: {error}"
    return said


if __name__ == "__main__":
    found = main(sys.argv[1], json.loads(sys.argv[3]))
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
