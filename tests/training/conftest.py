"""What all tests of training run under."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Equal weights are asked for to the bit, and more threads may add in another order.

    Of the scope of the modules' own runs, which are made before anything of a test is.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
