"""BERT (Devlin et al., 2019), as transformers builds it, for the text towers of other models."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def build_bert(pooler: bool = True, **config: Any) -> nn.Module:
    """Build a BERT without its weights, on torch's current device.

    Parameters
    ----------
    pooler : bool
        With the layer that sums up a text at its first token.
    **config
        Those of transformers' ``BertConfig`` that are not BERT-base's.
    """
    import transformers

    library: Any = transformers  # its classes have no types
    network: nn.Module = library.BertModel(library.BertConfig(**config), add_pooling_layer=pooler)
    embeddings: Any = network.embeddings
    # Counted, not learned: no file has them, so they have to be there before it is read.
    count = embeddings.position_embeddings.num_embeddings
    embeddings.position_ids = torch.arange(count, device="cpu")[None]
    embeddings.token_type_ids = torch.zeros(1, count, dtype=torch.long, device="cpu")
    return network


def read_out(network: Any, ids: torch.Tensor, padding: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """Run a BERT on texts, ``(N, L)`` int64 and bool.

    Returns
    -------
    first : torch.Tensor
        ``(N, width)``: the last layer's first token.
    pooled : torch.Tensor or None
        ``(N, width)``: what the pooler makes of it.
    """
    device = network.embeddings.word_embeddings.weight.device
    found = network(ids.to(device), attention_mask=(~padding).to(device))
    return found.last_hidden_state[:, 0], found.pooler_output
