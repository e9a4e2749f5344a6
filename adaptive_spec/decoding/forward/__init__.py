"""Forward passes: through the transformers module, or leaner where a model is built like Llama."""

from adaptive_spec.decoding.forward.base import Forward, Pass
from adaptive_spec.decoding.forward.choice import choose_forward
from adaptive_spec.decoding.forward.heads import has_float32_head, with_float32_head
from adaptive_spec.decoding.forward.llama_forward import LlamaForward
from adaptive_spec.decoding.forward.packing import num_weights, prepare
from adaptive_spec.decoding.forward.static import StaticForward, StaticShapes
from adaptive_spec.decoding.forward.transformers_forward import TransformersForward

__all__ = [
    "Forward",
    "LlamaForward",
    "Pass",
    "StaticForward",
    "StaticShapes",
    "TransformersForward",
    "choose_forward",
    "has_float32_head",
    "num_weights",
    "prepare",
    "with_float32_head",
]
