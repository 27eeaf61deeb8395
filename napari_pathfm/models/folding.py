"""Folding batch norms into the convolutions before them: the same answers from fewer passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def fold_batch_norms(network: torch.nn.Module, example: torch.Tensor) -> None:
    """Fold every batch norm that directly follows a convolution into it, in place.

    In evaluation mode a batch norm is a factor and a summand for each channel, which the
    convolution can apply itself. A pass over `example` shows which follows which; the activation
    that timm keeps inside a batch norm stays in its place.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode, in float32, with its weights.
    example : torch.Tensor
        ``(1, 3, h, w)`` float32.
    """
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    if not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules()):
        return
    names = {id(module): name for name, module in network.named_modules()}
    for conv, norm in _pairs(network, example):
        conv.weight, conv.bias = (
            torch.nn.Parameter(fused.detach(), requires_grad=False)
            for fused in fuse_conv_bn_weights(
                conv.weight,
                conv.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
        )
        parent, _, leaf = names[id(norm)].rpartition(".")
        setattr(network.get_submodule(parent), leaf, getattr(norm, "act", torch.nn.Identity()))


def _pairs(network: torch.nn.Module, example: torch.Tensor) -> list[tuple[Any, Any]]:
    """Convolutions with the batch norm that takes what they give, each used only once."""
    import torch

    made: dict[int, tuple[Any, Any]] = {}
    pairs: list[tuple[Any, Any]] = []

    def convolved(conv: Any, _: Any, output: Any) -> None:
        made[id(output)] = conv, output  # keeps the output alive, so its id stays its own

    def normed(norm: Any, inputs: Any) -> None:
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], norm))

    hooks = [
        module.register_forward_hook(convolved)
        if isinstance(module, torch.nn.Conv2d)
        else module.register_forward_pre_hook(normed)
        for module in network.modules()
        if isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d)
    ]
    with torch.inference_mode():
        network(example)
    for hook in hooks:
        hook.remove()
    used = [id(module) for pair in pairs for module in pair]
    return [(c, n) for c, n in pairs if used.count(id(c)) == used.count(id(n)) == 1]
