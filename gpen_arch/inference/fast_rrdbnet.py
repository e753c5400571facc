"""RRDBNet for inference: the same function as ``networks.rrdbnet.RRDBNet``, without concatenating.

A dense block's convolution k reads the outputs of all before it. Read the other way round, each
source feeds all convolutions after it, and a convolution is the sum of its sources' shares. The
arithmetic is the same, and nothing is concatenated. A GPU computes a source's shares in all
convolutions at once (``FastDenseBlock``); a CPU adds each share to its sum while it is computed
(``SummingDenseBlock``).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.rrdbnet import LEAKY_SLOPE, RESIDUAL_SCALE, RRDB, ResidualDenseBlock, RRDBNet
from .half import finite_
from .kernels import channels_last, conv_add_, conv_leaky_relu


class FastRRDBNet(nn.Module):
    """Upscale (B, 3, H, W) in 0..1 to (B, 3, scale H, scale W); any float type in and out."""

    def __init__(self, network: RRDBNet, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.config = network.config
        self.dtype = dtype
        self.conv_first = FastConv(network.conv_first, dtype)
        summing = device.type == "cpu" and dtype is not torch.float16
        dense_block = SummingDenseBlock if summing else FastDenseBlock
        self.body = nn.ModuleList(
            dense_block(block, dtype)
            for rrdb in network.body
            if isinstance(rrdb, RRDB)
            for block in (rrdb.rdb1, rrdb.rdb2, rrdb.rdb3)
        )
        self.conv_body = FastConv(network.conv_body, dtype)
        self.conv_up1 = FastConv(network.conv_up1, dtype)
        self.conv_up2 = FastConv(network.conv_up2, dtype)
        self.conv_hr = FastConv(network.conv_hr, dtype)
        self.conv_last = FastConv(network.conv_last, dtype)

    def forward(self, x: Tensor) -> Tensor:
        pixels = F.pixel_unshuffle(x.to(self.dtype), self.config.unshuffle)
        feat = first = self.conv_first(channels_last(pixels))
        for index in range(0, len(self.body), 3):
            inner = feat
            for block in self.body[index : index + 3]:
                inner = block(inner)
            feat = finite_(torch.add(feat, inner, alpha=RESIDUAL_SCALE))
        feat = finite_(self.conv_body(feat).add_(first))
        for conv in (self.conv_up1, self.conv_up2):
            feat = conv(F.interpolate(feat, scale_factor=2, mode="nearest"), activate=True)
        return self.conv_last(self.conv_hr(feat, activate=True)).to(x.dtype)


class FastConv(nn.Module):
    """A 3x3 convolution with bias, channels-last, optionally activated."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        assert conv.bias is not None
        self.register_buffer("weight", channels_last(conv.weight.detach().to(dtype, copy=True)))
        self.register_buffer("bias", conv.bias.detach().to(dtype, copy=True))

    def forward(self, x: Tensor, *, activate: bool = False) -> Tensor:
        if activate:
            return finite_(conv_leaky_relu(x, self.weight, self.bias, padding=1))
        return finite_(F.conv2d(x, self.weight, self.bias, padding=1))


def convolutions(block: ResidualDenseBlock) -> tuple[nn.Conv2d, ...]:
    return block.conv1, block.conv2, block.conv3, block.conv4, block.conv5


class SummingDenseBlock(nn.Module):
    """Five convolutions of a dense block, a sum for each; (B, C, H, W) to the same.

    Not for half precision, which wants every share bounded before it is added.
    """

    def __init__(self, block: ResidualDenseBlock, dtype: torch.dtype) -> None:
        super().__init__()
        convs = convolutions(block)
        for target, conv in enumerate(convs):
            widths = [block.conv1.in_channels, *(each.out_channels for each in convs[:target])]
            for source, share in enumerate(conv.weight.detach().split(widths, dim=1)):
                self.register_buffer(f"weight{source}{target}", channels_last(share.to(dtype)))
            assert conv.bias is not None
            self.register_buffer(f"bias{target}", conv.bias.detach().to(dtype, copy=True))

    def forward(self, x: Tensor) -> Tensor:
        totals = [
            F.conv2d(x, self.get_buffer(f"weight0{t}"), self.get_buffer(f"bias{t}"), padding=1)
            for t in range(5)
        ]
        for source in range(1, 5):
            mine = F.leaky_relu_(totals.pop(0), LEAKY_SLOPE)
            for target, total in enumerate(totals, start=source):
                conv_add_(total, mine, self.get_buffer(f"weight{source}{target}"), padding=1)
        return torch.add(x, totals[0], alpha=RESIDUAL_SCALE)


class FastDenseBlock(nn.Module):
    """Five convolutions of a dense block, grouped by source; (B, C, H, W) to the same."""

    bias: Tensor

    def __init__(self, block: ResidualDenseBlock, dtype: torch.dtype) -> None:
        super().__init__()
        convs = convolutions(block)
        self.grow = block.conv1.out_channels
        ends = [conv.in_channels for conv in convs]
        for source, end in enumerate(ends):
            start = ends[source - 1] if source else 0
            share = torch.cat([conv.weight.detach()[:, start:end] for conv in convs[source:]])
            self.register_buffer(f"weight{source}", channels_last(share.to(dtype)))
        biases = [conv.bias.detach() for conv in convs if conv.bias is not None]
        self.register_buffer("bias", torch.cat(biases).to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        total = finite_(F.conv2d(x, self.get_buffer("weight0"), self.bias, padding=1))
        for source in range(1, 5):
            mine, others = total[:, : self.grow], total[:, self.grow :]
            mine = channels_last(F.leaky_relu(mine, LEAKY_SLOPE))
            share = finite_(F.conv2d(mine, self.get_buffer(f"weight{source}"), padding=1))
            total = share.add_(others)
        return finite_(torch.add(x, total, alpha=RESIDUAL_SCALE))
