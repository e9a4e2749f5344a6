"""What engines say of their drafts, read into traces as far as it goes: a module per format.

Every format names what it lacks for exact replay, and what can be said nevertheless
(``Imported``); what a trace from it can tell goes with it (``TraceInfo.exactness``).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from adaptive_spec.errors import ConfigError
from adaptive_spec.traces.imports.flashspec import read_flashspec
from adaptive_spec.traces.imports.imported import Imported, Settings, Totals
from adaptive_spec.traces.imports.llama_timings import read_llama_timings
from adaptive_spec.traces.imports.prometheus import read_llama_metrics, read_vllm_metrics
from adaptive_spec.traces.imports.run_lengths import read_run_lengths
from adaptive_spec.traces.imports.sglang import read_sglang
from adaptive_spec.traces.imports.vllm import read_vllm

__all__ = ["FORMATS", "Format", "Imported", "Settings", "Totals", "import_file"]

_STEPS = frozenset({"drafting", "unknown"})


@dataclass(frozen=True)
class Format:
    """A format that can be read.

    Attributes:
      read: gives what a file holds.
      what: the file, in a few words.
      heeds: the settings that matter to it, besides names.
    """

    read: Callable[[Path, Settings], Imported]
    what: str
    heeds: frozenset[str] = frozenset()


FORMATS: dict[str, Format] = {
    "run-lengths": Format(
        read_run_lengths, "run lengths by position, JSON Lines", frozenset({"longest_draft"})
    ),
    "vllm": Format(read_vllm, "vLLM's responses with per-request metrics", _STEPS),
    "vllm-metrics": Format(read_vllm_metrics, "what vLLM says on /metrics"),
    "sglang": Format(read_sglang, "SGLang's responses with meta_info"),
    "llama-timings": Format(read_llama_timings, "llama-server's responses with timings"),
    "llama-metrics": Format(read_llama_metrics, "what llama-server says on /metrics"),
    "flashspec": Format(read_flashspec, "flashspec's step records", _STEPS),
}
"""By name."""


def import_file(name: str, path: str | Path, settings: Settings | None = None) -> Imported:
    """Reads a file.

    Args:
      name: of the format, a key of ``FORMATS``.
      path: the file.
      settings: what the file does not say.

    Raises:
      ConfigError: no such format, or a setting that it does not heed.
      TraceError: the file cannot be read, or something in it is wrong; says what and where.
    """
    if name not in FORMATS:
        raise ConfigError(f"format {name!r}: there is none; there are {', '.join(FORMATS)}")
    settings = settings or Settings()
    for field in fields(Settings):
        given = getattr(settings, field.name) != field.default
        if given and field.name not in FORMATS[name].heeds | {"verifier", "drafter"}:
            option = field.name.replace("_", "-")
            able = [other for other, form in FORMATS.items() if field.name in form.heeds]
            raise ConfigError(
                f"{option}: {name} does not heed it; leave it out (it is for {', '.join(able)})"
            )
    if settings.unknown == "accepted" and settings.drafting == "block":
        raise ConfigError(
            "unknown = 'accepted': it matters where drafting is 'token' (a drafter that proposes "
            "token by token from the text before it); give that too, or leave it out"
        )
    return FORMATS[name].read(Path(path), settings)
