"""Writes what of the help pages a machine can: tables, English texts, pictures.

``python -m tests.host.make_help HOST_DIR`` starts a ComfyUI of its own, without models, so that
the pictures show what the networks of the pack make of ``examples/``. With ``texts`` after it, only
tables and texts are written; what translations lack is printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from .help_pages import (
    DOCS,
    LOCALES,
    ROOT,
    WORDS,
    english_texts,
    inputs_of,
    page_path,
    read_texts,
    with_tables,
)
from .make_workflows import use_page
from .server import Graph, Server

PICTURES = DOCS / "pictures"
WIDTH = 900  # pixels, of a picture on a help page
SAMPLES = ("walker_1917", "astronaut", "van_duzer_1905", "revels_1870", "solvay_1927")
HEAD = (140.0, 20.0, 320.0, 230.0)  # of the astronaut
ONE, FIVE, CHOSEN = "portrait_all_in_one", "portrait_five_blocks", "choose_faces_in_a_group"
VIDEO = "enhance_video"
GRAPHS = {
    "one_block": (ONE, "SamplePortrait", "PortraitEnhance", "SaveImage"),
    "load_model": (FIVE, "LoadModel", "RestoreFaces"),
    "load_detector": (FIVE, "LoadFaceDetector", "DetectFaces"),
    "detect": (FIVE, "SamplePortrait", "DetectFaces", "RestoreFaces"),
    "select": (CHOSEN, "DetectFaces", "SelectFaces", "RestoreFaces"),
    "restore": (FIVE, "DetectFaces", "RestoreFaces", "PasteBack"),
    "upscale": (FIVE, "SamplePortrait", "BackgroundUpscale", "PasteBack"),
    "paste": (FIVE, "RestoreFaces", "BackgroundUpscale", "PasteBack"),
    "video": (VIDEO, "CreateVideo", "EnhanceVideo", "SaveVideo"),
}
"""Pictures of graphs: the example, and the nodes of it that the picture shows."""
KEEP = """kept => {
  const graph = app.graph, canvas = app.canvas.canvas
  for (const group of [...graph._groups]) graph.remove(group)
  for (const node of [...graph._nodes])
    if (!kept.includes(node.type.replace('GPEN_', ''))) graph.remove(node)
  let left = 0
  for (const name of kept) {
    const node = graph._nodes.find(each => each.type.replace('GPEN_', '') === name)
    node.pos = [left, 0]
    left += node.size[0] + 50 }
  for (const each of document.querySelectorAll('body *'))
    if (!each.contains(canvas)) each.style.visibility = 'hidden' }"""
"""JavaScript: leaves some nodes on the canvas, side by side, and nothing of the page around it."""
PAGE = ROOT / "docs/pictures/page_after_run.jpg"
"""What the README shows of ComfyUI: an example after a run."""


def write_texts(infos: dict[str, Any]) -> None:
    """The English texts, and the tables of every page whose language has all texts."""
    text = json.dumps(english_texts(infos), ensure_ascii=False, indent=2)
    (LOCALES / "en/nodeDefs.json").write_text(text + "\n", encoding="utf-8")
    for language in WORDS.keys() - {line.partition(":")[0] for line in lacking()}:
        texts = read_texts(language)
        for node in texts:
            path = page_path(node, language)
            page = path.read_text(encoding="utf-8")
            path.write_text(with_tables(page, infos[node], texts[node], language), encoding="utf-8")


def lacking() -> Iterator[str]:
    """The English texts that a language lacks, or has though English does not."""
    english = set(_leaves(read_texts("en")))
    for path in sorted(LOCALES.iterdir()):
        for place in sorted(english ^ set(_leaves(read_texts(path.name)))):
            yield f"{path.name}: {place}"


def _leaves(value: Any, place: str = "") -> Iterator[str]:
    if not isinstance(value, dict):
        yield place
        return
    for key, below in value.items():
        yield from _leaves(below, f"{place}/{key}")


class Studio:
    """Runs nodes on a server, and puts their pictures side by side."""

    def __init__(self, server: Server, infos: dict[str, Any]) -> None:
        self.server, self.infos = server, infos

    def node(self, kind: str, /, **given: Any) -> dict[str, Any]:
        """A node with its schema's defaults where nothing is given."""
        inputs = {
            key: each["default"]
            for key, each in inputs_of(self.infos[kind]).items()
            if "default" in each
        }
        return {"class_type": kind, "inputs": inputs | given}

    def run(self, graph: Graph, *shown: tuple[str, int]) -> list[list[Image.Image]]:
        """The pictures of some outputs."""
        for number, link in enumerate(shown):
            saved = {"images": list(link), "filename_prefix": "help"}
            graph[f"save{number}"] = {"class_type": "SaveImage", "inputs": saved}
        outputs = self.server.run(graph, seconds=600)
        return [
            [
                _image(self.server.picture(outputs, f"save{number}", index))
                for index in range(len(outputs[f"save{number}"]["images"]))
            ]
            for number in range(len(shown))
        ]

    def blocks(self, picture: str, *, scale: int = 1, **paste: Any) -> Graph:
        """The five blocks on a sample."""
        graph = {
            "picture": self.node("GPEN_SamplePortrait", picture=f"{picture}.jpg"),
            "model": self.node("GPEN_LoadModel"),
            "detect": self.node("GPEN_DetectFaces", image=["picture", 0]),
            "restore": self.node(
                "GPEN_RestoreFaces",
                image=["picture", 0],
                faces=["detect", 0],
                gpen_model=["model", 0],
            ),
            "upscale": self.node("GPEN_BackgroundUpscale", image=["picture", 0]),
        }
        background = ["upscale" if scale == 2 else "picture", 0]
        back = {"background": background, "restored_faces": ["restore", 0], **paste}
        return {**graph, "paste": self.node("GPEN_PasteBack", **back)}

    def write_pictures(self) -> None:
        """Every strip of the pages."""
        PICTURES.mkdir(exist_ok=True)
        samples = [Image.open(ROOT / "examples" / f"{name}.jpg") for name in SAMPLES]
        _save(PICTURES / "sample_portrait.jpg", _row(samples))
        graph = self.blocks("solvay_1927")
        ((numbered,), aligned, restored) = self.run(
            graph, ("detect", 2), ("restore", 2), ("restore", 1)
        )
        _save(PICTURES / "detect_faces.jpg", numbered)
        _save(PICTURES / "restore_faces.jpg", _column([_row(aligned[:6]), _row(restored[:6])]))
        (enlarged,) = self.run(self.blocks("astronaut"), ("upscale", 0))
        part = (440, 80, 1040, 680)
        small = samples[1].crop(tuple(side // 2 for side in part)).resize((600, 600), 0)
        _save(PICTURES / "background_upscale.jpg", _row([small, enlarged[0].crop(part)]))
        self._write_portraits()
        self.write_finish()

    def _write_portraits(self) -> None:
        feathers = [
            self.run(self.blocks("van_duzer_1905", feather=feather), ("paste", 0))[0][0]
            for feather in (0.0, 0.2, 0.5)
        ]
        _save(
            PICTURES / "paste_back.jpg", _row([each.crop((60, 60, 300, 360)) for each in feathers])
        )
        picture = self.node("GPEN_SamplePortrait", picture="van_duzer_1905.jpg")
        enhance = self.node("GPEN_PortraitEnhance", image=["picture", 0])
        (result,) = self.run({"picture": picture, "enhance": enhance}, ("enhance", 0))
        before = Image.open(ROOT / "examples/van_duzer_1905.jpg").resize(result[0].size)
        _save(PICTURES / "portrait_enhance.jpg", _row([before, result[0]]))

    def write_finish(self) -> None:
        """The strips of the nodes between restoring and pasting, and of the one that tracks."""
        black = {"color": 0, "batch_size": 1, "width": 512, "height": 512}
        masks = [
            self._finished("GPEN_FaceMask", given, black=black)
            for given in ({"kind": "box"}, {"kind": "oval"}, {"kind": "oval", "grow": 0.1})
        ]
        _save(PICTURES / "face_mask.jpg", _row(masks))
        before = Image.open(ROOT / "examples/astronaut.jpg").crop(HEAD)
        for name, kind, plain, better in (
            ("match_colour", "GPEN_MatchColour", {"colour": "off"}, {"grain": 1.0}),
            ("gate_faces", "GPEN_GateFaces", {}, {"strength": "auto"}),
        ):
            after = [self._finished(kind, given) for given in (plain, better)]
            _save(PICTURES / f"{name}.jpg", _row([before, *after]))
        self._write_tracks()

    def _finished(
        self, kind: str, given: dict[str, Any], *, black: dict[str, Any] | None = None
    ) -> Image.Image:
        """A head by the five blocks with another one before the last, on black if asked."""
        graph = self.blocks("astronaut", restored_faces=["between", 0])
        links = {"restored_faces": ["restore", 0]}
        if kind == "GPEN_GateFaces":
            links["image"] = ["picture", 0]
        graph["between"] = self.node(kind, **links, **given)
        if black is not None:
            graph["black"] = {"class_type": "EmptyImage", "inputs": black}
            graph["paste"]["inputs"]["background"] = ["black", 0]
        return self.run(graph, ("paste", 0))[0][0].crop(HEAD)

    def _write_tracks(self) -> None:
        """Two frames of a clip that pans over a group."""
        graph: Graph = {"picture": self.node("GPEN_SamplePortrait", picture="solvay_1927.jpg")}
        for number in range(2):
            part = {"width": 560, "height": 420, "x": 300 + 10 * number, "y": 120}
            inputs = {"image": ["picture", 0], **part}
            graph[f"frame{number}"] = {"class_type": "ImageCrop", "inputs": inputs}
        frames = {"image1": ["frame0", 0], "image2": ["frame1", 0]}
        graph["clip"] = {"class_type": "ImageBatch", "inputs": frames}
        graph["detect"] = self.node("GPEN_DetectFaces", image=["clip", 0])
        graph["track"] = self.node("GPEN_TrackFaces", faces=["detect", 0], image=["clip", 0])
        (drawn,) = self.run(graph, ("track", 2))
        _save(PICTURES / "track_faces.jpg", _row(drawn))


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray((pixels * 255).round().byte().numpy()[..., :3])


def _row(pictures: list[Image.Image], gap: int = 6) -> Image.Image:
    """Side by side, as high as the highest."""
    height = max(each.height for each in pictures)
    fitted = [
        each.convert("RGB").resize((round(each.width * height / each.height), height))
        for each in pictures
    ]
    separator = np.full((height, gap, 3), 255, np.uint8)
    parts = [part for each in fitted for part in (separator, np.asarray(each))][1:]
    return Image.fromarray(np.hstack(parts))


def _column(pictures: list[Image.Image], gap: int = 6) -> Image.Image:
    return _row([each.transpose(Image.Transpose.TRANSPOSE) for each in pictures], gap).transpose(
        Image.Transpose.TRANSPOSE
    )


def _save(path: Path, picture: Image.Image, width: int = WIDTH) -> None:
    picture = picture.convert("RGB")
    picture.thumbnail((width, width), Image.Resampling.LANCZOS)
    picture.save(path, quality=85)


def write_graphs(server: Server, host_dir: Path) -> None:
    """Parts of the examples on the page, after a run."""
    with TemporaryDirectory() as folder:
        shot = Path(folder) / "graph.png"
        for name, (example, *kept) in GRAPHS.items():
            server.forget()  # what is known from the run before has no preview
            steps = [
                {"open": str(ROOT / "example_workflows" / f"{example}.json")},
                {"run": 300},
                {"evaluate": f"() => ({KEEP})({json.dumps(kept)})"},
                {"graph_shot": str(shot)},
            ]
            use_page(server.url, host_dir, steps)
            _save(PICTURES / f"graph_{name}.jpg", Image.open(shot))
        server.forget()
        path = str(ROOT / "example_workflows" / f"{CHOSEN}.json")
        use_page(server.url, host_dir, [{"open": path}, {"run": 300}, {"screenshot": str(shot)}])
        _save(PAGE, Image.open(shot), width=1680)


def main(host_dir: str, what: str = "all") -> None:
    with TemporaryDirectory() as folder:
        base = Path(folder)
        for name in ("models", "input"):
            (base / name).mkdir()
        with Server(Path(host_dir), base, ui=what == "all") as server:
            infos = server.get("/object_info")
            write_texts(infos)
            if what == "all":
                Studio(server, infos).write_pictures()
                write_graphs(server, Path(host_dir))
    print("\n".join(lacking()) or "every language has every text")


if __name__ == "__main__":
    main(*sys.argv[1:3])
