"""A leaner forward pass for models built like Llama: Llama, Mistral, Qwen2, Qwen3 and the like.

It calls the model's own linear layers and does what lies between them with fewer operations:
rotary tables computed once, one mask per pass and none where every token sees everything, grouped
attention without repeated keys and values, final norm and head only where logits are wanted.

Whether a model is built like that is told from its modules: every one must be known here, and
carry no hooks. ``choose_forward`` then compares logits before anything relies on it.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from adaptive_spec.decoding.compatibility import attention_kind
from adaptive_spec.decoding.forward.base import Forward, Pass
from adaptive_spec.decoding.forward.linears import Part
from adaptive_spec.decoding.kv_cache import KVCache

Map: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

_TABLE_STEP = 512


class LlamaForward(Forward):
    """Runs a model whose modules ``fits`` knows."""

    def __init__(self, model: Any) -> None:
        """Wraps a model that fits."""
        base = model.base_model
        self._embed, self._head = base.embed_tokens, model.get_output_embeddings()
        self._layers = [_Layer(layer) for layer in base.layers]
        self._norm = _rms_norm(base.norm)
        self._rotary = _RotaryTable(base.rotary_emb)

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether the model consists of the modules that this pass knows how to replace."""
        base = model.base_model
        if attention_kind(model.config) != "sdpa" or base is model:
            return False
        head = model.get_output_embeddings()
        known = (
            _children(model) == {model.base_model_prefix, "lm_head"}
            and head is model.lm_head
            and _children(base) == {"embed_tokens", "layers", "norm", "rotary_emb"}
            and isinstance(base.embed_tokens, nn.Embedding)
            and hasattr(base.norm, "variance_epsilon")
            and all(map(_is_layer, base.layers))
        )
        if not known or len({weight.device for weight in model.parameters()}) != 1:
            return False
        replaced = [model, base, base.norm, base.layers]
        for layer in base.layers:
            attention, mlp = layer.self_attn, layer.mlp
            replaced += [layer, attention, mlp, *_norms(layer)]
        return not any(map(_is_altered, replaced))

    def fill(self, tokens: Pass, cache: KVCache) -> None:
        self._hidden(tokens, cache)

    def logits(
        self, tokens: Pass, cache: KVCache, wanted: torch.Tensor | None = None
    ) -> torch.Tensor:
        hidden = self._hidden(tokens, cache)
        if wanted is not None and hidden.shape[1] > 1:
            hidden = hidden.take_along_dim(wanted[..., None], dim=1)
        logits: torch.Tensor = self._head(self._norm(hidden))
        return logits

    def _hidden(self, tokens: Pass, cache: KVCache) -> torch.Tensor:
        """Hidden states ``[b, width, hidden]`` before the final norm."""
        hidden: torch.Tensor = self._embed(tokens.ids)
        cos, sin = self._rotary.at(tokens.positions, cache.capacity_tokens, hidden)
        mask = None
        if not tokens.sees_all:
            mask = hidden.new_zeros(()).masked_fill(~tokens.visible()[:, None], float("-inf"))
        for i, layer in enumerate(self._layers):
            hidden = layer(hidden, cos, sin, mask, cache, i)
        return hidden


