"""A known model and a round device."""

from typing import Any

from adaptive_spec.roofline import Hardware

LLAMA_8B: dict[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
"""What the config.json of Llama 3.1 8B says of its shape."""

ROUND = Hardware("round", {"bfloat16": 100.0}, bandwidth_gb_s=1000.0, link_gb_s=100.0, kernel_us=0)
