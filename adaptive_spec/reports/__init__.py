"""Reports: results as one page to look at, and as figures for papers.

``read_results`` reads files of every kind, ``replayed`` runs policies on the traces among them,
``make_report`` turns both into records, ``html_page`` and ``save_figures`` show these.
"""

from adaptive_spec.reports.figures import save_figures
from adaptive_spec.reports.intake import Results, read_results
from adaptive_spec.reports.page import html_page
from adaptive_spec.reports.replays import Replayed, Settings, replayed
from adaptive_spec.reports.report import Report, make_report
from adaptive_spec.reports.viewer import Pieces

__all__ = [
    "Pieces",
    "Replayed",
    "Report",
    "Results",
    "Settings",
    "html_page",
    "make_report",
    "read_results",
    "replayed",
    "save_figures",
]