class _Layer:
    """One decoder layer."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._before_attention = _rms_norm(layer.input_layernorm)
        self._before_mlp = _rms_norm(layer.post_attention_layernorm)
        self._qkv = _together([attention.q_proj, attention.k_proj, attention.v_proj])
        self._out = attention.o_proj
        self._gate_up = _together([mlp.gate_proj, mlp.up_proj])
        self._down, self._activation = mlp.down_proj, mlp.act_fn
        self._head_norms: tuple[Map, Map] | None = None
        if hasattr(attention, "q_norm"):
            self._head_norms = _rms_norm(attention.q_norm), _rms_norm(attention.k_norm)
        self._size, self._scale = attention.head_dim, attention.scaling
        self._groups = attention.num_key_value_groups

    def __call__(
        self,
        hidden: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        mask: torch.Tensor | None,
        cache: KVCache,
        index: int,
    ) -> torch.Tensor:
        b, width, _ = hidden.shape
        heads = self._qkv(self._before_attention(hidden)).view(b, width, -1, self._size)
        kv_heads = heads.shape[2] // (self._groups + 2)
        rotated, values = heads.split_with_sizes([heads.shape[2] - kv_heads, kv_heads], dim=2)
        if self._head_norms is not None:
            queries, keys = rotated.split_with_sizes([kv_heads * self._groups, kv_heads], dim=2)
            rotated = torch.cat([self._head_norms[0](queries), self._head_norms[1](keys)], dim=2)
        rotated = torch.addcmul(rotated * cos, rotated.roll(self._size // 2, -1), sin)
        queries, keys = rotated.split_with_sizes([kv_heads * self._groups, kv_heads], dim=2)
        keys, values = cache.update(keys.transpose(1, 2), values.transpose(1, 2), index)
        mixed = _attend(queries, keys, values, mask, self._scale)
        hidden = hidden + self._out(mixed)
        gate, up = self._gate_up(self._before_mlp(hidden)).chunk(2, -1)
        result: torch.Tensor = hidden + self._down(self._activation(gate) * up)
        return result


def _attend(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
) -> torch.Tensor:
    """Grouped attention, with a group's heads as further queries of their key/value head.

    Args:
      queries: ``[b, width, heads, dim]``.
      keys: ``[b, kv_heads, reach, dim]``.
      values: likewise.
      mask: ``[b, 1, width, reach]`` added to the scores; None to see everything.
      scale: of the scores.

    Returns:
      ``[b, width, heads * dim]``.
    """
    b, width, heads, size = queries.shape
    kv_heads = keys.shape[1]
    groups = heads // kv_heads
    grouped = queries.view(b, width, kv_heads, groups, size).permute(0, 2, 3, 1, 4)
    folded = grouped.reshape(b, kv_heads, groups * width, size)
    if mask is not None and groups > 1:
        mask = mask.expand(b, groups, width, -1).reshape(b, 1, groups * width, -1)
    mixed = F.scaled_dot_product_attention(folded, keys, values, attn_mask=mask, scale=scale)
    unfolded = mixed.view(b, kv_heads, groups, width, size).permute(0, 3, 1, 2, 4)
    return unfolded.reshape(b, width, heads * size)


class _RotaryTable:
    """Cosines and sines by position, as the model's own module gives them."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._cos = self._sin = torch.empty(0, 0)

    def at(
        self, positions: torch.Tensor, most: int, like: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both at these positions ``[b, width]``, all below ``most``: ``[b, width, 1, dim]``.

        The sines' first half is negated: ``x * cos + x.roll(dim / 2) * sin`` rotates.
        """
        if self._cos.shape[0] < most or self._cos.dtype != like.dtype:
            self._extend(most, like)
        return self._cos[positions][:, :, None], self._sin[positions][:, :, None]

    def _extend(self, positions: int, like: torch.Tensor) -> None:
        size = -(-positions // _TABLE_STEP) * _TABLE_STEP
        cos, sin = self._module(like, torch.arange(size, device=like.device)[None])
        half = cos.shape[-1] // 2
        self._cos, self._sin = cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], -1)


def _together(modules: Sequence[nn.Module]) -> Map:
    """What the modules give for one input, side by side; in one go where they were merged."""
    first = modules[0]
    if isinstance(first, Part) and first.begins(modules):
        return first.whole
    return lambda states: torch.cat([module(states) for module in modules], -1)


def _rms_norm(module: Any) -> Map:
    weight, epsilon = module.weight, module.variance_epsilon
    return lambda states: F.rms_norm(states, weight.shape, weight, epsilon)


def _is_layer(layer: Any) -> bool:
    if _children(layer) != {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}:
        return False
    attention, mlp = layer.self_attn, layer.mlp
    return (
        _children(attention) - {"q_norm", "k_norm"} == {"q_proj", "k_proj", "v_proj", "o_proj"}
        and hasattr(attention, "q_norm") == hasattr(attention, "k_norm")
        and all(hasattr(attention, name) for name in _ATTENTION_FIELDS)
        and _children(mlp) == {"gate_proj", "up_proj", "down_proj", "act_fn"}
        and all(hasattr(norm, "variance_epsilon") for norm in _norms(layer))
    )


_ATTENTION_FIELDS = ("head_dim", "scaling", "num_key_value_groups")


def _norms(layer: Any) -> list[Any]:
    attention = layer.self_attn
    inner = [attention.q_norm, attention.k_norm] if hasattr(attention, "q_norm") else []
    return [layer.input_layernorm, layer.post_attention_layernorm, *inner]


def _children(module: nn.Module) -> set[str]:
    return {name for name, _ in module.named_children()}


def _is_altered(module: nn.Module) -> bool:
    """Whether somebody hooked into the module, or gave it a forward of its own."""
    hooks = module._forward_hooks or module._forward_pre_hooks  # noqa: SLF001 - no public way
    return bool(hooks) or "forward" in vars(module)
