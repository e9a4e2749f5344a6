"""Whatever happens to a controller, those who watch it add up and do not fail."""

from typing import Any

import numpy as np
from hypothesis import given

from adaptive_spec import make_policy
from adaptive_spec.observers import Observer
from adaptive_spec.operations.logs import Log
from adaptive_spec.operations.metrics import METRICS
from adaptive_spec.operations.notices import Notices
from adaptive_spec.operations.requests import RequestRecord, Requests
from adaptive_spec.operations.tallies import Histogram, Tallies
from adaptive_spec.testing.histories import History, Play
from adaptive_spec.testing.strategies import histories


class Sums(Observer):
    """Adds up outcomes, one by one."""

    def __init__(self) -> None:
        self.drafted = self.accepted = self.emitted = self.cycles = 0

    def observed(self, rows: Any, outcome: Any) -> None:
        self.cycles += rows.size
        self.drafted += int(outcome.num_draft_tokens.sum())
        self.accepted += int(outcome.num_accepted_tokens.sum())
        self.emitted += int(outcome.num_emitted_tokens.sum())


@given(histories())
def test_counts_agree_with_each_other_and_with_the_books(history: History) -> None:
    play, sums = Play(make_policy("ewma"), history), Sums()
    controller = play.controller
    ended: list[RequestRecord] = []
    tallies, logs = Tallies(controller), Requests(controller, ended.append)
    notices = Notices(controller, Log(per_second=0.0, burst=0))
    controller.watch(sums)
    list(play)
    controller.release(controller.running, finished=False)
    assert controller._observers._all == (tallies, logs, notices, sums), "none has failed"
    assert tallies.passes == tallies.tau.sum() == sums.cycles
    assert tallies.draft_tokens.sum() == sums.drafted
    assert tallies.accepted_tokens.sum() == tallies.accepted_at.sum() == sums.accepted
    assert tallies.emitted_tokens == sums.emitted
    assert tallies.fallback_passes <= tallies.passes

    finished = [record for record in ended if record.finished]
    ledger = controller.ledger
    assert len(finished) == ledger.requests
    assert sum(record.passes for record in finished) == ledger.passes
    assert sum(record.emitted_tokens for record in finished) == ledger.tokens
    assert len(ended) - len(finished) == tallies.cancelled
    assert sum(record.draft_tokens for record in ended) == sums.drafted
    assert sum(record.accepted_tokens for record in ended) == sums.accepted
    assert all(record.fallback_passes <= record.passes for record in ended)


@given(histories())
def test_every_metric_can_be_read_at_any_time(history: History) -> None:
    play = Play(make_policy("hazard"), history)
    tallies = Tallies(play.controller)
    for _ in play:
        for metric in METRICS:
            for labels, value in metric.samples(tallies):
                assert len(labels) == len(metric.labels)
                total = value.sum if isinstance(value, Histogram) else value
                assert metric.kind == "gauge" or (np.isfinite(total) and total >= 0), metric.name
