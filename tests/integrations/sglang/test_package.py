"""Against SGLang's own code, where it is at hand: installed, or unpacked without what it needs.

To have it at hand without a GPU and its dependencies::

    pip download --no-deps sglang==0.5.23 && unzip -q sglang-*.whl -d FOLDER
    ADAPTIVE_SPEC_SGLANG=FOLDER python -m pytest tests/integrations/sglang

Its modules are loaded one by one, from their files; what they import and is not there (torch
extensions, the server) is stood in for.
"""

import ast
import importlib.util
import inspect
import json
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_spec.errors import ConfigError
from adaptive_spec.integrations.sglang import register

POLICY = "adaptive_spec.integrations.sglang.policy"
SPECULATIVE = "sglang.srt.speculative"


def folder_of_sglang() -> Path | None:
    given = os.environ.get("ADAPTIVE_SPEC_SGLANG")
    if given:
        return Path(given) / "sglang"
    found = importlib.util.find_spec("sglang")
    return None if found is None or found.origin is None else Path(found.origin).parent


FOLDER = folder_of_sglang()

pytestmark = pytest.mark.skipif(
    FOLDER is None, reason="SGLang is not at hand: set ADAPTIVE_SPEC_SGLANG (see the docstring)"
)


def source(name: str) -> Path:
    assert FOLDER is not None
    return FOLDER.joinpath(*name.split(".")[1:]).with_suffix(".py")


