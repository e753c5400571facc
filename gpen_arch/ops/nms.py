"""Non-maximum suppression without compiled operators."""

from __future__ import annotations

import torch
from torch import Tensor


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes (N, 4) and (M, 4), ``x1, y1, x2, y2``: (N, M).

    Boxes without area overlap nothing.
    """
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).clamp(min=0).prod(-1) for x in (a, b))
    union = area_a[:, None] + area_b[None, :] - overlap
    return overlap / union.clamp(min=torch.finfo(a.dtype).tiny)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes that no better kept box overlaps by more than the threshold.

    The greedy rule, as in torchvision, found by iteration instead of a walk over the boxes: a box
    stays unless a better box that stays overlaps it. Each round settles at least the next box in
    order of score, and in practice all of them after two or three rounds.

    Args:
        boxes: (N, 4) ``x1, y1, x2, y2``.
        scores: (N,); equal scores keep the order given.
        iou_threshold: overlaps above it suppress.

    Returns:
        (K,) int64 indices, best score first.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes[order]
    # suppresses[i, j]: box i is better than box j and overlaps it.
    suppresses = (box_iou(ranked, ranked) > iou_threshold).triu(diagonal=1)
    kept = torch.ones(len(ranked), dtype=torch.bool, device=boxes.device)
    while True:
        updated = ~(suppresses & kept[:, None]).any(0)
        if torch.equal(updated, kept):
            return order[kept]
        kept = updated
