"""Enhance Video on a real server: what Save Video gets of it, interrupts, videos without a file."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ..clip_files import Recipe, make_clip, pictures_of, sound_of, stream_of, times_of
from ..host.fixtures import TINY_GPEN, TINY_UPSCALER
from ..host.server import Graph, Server, failure
from .test_host_api import node

pytestmark = pytest.mark.host
FRAMES = 10


@pytest.fixture(scope="module")
def walk(server: Server) -> Path:
    """A face that moves, in the server's input folder."""
    with Image.open(server.base / "input/face.png") as picture:
        ground = np.asarray(picture.convert("RGB"))
    recipe = Recipe(FRAMES, size=ground.shape[:2], ground=ground, colours=(6, 1, 6, 6))
    return make_clip(server.base / "input/walk.mp4", recipe)


def enhancing(video: Any = None, **options: Any) -> Graph:
    """Load Video, Enhance Video, Save Video."""
    inputs = {
        "model": TINY_GPEN,
        "scale": "1",
        "strength": 1.0,
        "detector_name": "auto",
        "upscaler": TINY_UPSCALER,
        "dtype": "fp32",
        "if_missing": "error",
    }
    graph = {
        "1": node("LoadVideo", file="walk.mp4"),
        "2": node("GPEN_EnhanceVideo", video=["1", 0], **{**inputs, **options}),
        "3": node("SaveVideo", video=["2", 0], filename_prefix="v", format="auto", codec="auto"),
        "4": node("PreviewAny", source=["2", 2]),
    }
    return {**graph, **(video or {})}


def saved(server: Server, outputs: dict[str, Any]) -> Path:
    (found,) = outputs["3"]["images"]
    return server.base / "output" / found["subfolder"] / found["filename"]


def packets(path: Path) -> list[bytes]:
    import av

    with av.open(str(path)) as container:
        return [bytes(each) for each in container.demux(video=0) if each.size]


def in_temp(server: Server, pattern: str) -> list[Path]:
    return sorted((server.base / "temp").glob(pattern))


@pytest.mark.parametrize("scale", ["1", "2"])
def test_a_video_is_restored_and_saved_as_it_is(server: Server, walk: Path, scale: str) -> None:
    outputs = server.run(enhancing(scale=scale))
    result = saved(server, outputs)
    assert times_of(result) == times_of(walk)
    assert sound_of(result) == sound_of(walk)
    found = stream_of(result)
    assert found["size"] == tuple(int(scale) * side for side in stream_of(walk)["size"])
    assert found["colours"] == (6, 1, 6, 6)
    report = json.loads(outputs["4"]["text"][0])
    assert (report["frames"], report["faces"], report["restored"]) == (FRAMES, FRAMES, FRAMES)
    if scale == "1":
        before, after = pictures_of(walk).astype(int), pictures_of(result)
        assert np.abs(before - after).mean() > 0.3  # the faces are others
        assert np.abs(before - after)[:, -20:].mean() < 4  # the rest is not
    # Save Video has copied what the node had encoded.
    whole = [path for path in in_temp(server, "GPEN_video_*.mp4") if path.is_file()]
    assert packets(result) in [packets(path) for path in whole]
    assert in_temp(server, "*.parts") == []


def stop_in_the_middle(server: Server, graph: Graph) -> dict[str, Any]:
    """Interrupt once a frame or more has been encoded."""
    prompt_id = server.queue(graph)
    end = time.monotonic() + 120
    while not in_temp(server, "*.parts/000000.mp4"):
        assert time.monotonic() < end, server.log[-2000:]
        assert prompt_id not in server.get(f"/history/{prompt_id}"), "it ended too early"
        time.sleep(0.02)
    server.post("/interrupt", {})
    return server.wait(prompt_id)


def test_an_interrupted_video_can_be_watched_and_the_same_graph_goes_on(
    server: Server, walk: Path
) -> None:
    long = make_clip(walk.with_name("long.mp4"), long_recipe(walk))
    graph = enhancing({"1": node("LoadVideo", file="long.mp4")}, strength=0.9)
    stopped = failure(stop_in_the_middle(server, graph))
    assert stopped["node_id"] == "2"
    assert "exception_type" not in stopped  # interrupted, not failed
    told = re.search(r"(\d+) frame\(s\) are done, and can be watched in (\S+);", server.log)
    assert told, server.log[-2000:]
    done, partial = int(told[1]), Path(told[2])
    assert 120 <= done < 300
    assert times_of(partial) == times_of(long)[:done]
    server.forget()
    result = saved(server, server.run(graph))
    assert f"goes on behind frame {done}" in server.log
    assert times_of(result) == times_of(long)
    assert sound_of(result) == sound_of(long)
    assert in_temp(server, "*.parts") == []


def long_recipe(walk: Path) -> Recipe:
    return Recipe(300, size=(64, 64), ground=pictures_of(walk)[0][60:124, 100:164])


def test_a_video_of_pictures_in_memory_is_enhanced_as_well(server: Server, walk: Path) -> None:
    made = {
        "5": node("GetVideoComponents", video=["1", 0]),
        "6": node("CreateVideo", images=["5", 0], audio=["5", 1], fps=8.0),
    }
    graph = enhancing({"1": node("LoadVideo", file="walk.mp4"), **made})
    graph["2"]["inputs"]["video"] = ["6", 0]
    outputs = server.run(graph)
    result = saved(server, outputs)
    assert [round(float(time), 3) for time in times_of(result)] == [
        round(float(time), 3) for time in times_of(walk)
    ]
    assert stream_of(result)["streams"] == ["video", "audio"]
    report = json.loads(outputs["4"]["text"][0])
    assert report["restored"] == FRAMES


@pytest.mark.parametrize(
    ("contents", "message"),
    [(b"", "an empty file"), (b"no clip" * 500, "cannot be opened as one")],
)
def test_a_broken_video_is_told_at_the_node(
    server: Server, walk: Path, contents: bytes, message: str
) -> None:
    name = f"broken{len(contents)}.mp4"
    walk.with_name(name).write_bytes(contents)
    entry = server.wait(server.queue(enhancing({"1": node("LoadVideo", file=name)})))
    told = failure(entry)
    assert told["node_id"] == "2"
    assert told["exception_type"].endswith("InvalidClipError")
    assert message in told["exception_message"]
