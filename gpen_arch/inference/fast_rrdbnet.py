"""RRDBNet for inference: ``networks.rrdbnet.RRDBNet`` with other leaves.

A dense block's convolution k reads the outputs of all before it. Read the other way round, each
source feeds all convolutions after it, and a convolution is the sum of its sources' shares. The
arithmetic is the same, and nothing is concatenated. A GPU computes a source's shares in all
convolutions at once (``GroupedDenseBlock``); a CPU adds each share to its sum while it is computed
(``SummingDenseBlock``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device.layout import arranged
from ..networks.rrdbnet import RESIDUAL_SCALE, RRDB, ResidualDenseBlock, RRDBNet
from ..ops.bias_act import LEAKY_SLOPE
from .forms import Form, Target
from .half import finite_
from .kernels import conv_add_, conv_leaky_relu
from .leaves import with_leaves


class FastRRDBNet(nn.Module):
    """Upscale (B, 3, H, W) in 0..1 to (B, 3, scale H, scale W); any float type in and out."""

    def __init__(self, network: RRDBNet, target: Target) -> None:
        super().__init__()
        self.config = network.config
        self.dtype = target.dtype
        body = (rrdb for rrdb in network.body if isinstance(rrdb, RRDB))
        with torch.device("meta"):
            empty = RRDBNet(network.config)
        self.network = with_leaves(
            empty,
            {
                "conv_first": FastConv(network.conv_first, target),
                "body": nn.Sequential(*(FastRRDB(rrdb, target) for rrdb in body)),
                "conv_body": FastConv(network.conv_body, target),
                "conv_up1": FastConv(network.conv_up1, target, activate=True),
                "conv_up2": FastConv(network.conv_up2, target, activate=True),
                "conv_hr": FastConv(network.conv_hr, target, activate=True),
                "conv_last": FastConv(network.conv_last, target),
                "lrelu": nn.Identity(),  # the convolutions before it have done it
            },
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.to(self.dtype)).to(x.dtype)


class FastConv(nn.Module):
    """A 3x3 convolution with bias, optionally activated; (B, I, H, W) to O."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d, target: Target, *, activate: bool = False) -> None:
        super().__init__()
        assert conv.bias is not None
        dtype = target.dtype
        self.activate, self.fused = activate, target.allows(Form.FUSED)
        self.register_buffer("weight", target.weights(conv.weight.detach()))
        self.register_buffer("bias", conv.bias.detach().to(dtype, copy=True))

    def forward(self, x: Tensor) -> Tensor:
        x = arranged(x)
        if self.activate:
            y = conv_leaky_relu(x, self.weight, self.bias, padding=1, fused=self.fused)
        else:
            y = F.conv2d(x, self.weight, self.bias, padding=1)
        return finite_(y)


class FastRRDB(nn.Module):
    """Three dense blocks inside one more residual, added in one pass and kept finite."""

    def __init__(self, rrdb: RRDB, target: Target) -> None:
        super().__init__()
        blocks = (rrdb.rdb1, rrdb.rdb2, rrdb.rdb3)
        self.blocks = nn.Sequential(*(fastest_dense_block(block, target) for block in blocks))

    def forward(self, x: Tensor) -> Tensor:
        return finite_(torch.add(x, self.blocks(x), alpha=RESIDUAL_SCALE))


def fastest_dense_block(block: ResidualDenseBlock, target: Target) -> nn.Module:
    """(B, C, H, W) to the same, in the form that is fastest where it will run."""
    if target.takes(Form.SUMMED):
        return SummingDenseBlock(block, target)
    if target.takes(Form.GROUPED):
        return GroupedDenseBlock(block, target)
    return concatenating_dense_block(block, target)


def convolutions(block: ResidualDenseBlock) -> tuple[nn.Conv2d, ...]:
    return block.conv1, block.conv2, block.conv3, block.conv4, block.conv5


def concatenating_dense_block(block: ResidualDenseBlock, target: Target) -> ResidualDenseBlock:
    """The plain block with fast convolutions."""
    convs = [
        FastConv(conv, target, activate=conv is not block.conv5) for conv in convolutions(block)
    ]
    with torch.device("meta"):
        empty = ResidualDenseBlock(block.conv1.in_channels, block.conv1.out_channels)
    leaves = {f"conv{index}": conv for index, conv in enumerate(convs, start=1)}
    return with_leaves(empty, {**leaves, "lrelu": nn.Identity()})


def split_by_source(block: ResidualDenseBlock) -> list[list[Tensor]]:
    """For each of the five sources, its share of the weights of every convolution that reads it."""
    convs = convolutions(block)
    widths = [block.conv1.in_channels, *(conv.out_channels for conv in convs[:-1])]
    shares = [
        conv.weight.detach().split(widths[: index + 1], dim=1) for index, conv in enumerate(convs)
    ]
    return [[share[source] for share in shares[source:]] for source in range(len(convs))]


def biases_of(block: ResidualDenseBlock) -> list[Tensor]:
    return [conv.bias.detach() for conv in convolutions(block) if conv.bias is not None]


def frozen(tensors: Iterable[Tensor], target: Target) -> nn.ParameterList:
    """Copies of weights (O, I, k, k) and biases (O,), as the target takes them."""
    copies = (
        target.weights(tensor) if tensor.ndim == 4 else tensor.to(target.dtype, copy=True)
        for tensor in tensors
    )
    return nn.ParameterList(nn.Parameter(copy, requires_grad=False) for copy in copies)


class SummingDenseBlock(nn.Module):
    """Five convolutions of a dense block, a sum for each; (B, C, H, W) to the same.

    Not for half precision, which wants every share bounded before it is added.
    """

    def __init__(self, block: ResidualDenseBlock, target: Target) -> None:
        super().__init__()
        self.fused = target.allows(Form.FUSED)
        first, *others = split_by_source(block)
        self.first = frozen(first, target)
        self.others = nn.ModuleList(frozen(weights, target) for weights in others)
        self.biases = frozen(biases_of(block), target)

    def forward(self, x: Tensor) -> Tensor:
        totals = [
            F.conv2d(x, weight, bias, padding=1)
            for weight, bias in zip(self.first, self.biases, strict=True)
        ]
        for weights in self.others:
            mine = F.leaky_relu_(totals.pop(0), LEAKY_SLOPE)
            for total, weight in zip(totals, cast("nn.ParameterList", weights), strict=True):
                conv_add_(total, mine, weight, padding=1, fused=self.fused)
        return torch.add(x, totals[0], alpha=RESIDUAL_SCALE)


class GroupedDenseBlock(nn.Module):
    """Five convolutions of a dense block, grouped by source; (B, C, H, W) to the same."""

    first: Tensor
    bias: Tensor

    def __init__(self, block: ResidualDenseBlock, target: Target) -> None:
        super().__init__()
        self.grow = block.conv1.out_channels
        first, *others = (torch.cat(weights) for weights in split_by_source(block))
        self.register_buffer("first", target.weights(first))
        self.others = frozen(others, target)
        self.register_buffer("bias", torch.cat(biases_of(block)).to(target.dtype))

    def forward(self, x: Tensor) -> Tensor:
        total = finite_(F.conv2d(x, self.first, self.bias, padding=1))
        for weight in self.others:
            mine, others = total[:, : self.grow], total[:, self.grow :]
            mine = arranged(F.leaky_relu(mine, LEAKY_SLOPE))
            total = finite_(F.conv2d(mine, weight, padding=1)).add_(others)
        return finite_(torch.add(x, total, alpha=RESIDUAL_SCALE))
