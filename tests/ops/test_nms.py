"""Non-maximum suppression against the plain greedy walk."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpen_arch.ops.nms import box_iou, nms


def greedy(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> list[int]:
    overlaps = box_iou(boxes, boxes)
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if all(float(overlaps[index, other]) <= threshold for other in kept):
            kept.append(index)
    return kept


@given(st.integers(0, 2**31), st.integers(0, 60), st.floats(0, 0.95))
def test_equals_the_greedy_walk(seed: int, count: int, threshold: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 40
    boxes = torch.cat((corner, corner + torch.rand(count, 2, generator=generator) * 20), 1)
    scores = torch.rand(count, generator=generator).mul(10).round()  # with ties
    assert nms(boxes, scores, threshold).tolist() == greedy(boxes, scores, threshold)


def test_a_long_chain_of_overlaps() -> None:
    # Each box overlaps the next: the first suppresses the second, which frees the third...
    start = torch.arange(50.0)[:, None] * 5
    boxes = torch.cat((start, torch.zeros(50, 1), start + 10, torch.full((50, 1), 10.0)), 1)
    scores = torch.linspace(1, 0, 50)
    assert nms(boxes, scores, 0.3).tolist() == list(range(0, 50, 2))


def test_overlap_of_known_boxes() -> None:
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 0, 0]])
    b = torch.tensor([[1.0, 0, 3, 2], [0, 0, 2, 2], [5, 5, 6, 6]])
    expected = torch.tensor([[1 / 3, 1, 0], [0, 0, 0]])
    torch.testing.assert_close(box_iou(a, b), expected)


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one(count: int) -> None:
    assert nms(torch.rand(count, 4), torch.rand(count), 0.5).tolist() == list(range(count))
