"""Folded batch norms give the same answers."""

from __future__ import annotations

import torch

from napari_pathfm.models.folding import fold_batch_norms


class Net(torch.nn.Module):
    """A convolution with its norm, one that is used twice, and a norm behind a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4)
        self.shared, self.bn2 = torch.nn.Conv2d(4, 4, 1, bias=False), torch.nn.BatchNorm2d(4)
        self.bn3 = torch.nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn(self.conv(x)).relu()
        x = self.bn2(self.shared(x))
        x = self.bn2(self.shared(x))
        return self.bn3(x + 1)


def test_only_what_follows_directly_is_folded() -> None:
    torch.manual_seed(0)
    net = Net().eval()
    for norm in (net.bn, net.bn2, net.bn3):
        norm.running_mean = torch.rand(4)
        norm.running_var = torch.rand(4) + 0.5
        norm.weight.data = torch.rand(4) + 0.5
    images = torch.rand(2, 3, 8, 8)
    before = net(images)
    fold_batch_norms(net, images[:1])
    assert isinstance(net.bn, torch.nn.Identity)
    assert isinstance(net.bn2, torch.nn.BatchNorm2d)
    assert isinstance(net.bn3, torch.nn.BatchNorm2d)
    torch.testing.assert_close(net(images), before, atol=1e-5, rtol=1e-5)
