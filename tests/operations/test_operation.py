"""One record sets up all that goes around a policy."""

import logging
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from adaptive_spec import ConfigError, ConstantCosts, Controller, PolicySpecError, make_policy
from adaptive_spec.operations.checkpoints import Checkpoint
from adaptive_spec.operations.operation import Attached, Operation
from adaptive_spec.operations.prometheus import Exporter, common_exporter, serve_metrics
from adaptive_spec.operations.split import Split
from tests.operations.driving import admit, cycle

pytest.importorskip("prometheus_client")


def started(operation: Operation, spec: str = "hazard", **options: Any) -> Any:
    """A controller, and what watches it."""
    policy = operation.around(make_policy(spec))
    controller = Controller(policy, costs=ConstantCosts(draft=0.1))
    return controller, operation.attach(controller, **options)


def serve(controller: Controller, *ids: str) -> None:
    rows = admit(controller, *ids)
    for _ in range(4):
        cycle(controller, 2)
    controller.release(rows)


def test_nothing_is_done_unasked() -> None:
    policy = make_policy("hazard")
    assert Operation().around(policy) is policy
    controller, attached = started(Operation())
    assert attached == Attached(None, None, None)
    assert controller._observers._all == ()


def test_everything_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "learned.npz"
    operation = Operation(
        metrics=True,
        logs=True,
        checkpoint=str(file),
        save_every_s=1e-9,
        shadow="ewma",
        trial="fixed:tau=2",
        trial_share=0.5,
    )
    exporter = Exporter()
    controller, attached = started(operation, engine="a", exporter=exporter)
    with caplog.at_level(logging.INFO, "adaptive_spec.operations"):
        serve(controller, *(f"request {i}" for i in range(12)))
    assert attached.tallies.passes == 48
    assert attached.shadow.report().cycles == 48
    arms = attached.trial.report()
    assert arms.control.requests + arms.trial.requests == 12
    assert arms.trial.draft_tokens == 2 * arms.trial.passes
    assert [record.getMessage() for record in caplog.records].count("request") == 12
    assert Checkpoint.load(file, controller.policy).header.requests == 12


def test_what_was_learned_is_restored(tmp_path: Path) -> None:
    file = tmp_path / "learned.npz"
    operation = Operation(checkpoint=str(file), save_every_s=1e-9)
    first, _ = started(operation)
    serve(first, "a", "b")
    second, _ = started(operation)
    assert second.state.shared.tested.tolist() == first.state.shared.tested.tolist()
    with pytest.raises(ConfigError, match="policy = 'hazard', this controller has 'marginal'"):
        started(operation, "marginal")


def test_metrics_go_where_the_process_serves_them() -> None:
    registry = pytest.importorskip("prometheus_client").REGISTRY
    controller, _ = started(Operation(metrics=True), engine="of this test")
    try:
        serve(controller, "a")
        name, labels = "adaptive_spec:spec_decode_num_passes_total", {"engine": "of this test"}
        assert registry.get_sample_value(name, labels) == 4
    finally:
        common_exporter().forget("of this test")
    assert registry.get_sample_value(name, labels) is None
    started(Operation(metrics=True), engine="of this test")
    common_exporter().forget("of this test")


def test_metrics_are_served_where_nobody_else_does() -> None:
    common_exporter()
    server = serve_metrics("127.0.0.1:0")
    host, port = server.server_address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=20) as answer:
            assert b"# HELP adaptive_spec:recent_speedup " in answer.read()
        with pytest.raises(ConfigError, match=r"cannot be listened at .* an address of its own"):
            started(Operation(serve_metrics=f"127.0.0.1:{port}"), engine="twice")
    finally:
        server.shutdown()
        server.server_close()
    for wrong in ("9464", "localhost", ":9464", "host:port", "host:70000"):
        with pytest.raises(ConfigError, match="give HOST:PORT"):
            Operation(serve_metrics=wrong)


def test_wrong_records_are_refused() -> None:
    with pytest.raises(ConfigError, match="save_every_s = 0; it must be above 0"):
        Operation(save_every_s=0)
    with pytest.raises(ConfigError, match=r"trial_share = 2; it must be in \[0, 1\]"):
        Operation(trial_share=2)
    with pytest.raises(PolicySpecError, match="unknown policy 'theirs'"):
        started(Operation(trial="theirs"))
    with pytest.raises(PolicySpecError, match="unknown policy 'theirs'"):
        started(Operation(shadow="theirs"))
    assert isinstance(Operation(trial="ewma").around(make_policy("auto")), Split)
