"""A small causal transformer."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Causal self-attention and two layers around GELU, each normalised before and added after.

    Queries, keys and values have a matrix each, for methods that treat matrices as wholes.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.before_attention, self.before_layers = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries, self.keys = nn.Linear(width, width), nn.Linear(width, width)
        self.values, self.mix = nn.Linear(width, width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """From and to (batch, length, width)."""
        x = x + self.dropout(self.attend(self.before_attention(x)))
        branch = self.narrow(F.gelu(self.widen(self.before_layers(x))))
        added: Tensor = x + self.dropout(branch)
        return added

    def attend(self, x: Tensor) -> Tensor:
        """What each position takes from itself and those before it."""
        queries, keys, values = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.queries, self.keys, self.values)
        )
        taken = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        mixed: Tensor = self.mix(taken.transpose(1, 2).flatten(2))
        return mixed


class Transformer(nn.Module):
    """A causal transformer: embeddings of tokens and positions, pre-norm blocks, a layer.

    Args:
        vocabulary: kinds of tokens, >= 1.
        length: tokens of an input, >= 1.
        out_shape: of an output, (values,) of the last position, or (length, values) of each.
        width: of the embeddings, a multiple of `heads`.
        heads: of the attention, >= 1.
        depth: blocks, >= 1.
        dropout: the share of each branch's outputs that is dropped in training, in [0, 1).

    Weights are drawn as in GPT-2, from torch's global generator: normally with standard deviation
    0.02, those that end a branch with 0.02 / √(2·depth); biases are 0.

    Raises:
        ValueError: a setting outside its range.

    References: Vaswani et al., Attention Is All You Need, 2017, https://arxiv.org/abs/1706.03762;
    Radford et al., Language Models are Unsupervised Multitask Learners, 2019 (the norm before each
    branch, the initial weights).
    """

    outer_layers = ("tokens", "positions", "head")

    def __init__(
        self,
        vocabulary: int,
        length: int,
        out_shape: Sequence[int],
        width: int = 64,
        heads: int = 4,
        depth: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("heads", heads), ("depth", depth)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value}")
        if width % heads:
            raise ValueError(f"width must be a multiple of heads={heads}, got {width}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        if len(out_shape) != 1 and (len(out_shape), out_shape[0]) != (2, length):
            raise ValueError(
                f"a transformer gives outputs of shape (values,) or ({length}, values), not "
                f"{tuple(out_shape)}"
            )
        self.each = len(out_shape) == 2
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, out_shape[-1])
        self._draw(0.02, 0.02 / (2 * depth) ** 0.5)

    def _draw(self, std: float, ending: float) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                ends = name.endswith((".mix", ".narrow"))
                nn.init.normal_(module.weight, std=ending if ends else std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Outputs, shape (batch, *out_shape), of tokens of shape (batch, length)."""
        places = torch.arange(tokens.size(1), device=tokens.device)
        x = self.blocks(self.dropout(self.tokens(tokens) + self.positions(places)))
        outputs: Tensor = self.head(self.norm(x if self.each else x[:, -1]))
        return outputs