@pytest.fixture
def sglang(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """SGLang's modules that matter here, by their last name."""

    def stand_in(name: str, **contents: Any) -> types.ModuleType:
        module = types.ModuleType(name)
        module.__path__ = []
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    def load(name: str) -> types.ModuleType:
        spec = importlib.util.spec_from_file_location(name, source(name))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    for package in ("sglang", "sglang.srt", "sglang.srt.plugins", SPECULATIVE):
        stand_in(package)
    stand_in("sglang.srt.arg_groups")
    stand_in("sglang.srt.arg_groups.overrides", resolved_view=None, resolving_view=None)
    parallel = types.SimpleNamespace(tp_size=1, tp_rank=0)
    stand_in("sglang.srt.runtime_context", attn_dp_enabled_of=None, get_parallel=lambda: parallel)
    stand_in(f"{SPECULATIVE}.spec_info", SpeculativeAlgorithm=None)
    stand_in("sglang.srt.utils", log_info_on_rank0=lambda logger, text: None)
    modules: dict[str, Any] = {
        "registry": load("sglang.srt.plugins.hook_registry"),
        "params": load(f"{SPECULATIVE}.adaptive_spec_params"),
        "state": load(f"{SPECULATIVE}.adaptive_runtime_state"),
        "parallel": parallel,
    }
    yield modules
    modules["registry"].HookRegistry.reset()


@pytest.fixture
def configured(
    sglang: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A server that is configured for a policy, its plugins loaded."""
    file = tmp_path / "adaptive.toml"
    file.write_text('policy = "hazard"\ncosts = "draft=0.1,verify=0.02"\n', encoding="utf-8")
    monkeypatch.setenv("ADAPTIVE_SPEC_CONFIG", str(file))
    register()
    sglang["registry"].HookRegistry.apply_hooks()
    return sglang


class Worker:
    """A worker of SGLang, as its ``AdaptiveController`` needs it."""

    def __init__(self) -> None:
        self.speculative_num_steps = 3
        self.built: list[tuple[int, Any]] = []

    def build_adaptive_runtime_state(
        self, speculative_num_steps: int, speculative_num_draft_tokens: int, cuda_graph_bs: Any
    ) -> Any:
        assert speculative_num_draft_tokens == speculative_num_steps + 1
        self.built.append((speculative_num_steps, cuda_graph_bs))
        return types.SimpleNamespace(speculative_num_steps=speculative_num_steps)

    def apply_runtime_state(self, state: Any) -> None:
        self.speculative_num_steps = state.speculative_num_steps


def test_every_member_of_the_protocol_is_there_with_its_parameters(
    sglang: dict[str, Any],
) -> None:
    protocol = sglang["state"].AdaptiveSpecPolicy
    own: Any = importlib.import_module(POLICY).AdaptiveSpecPolicy
    members = [name for name in vars(protocol) if not name.startswith("_")]
    assert set(members) == {
        "candidate_steps",
        "set_cuda_graph_bs",
        "get_steps_for_batch",
        "on_verify_complete",
        "cuda_graph_bs_for_step",
    }
    for name in members:
        if name != "candidate_steps":
            theirs = inspect.signature(getattr(protocol, name)).parameters
            assert list(inspect.signature(getattr(own, name)).parameters) == list(theirs)
    made = inspect.signature(sglang["params"].AdaptiveSpeculativeParams)
    assert list(inspect.signature(own).parameters) == list(made.parameters)


def test_it_is_made_as_the_worker_makes_it() -> None:
    own: Any = importlib.import_module(POLICY).AdaptiveSpecPolicy
    tree = ast.parse(source(f"{SPECULATIVE}.eagle_worker_v2").read_text(encoding="utf-8"))
    [call] = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "AdaptiveSpeculativeParams"
    ]
    assert not call.args
    inspect.signature(own).bind(**{str(one.arg): None for one in call.keywords})


def test_the_plugin_takes_the_place_of_sglang_s_own_rule(configured: dict[str, Any]) -> None:
    own: Any = importlib.import_module(POLICY).AdaptiveSpecPolicy
    assert configured["params"].AdaptiveSpeculativeParams is own


def test_without_a_configuration_nothing_changes(
    sglang: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ADAPTIVE_SPEC_CONFIG", raising=False)
    before = sglang["params"].AdaptiveSpeculativeParams
    register()
    sglang["registry"].HookRegistry.apply_hooks()
    assert sglang["params"].AdaptiveSpeculativeParams is before


def test_its_controller_switches_the_worker_by_the_policy(
    configured: dict[str, Any], tmp_path: Path
) -> None:
    tiers = tmp_path / "tiers.json"
    tiers.write_text(json.dumps({"1": {"candidate_steps": [0, 1, 3, 5]}}), encoding="utf-8")
    made = configured["params"].AdaptiveSpeculativeParams(initial_steps=3, cfg_path=str(tiers))
    worker = Worker()
    controller = configured["state"].AdaptiveController(worker, made)
    initial = types.SimpleNamespace(speculative_num_steps=3)
    controller.register(initial)
    controller.init_states(cuda_graph_bs=[1, 8])
    assert worker.built == [(0, [1, 8]), (1, [1, 8]), (5, [1, 8])]
    random, late = np.random.default_rng(0), None
    for chance in (0.95, 0.02):
        taken = []
        for _ in range(200):
            controller.activate_step_by_batch(6)
            taken.append(worker.speculative_num_steps)
            if late is not None:  # the outcome of the round before
                controller.on_verify_complete(late, batch_size=6)
            runs = random.geometric(1 - chance, 6) - 1
            late = np.minimum(runs, taken[-1]).tolist()
        assert np.mean(taken[-50:]) > 4 if chance > 0.5 else np.mean(taken[-50:]) < 0.5


def test_sglang_s_own_tiers_have_what_is_asked_for(configured: dict[str, Any]) -> None:
    made = configured["params"].AdaptiveSpeculativeParams(initial_steps=3, cfg_path=None)
    assert made.candidate_steps == [0, 1, 3, 5, 7]


def test_clocks_are_left_alone_where_ranks_must_agree(configured: dict[str, Any]) -> None:
    assert configured["params"].AdaptiveSpeculativeParams(3)._clock is not None
    configured["parallel"].tp_size = 2
    assert configured["params"].AdaptiveSpeculativeParams(3)._clock is None


def test_a_wrong_configuration_stops_the_start(configured: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--speculative-num-steps = 4 must be among them"):
        configured["params"].AdaptiveSpeculativeParams(initial_steps=4, cfg_path=None)
