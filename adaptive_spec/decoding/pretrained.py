"""transformers models and tokenizers by name; whatever goes wrong becomes one clear error."""

from pathlib import Path
from typing import Any

import torch

from adaptive_spec.errors import ConfigError, ModelLoadError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_HUB_TIMEOUT_S = 10.0


def parse_target(dtype: str, device: str | None) -> tuple[torch.dtype, torch.device]:
    """dtype and device by name; the first CUDA device, or else the CPU, where none is named.

    Raises:
      ConfigError: no such dtype or device.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype = {dtype!r}; allowed are {', '.join(DTYPES)}")
    try:
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=target).cpu()
    except Exception as error:
        raise ConfigError(
            f"device = {device!r}: torch cannot use it here ({one_line(error)}); cpu always works"
        ) from error
    return DTYPES[dtype], target


def load_model(path: str, name: str, dtype: str, device: str | None) -> Any:
    """A causal language model, ready to run.

    Args:
      path: folder or hub id.
      name: what to call it in errors.
      dtype: float32, bfloat16 or float16.
      device: torch device; None as in ``parse_target``.

    Raises:
      ConfigError: unknown dtype or device.
      ModelLoadError: not found, or cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    precision, target = parse_target(dtype, device)
    if not (path and Path(path).is_dir()):
        _require_on_hub(name)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype=precision, attn_implementation="sdpa"
        )
        return model.to(target).eval()
    except Exception as error:
        raise ModelLoadError(f"model {name!r} cannot be loaded: {one_line(error)}") from error


def _require_on_hub(name: str) -> None:
    """Asks the hub for a model once; transformers would go on asking for half a minute.

    Raises:
      ModelLoadError: it is not there, the hub cannot be reached, or the name cannot be an id.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    try:
        if not isinstance(try_to_load_from_cache(name, "config.json"), str):
            get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=_HUB_TIMEOUT_S)
    except Exception as error:
        raise ModelLoadError(
            f"model {name!r}: there is no such folder, and the Hugging Face hub does not give it "
            f"({one_line(error)})"
        ) from error


def load_tokenizer(path: str) -> Any:
    """The tokenizer saved with a model; None where there is none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path)
    except Exception:  # noqa: BLE001 - many kinds are raised, and none says "there is none"
        return None


def one_line(error: Exception) -> str:
    """The first line of an error's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
