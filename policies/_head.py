"""A small network that says, of a drafted token's signals, how likely it is to be accepted.

Two layers, as in DISCO: ``P = sigmoid(v . tanh(W z + a) + b)``, z the standardised
``signal_features``. It is plain numbers in a JSON file, written by ``adaptive-spec fit-head``; the
file ``disco_head.json`` beside this one is the default (docs/policies.md says what it was fitted
on).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adaptive_spec._arrays import FloatArray
from adaptive_spec.errors import PolicySpecError
from adaptive_spec.policies._signal_features import FEATURES

DEFAULT_HEAD = Path(__file__).with_name("disco_head.json")

MOST_HIDDEN_UNITS = 256

_FORMAT = "adaptive-spec.head"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Head:
    """Coefficients of the network; ``F`` features, ``H`` hidden units.

    Attributes:
      mean, scale: ``[F]`` of each feature where the head was fitted; ``scale`` > 0.
      hidden_weights: ``[F, H]``; ``hidden_bias``: ``[H]``.
      output_weights: ``[H]``; ``output_bias``: ``[]``.
      fitted_on: where the coefficients come from, for the record; JSON values only.
    """

    mean: FloatArray
    scale: FloatArray
    hidden_weights: FloatArray
    hidden_bias: FloatArray
    output_weights: FloatArray
    output_bias: FloatArray
    fitted_on: dict[str, Any]

    def acceptance(self, features: FloatArray) -> FloatArray:
        """Chance of acceptance, ``[..., F] -> [...]``; NaN where a feature is missing."""
        inputs = (features - self.mean) / self.scale
        hidden = np.tanh(inputs @ self.hidden_weights + self.hidden_bias)
        logit = hidden @ self.output_weights + self.output_bias
        chance: FloatArray = 0.5 * (1.0 + np.tanh(0.5 * logit))
        return chance

    def as_dict(self) -> dict[str, Any]:
        """The head as a JSON object."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "features": list(FEATURES),
            **{name: getattr(self, name).tolist() for name in _COEFFICIENTS},
            "fitted_on": self.fitted_on,
        }


_COEFFICIENTS = (
    "mean",
    "scale",
    "hidden_weights",
    "hidden_bias",
    "output_weights",
    "output_bias",
)


def read_head(path: str | Path) -> Head:
    """Reads a head written by ``adaptive-spec fit-head``.

    Raises:
      PolicySpecError: no such file, not such a file, or coefficients that are missing, badly shaped
        or not finite.
    """
    where = f"head {str(path)!r}"
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicySpecError(
            f"{where}: cannot be read ({error.strerror}); give a file written by "
            "`adaptive-spec fit-head`"
        ) from None
    except (ValueError, RecursionError):
        raise PolicySpecError(f"{where}: not JSON") from None
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise PolicySpecError(f"{where}: not a file written by `adaptive-spec fit-head`")
    if data.get("version") != _VERSION or data.get("features") != list(FEATURES):
        raise PolicySpecError(
            f"{where}: version {data.get('version')} with features {data.get('features')}; this "
            f"release reads version {_VERSION} with {list(FEATURES)}"
        )
    bias = data.get("hidden_bias")
    units = len(bias) if isinstance(bias, list) else 0
    if not 1 <= units <= MOST_HIDDEN_UNITS:
        raise PolicySpecError(
            f"{where}: hidden_bias must be a list of 1 to {MOST_HIDDEN_UNITS} numbers"
        )
    shapes = ((len(FEATURES),),) * 2 + ((len(FEATURES), units), (units,), (units,), ())
    values = {
        name: _coefficients(data.get(name), shape, f"{where}: {name}")
        for name, shape in zip(_COEFFICIENTS, shapes, strict=True)
    }
    if (values["scale"] <= 0).any():
        raise PolicySpecError(f"{where}: scale must hold positive numbers")
    fitted_on = data.get("fitted_on")
    return Head(**values, fitted_on=fitted_on if isinstance(fitted_on, dict) else {})


def _coefficients(value: Any, shape: tuple[int, ...], where: str) -> FloatArray:
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.shape != shape or array.dtype.kind not in "if" or not np.isfinite(array).all():
        raise PolicySpecError(
            f"{where} must hold finite numbers"
            + (f", {' x '.join(map(str, shape))} of them" if shape else ", one of them")
        )
    return array.astype(np.float64)
