"""The report as one HTML page that needs nothing else: no network, and no server.

All that the page shows lies in it as JSON, and its script puts that into the document as text
alone, never as markup. The page's own policy (CSP) admits one script and one style sheet, by their
digests, and no connections: markup in a prompt could not run even if it got into the document.
"""

import base64
import hashlib
import html
import json
import re
from importlib import resources
from typing import Any

_SCRIPTS = ("dom.js", "charts.js", "viewer.js", "page.js")
_UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def html_page(report: dict[str, Any]) -> str:
    """The page of a report (``Report.as_dict``)."""
    style = _file("page.css")
    script = "\n".join(_file(name) for name in _SCRIPTS)
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src {_digest(script)}; style-src {_digest(style)}"
    )
    parts = {
        "POLICY": policy,
        "TITLE": html.escape(report["title"].encode(errors="replace").decode()),
        "STYLE": style,
        "DATA": embedded(report),
        "SCRIPT": script,
    }
    # In one pass: what a part holds is never taken for the name of another part.
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda name: parts[name[1]], _file("page.html"))


def embedded(data: Any) -> str:
    """JSON that can stand within a ``<script>`` element: nothing in it ends the element.

    Everything but ASCII is escaped too, so that neither line separators (U+2028, U+2029) nor lone
    surrogates can do harm.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_UNSAFE)


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return (resources.files("adaptive_spec.reports") / "assets" / name).read_text(encoding="utf-8")
