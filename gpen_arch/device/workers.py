"""Processes that prepare pictures beside the one that computes with them."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Generator
from contextlib import contextmanager

import cv2


@contextmanager
def single_threaded_opencv() -> Generator[None, None, None]:
    """Have OpenCV work in its callers' threads alone: data workers share the cores already.

    To be entered before the workers are forked. A fork takes OpenCV's idea of its threads along,
    but not the threads: a worker that then tells it to stop them waits for ever.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def start_worker(worker: int) -> None:
    """What a data loader's worker begins with.

    Ctrl-C reaches every process of the terminal; the main one stops its workers itself, after its
    last step. A worker that was not forked knows nothing of its parent's setting of OpenCV.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if multiprocessing.get_start_method() != "fork":
        cv2.setNumThreads(1)
