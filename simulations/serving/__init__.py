"""Serving simulated: requests that come, wait, share passes and leave, over exact traces."""

from adaptive_spec.simulations.serving.arrival_log import ArrivalLog, read_arrivals
from adaptive_spec.simulations.serving.arrivals import Arrivals, ClosedLoop, OpenLoop, RequestStream
from adaptive_spec.simulations.serving.figures import Figures, Percentiles, TauOverTime
from adaptive_spec.simulations.serving.quantiles import quantile_interval
from adaptive_spec.simulations.serving.served import RequestLog, Served, StepLog
from adaptive_spec.simulations.serving.server import Requests, serve

__all__ = [
    "ArrivalLog",
    "Arrivals",
    "ClosedLoop",
    "Figures",
    "OpenLoop",
    "Percentiles",
    "RequestLog",
    "RequestStream",
    "Requests",
    "Served",
    "StepLog",
    "TauOverTime",
    "quantile_interval",
    "read_arrivals",
    "serve",
]
