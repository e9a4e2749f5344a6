"""Metrics for Prometheus (extra ``metrics``).

To export a controller where ``prometheus_client`` serves its metrics::

    metrics = Exporter()
    metrics.watch(controller)
    prometheus_client.REGISTRY.register(metrics)

All series carry the label ``engine``, as vLLM's do, by which the controllers of one process are
told apart. Values are read when they are asked for; what is done at every cycle is adding up.
"""

import functools
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from adaptive_spec._optional import require
from adaptive_spec.controller import Controller
from adaptive_spec.errors import ConfigError
from adaptive_spec.operations.metrics import METRICS, PREFIX, Metric
from adaptive_spec.operations.tallies import Histogram, Tallies

_MOST_ENGINES = 256


class Exporter:
    """A collector, in the words of ``prometheus_client``."""

    def __init__(self) -> None:
        """Sets up without controllers.

        Raises:
          MissingDependencyError: prometheus-client is not installed.
        """
        self._core = require("prometheus_client.core", "metrics")
        self._tallies: dict[str, Tallies] = {}

    def watch(self, controller: Controller, engine: str = "0") -> Tallies:
        """Exports a controller, too, from now on; returns what is counted of it.

        Args:
          controller: to be watched.
          engine: value of the label ``engine``.

        Raises:
          ConfigError: there is one of that name, or 256 of others.
        """
        if engine in self._tallies or len(self._tallies) == _MOST_ENGINES:
            raise ConfigError(
                f"engine = {engine!r}: is exported already, or {_MOST_ENGINES} others are; give "
                "each controller of a process a name of its own"
            )
        self._tallies[engine] = Tallies(controller)
        return self._tallies[engine]

    def forget(self, engine: str) -> None:
        """Exports that controller no more; its name is free again."""
        self._tallies.pop(engine, None)

    def describe(self) -> Iterator[Any]:
        """Families without values; a registry asks for their names."""
        for metric in METRICS:
            yield self._family(metric)

    def collect(self) -> Iterator[Any]:
        """All families with their values now."""
        for metric in METRICS:
            family = self._family(metric)
            for engine, tallies in tuple(self._tallies.items()):
                for labels, value in metric.samples(tallies):
                    if isinstance(value, Histogram):
                        family.add_metric([engine, *labels], _buckets(value), value.sum)
                    else:
                        family.add_metric([engine, *labels], value)
            yield family

    def _family(self, metric: Metric) -> Any:
        kind = getattr(self._core, f"{metric.kind.capitalize()}MetricFamily")
        return kind(PREFIX + metric.name, metric.help, labels=["engine", *metric.labels])


@functools.cache
def common_exporter() -> Exporter:
    """The one that is registered where ``prometheus_client`` serves a process's metrics."""
    exporter = Exporter()
    require("prometheus_client", "metrics").REGISTRY.register(exporter)
    return exporter


def host_and_port(address: str) -> tuple[str, int]:
    """Both parts of "HOST:PORT".

    Raises:
      ConfigError: it is not of that form.
    """
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 1 << 16):
        raise ConfigError(f"serve_metrics = {address!r}; give HOST:PORT, such as '127.0.0.1:9464'")
    return host.strip("[]"), int(port)


def serve_metrics(address: str) -> Any:
    """Serves the metrics of the process over HTTP, in a thread of its own; gives the server.

    Raises:
      ConfigError: the address is none, or cannot be listened at.
    """
    host, port = host_and_port(address)
    try:
        server, _ = require("prometheus_client", "metrics").start_http_server(port, host)
    except OSError as error:
        raise ConfigError(
            f"serve_metrics = {address!r}: cannot be listened at ({error.strerror or error}); give "
            "each process an address of its own"
        ) from None
    return server


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound."""
    bounds = [*(repr(float(bound)) for bound in histogram.bounds), "+Inf"]
    return list(zip(bounds, accumulate(map(float, histogram.counts)), strict=True))
