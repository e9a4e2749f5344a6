"""Metrics as Prometheus scrapes them."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from adaptive_spec import (
    ConfigError,
    ConstantCosts,
    Constraints,
    Controller,
    PassBudget,
    __version__,
    make_policy,
)
from adaptive_spec.operations.metrics import METRICS, PREFIX
from adaptive_spec.operations.prometheus import Exporter
from tests.operations.driving import Planned, admit, cycle

prometheus_client = pytest.importorskip("prometheus_client")
parser = pytest.importorskip("prometheus_client.parser")

CHAT = Constraints(budget=PassBudget(average_passes=1.0, hard=False))


class Scrape:
    """A registry of one controller, scraped and parsed."""

    def __init__(self, **options: Any) -> None:
        costs = ConstantCosts(draft=0.1, verify=0.0, plain_ms=10.0)
        self.policy = Planned()
        self.controller = Controller(self.policy, costs=costs, max_draft_tokens=5, **options)
        self.exporter = Exporter()
        self.exporter.watch(self.controller)
        self.registry = prometheus_client.CollectorRegistry()
        self.registry.register(self.exporter)

    def samples(self) -> dict[tuple[str, str], float]:
        """Value by name, and by what follows the label ``engine``."""
        text = prometheus_client.generate_latest(self.registry).decode()
        found = {}
        for family in parser.text_string_to_metric_families(text):
            for sample in family.samples:
                labels = {k: v for k, v in sample.labels.items() if k != "engine"}
                key = sample.name.removeprefix(PREFIX), ",".join(labels.values())
                assert key not in found
                found[key] = sample.value
        return found


def test_a_scrape_parses_and_says_what_was_counted() -> None:
    scrape = Scrape(constraints={"chat": CHAT, "batch": Constraints()})
    rows = admit(scrape.controller, "a", "b")
    for accepted in (2, 3):
        cycle(scrape.controller, accepted, draft_ms=6.0, verify_ms=20.0)
    scrape.controller.release(rows[:1])
    seen = scrape.samples()
    wanted = {
        ("spec_decode_num_drafts_total", "drafter"): 4,
        ("spec_decode_num_draft_tokens_total", "drafter"): 12,
        ("spec_decode_num_accepted_tokens_total", "drafter"): 10,
        ("spec_decode_num_accepted_tokens_per_pos_total", "2"): 2,
        ("spec_decode_num_emitted_tokens_total", ""): 14,
        ("spec_decode_num_fallback_passes_total", ""): 0,
        ("tau_bucket", "2.0"): 0,
        ("tau_bucket", "3.0"): 4,
        ("tau_bucket", "+Inf"): 4,
        ("tau_sum", ""): 12,
        ("draft_seconds_total", ""): 0.012,
        ("verify_seconds_total", ""): 0.04,
        ("predicted_verify_seconds_total", ""): 0.02,
        ("recent_cycle_time_ratio", ""): 2.0,
        ("recent_draft_time_share", ""): 6 / 26,
        ("recent_speedup", ""): 70 / 26,
        ("policy_seconds_count", "update"): 2,
        ("requests_running", ""): 1,
        ("ledger_requests_total", "chat"): 1,
        ("ledger_passes_total", "chat"): 2,
        ("ledger_tokens_total", "batch"): 0,
        ("ledger_over_passes", "chat"): 1.0,
        ("infeasible", "chat"): 0,
        ("policy_failed", ""): 0,
    }
    assert {key: seen[key] for key in wanted} == pytest.approx(wanted, abs=1e-2)
    assert seen["pass_price", "chat"] > 0.0
    assert seen["pass_price", "batch"] == 0.0
    assert math.isnan(seen["least_passes", "chat"])


def test_every_metric_is_there_before_the_first_request_and_no_series_is_added_later() -> None:
    scrape = Scrape()
    before = scrape.samples()
    for metric in METRICS:
        for name in metric.exported:
            assert any(key[0] == name.removeprefix(PREFIX) for key in before), name
    for i in range(40):
        rows = admit(scrape.controller, f"request-{i}")
        cycle(scrape.controller, i % 4)
        scrape.controller.release(rows)
    assert set(scrape.samples()) == set(before), "labels must not grow with requests"


def test_a_failed_policy_is_seen() -> None:
    scrape = Scrape()
    scrape.policy.failure = ValueError("NaN")  # type: ignore[attr-defined]
    assert scrape.samples()["policy_failed", ""] == 1


def test_controllers_of_one_process_are_told_apart() -> None:
    exporter, registry = Exporter(), prometheus_client.CollectorRegistry()
    for engine in ("0", "1"):
        controller = Controller(make_policy("fixed:tau=2"), costs=ConstantCosts())
        exporter.watch(controller, engine)
        if engine == "1":
            admit(controller, "a")
            cycle(controller, 1)
    registry.register(exporter)
    name = f"{PREFIX}spec_decode_num_passes_total"
    assert [registry.get_sample_value(name, {"engine": e}) for e in ("0", "1")] == [0, 1]
    info = {"engine": "1", "policy": "fixed:tau=2", "version": __version__}
    assert registry.get_sample_value(f"{PREFIX}info", info) == 1
    with pytest.raises(ConfigError, match="engine = '1': is exported already"):
        exporter.watch(controller, "1")


def test_the_guide_names_every_metric() -> None:
    guide = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
    text = guide.read_text(encoding="utf-8")
    rows = re.findall(rf"^\| `{PREFIX}(\w+)` \| (\w+) \|", text, flags=re.MULTILINE)
    assert rows == [(metric.name, metric.kind) for metric in METRICS]
