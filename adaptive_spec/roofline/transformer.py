"""How much a decoder-only transformer reads and computes, by its shape."""

import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptive_spec.errors import CostsError

_ASPECT = 128
"""Hidden size over number of layers, where only the number of weights is known: that of Llama 3.1
8B and of many others. Kaplan et al. (2020), figure 5: losses hardly depend on it."""
_KV_WIDTH = 1024
"""Width of keys, and of values: 8 heads of 128, as grouped-query attention (Ainslie et al. 2023)
has in most models of 1e9 to 1e11 weights."""
_VOCABULARY = 128_000
_LEAST, _MOST = 1e3, 1e14
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


@dataclass(frozen=True)
class Transformer:
    """Shape of a dense model.

    Attributes:
      weights: numbers that every pass reads and multiplies by: all parameters but an embedding of
        the input that is not the head's.
      layers: number of layers; ``hidden``: width of the residual stream.
      query_width: heads times their size; ``kv_width``: the same of keys, and of values.
      inner: numbers that go into and come out of a layer's inner activation, for each token.
      vocabulary: logits of a token.
    """

    weights: float
    layers: int
    hidden: int
    query_width: int
    kv_width: int
    inner: int
    vocabulary: int

    def __post_init__(self) -> None:
        _require_size(self.weights)
        for name in ("layers", "hidden", "query_width", "kv_width", "inner", "vocabulary"):
            if getattr(self, name) < 1:
                raise CostsError(f"transformer: {name} = {getattr(self, name)}; it must be >= 1")

    @classmethod
    def of_size(cls, weights: float) -> "Transformer":
        """The usual shape of a model of which only the number of weights is known.

        From weights = 12 layers hidden^2 (Kaplan et al. 2020, equation 2.1) and a usual ratio of
        the two.

        Raises:
          CostsError: the number is out of range.
        """
        _require_size(weights)
        hidden = max(round((weights * _ASPECT / 12) ** (1 / 3)), 1)
        layers = max(round(hidden / _ASPECT), 1)
        kv_width = min(hidden, _KV_WIDTH)
        return cls(weights, layers, hidden, hidden, kv_width, 8 * hidden, _VOCABULARY)

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> "Transformer":
        """The shape that a model's ``config.json`` states, in the keys of Llama and its kin.

        A layer has query, key, value and output projections and a gated inner layer (three
        matrices); biases and norms are left out.

        Raises:
          CostsError: a key is missing or malformed, or the model has experts.
        """
        for key in _EXPERTS:
            if isinstance(config.get(key), int) and config[key] > 1:
                raise CostsError(
                    f"config: {key} = {config[key]}; how many experts a pass reads is not "
                    "modelled, give costs measured by `adaptive-spec profile`"
                )
        hidden, layers = _count(config, "hidden_size"), _count(config, "num_hidden_layers")
        heads = _count(config, "num_attention_heads")
        kv_heads = _count(config, "num_key_value_heads", heads)
        head = _count(config, "head_dim", hidden // heads)
        inner, vocabulary = _count(config, "intermediate_size"), _count(config, "vocab_size")
        query_width, kv_width = heads * head, kv_heads * head
        a_layer = hidden * (2 * query_width + 2 * kv_width + 3 * inner)
        weights = float(layers * a_layer + vocabulary * hidden)
        return cls(weights, layers, hidden, query_width, kv_width, 3 * inner, vocabulary)

    @classmethod
    def of_file(cls, path: str | Path) -> "Transformer":
        """As ``of_config``, from a ``config.json`` or the folder that has it.

        Raises:
          CostsError: as there, or the file cannot be read.
        """
        path = Path(path)
        file = path / "config.json" if path.is_dir() else path
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise CostsError(f"config {str(file)!r}: cannot be read ({error.strerror})") from None
        except (ValueError, RecursionError):
            raise CostsError(f"config {str(file)!r}: not JSON") from None
        if not isinstance(config, dict):
            raise CostsError(f"config {str(file)!r}: not a JSON object")
        return cls.of_config(config)

    @property
    def kv_numbers(self) -> int:
        """Numbers in the cache for each token: a key and a value in every layer."""
        return 2 * self.layers * self.kv_width

    @property
    def activation_numbers(self) -> int:
        """Numbers that go into and come out of matrix products, for each token of a pass."""
        projections = 4 * self.hidden + 2 * self.query_width + 2 * self.kv_width + self.inner
        return self.layers * projections + self.hidden + self.vocabulary


def _require_size(weights: float) -> None:
    if not _LEAST <= weights <= _MOST:
        raise CostsError(
            f"transformer: weights = {weights:g}; allowed are {_LEAST:g} to {_MOST:g}, as in 70e9"
        )


def _count(config: Mapping[str, Any], key: str, otherwise: int | None = None) -> int:
    value = config.get(key)
    if value is None and otherwise is not None:
        return otherwise
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if number < 1:
        raise CostsError(
            f"config: {key} = {value!r}; expected an integer of at least 1, as in the config.json "
            "of Llama and its kin"
        )
    return number
