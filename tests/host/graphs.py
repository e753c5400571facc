"""The example workflows as graphs: API format for the server, UI format for the page.

``example_workflows/*.json`` are made from these by ``make_workflows.py``; a test holds the two
together, so that a widget value that slipped to another position is found.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Link = tuple[str, int]  # name of the block, number of its output
MODEL = "gpen-demo-256"
DETECTOR = "retinaface_mobile0.25"
UPSCALER = "realesrnet_x2"


@dataclass(frozen=True)
class Block:
    """One node: its type, its inputs (values, or links to other blocks), its place on the page."""

    type: str
    inputs: dict[str, Any]
    at: tuple[int, int]
    size: tuple[int, int] = (300, 180)


@dataclass(frozen=True)
class Workflow:
    """A named graph, with the note that the page shows beside it."""

    name: str
    blocks: dict[str, Block]
    note: str
    note_at: tuple[int, int] = (0, 620)
    extra_widgets: dict[str, list[Any]] = field(default_factory=dict)

    def api(self) -> dict[str, Any]:
        """The graph as ``POST /prompt`` takes it; ids count the blocks from 1."""
        ids = {name: str(number) for number, name in enumerate(self.blocks, start=1)}
        return {
            ids[name]: {
                "class_type": block.type,
                "inputs": {
                    key: [ids[value[0]], value[1]] if isinstance(value, tuple) else value
                    for key, value in block.inputs.items()
                },
            }
            for name, block in self.blocks.items()
        }


def load_image(at: tuple[int, int] = (0, 0), name: str = "example.png") -> Block:
    return Block("LoadImage", {"image": name}, at, (300, 340))


def load_model(at: tuple[int, int]) -> Block:
    inputs = {"model": MODEL, "dtype": "auto", "if_missing": "download"}
    return Block("GPEN_LoadModel", inputs, at, (300, 130))


def load_detector(at: tuple[int, int]) -> Block:
    inputs = {"detector_name": DETECTOR, "if_missing": "download"}
    return Block("GPEN_LoadFaceDetector", inputs, at, (300, 106))


def detect(image: Link, at: tuple[int, int], **options: Any) -> Block:
    inputs = {
        "image": image,
        "confidence": 0.9,
        "max_side": 1500,
        "min_face_size": 0,
        "max_faces": 0,
        "order": "largest",
        "detector": ("detector", 0),
    }
    return Block("GPEN_DetectFaces", {**inputs, **options}, at, (320, 520))


def restore(image: Link, faces: Link, at: tuple[int, int]) -> Block:
    inputs = {
        "gpen_model": ("model", 0),
        "image": image,
        "faces": faces,
        "strength": 1.0,
        "faces_per_batch": 0,
    }
    return Block("GPEN_RestoreFaces", inputs, at, (300, 400))


def upscale(image: Link, at: tuple[int, int]) -> Block:
    inputs = {"image": image, "model": UPSCALER, "tile": 0, "dtype": "auto"}
    inputs["if_missing"] = "download"
    return Block("GPEN_BackgroundUpscale", inputs, at, (300, 170))


def paste(background: Link, at: tuple[int, int]) -> Block:
    inputs = {
        "background": background,
        "restored_faces": ("restore", 0),
        "feather": 0.2,
        "opacity": 1.0,
    }
    return Block("GPEN_PasteBack", inputs, at, (360, 460))


def save(image: Link, at: tuple[int, int], prefix: str) -> Block:
    return Block("SaveImage", {"images": image, "filename_prefix": prefix}, at, (380, 420))


def five_blocks() -> Workflow:
    """The five blocks in a row."""
    image = ("image", 0)
    return Workflow(
        "portrait_five_blocks",
        {
            "image": load_image(),
            "model": load_model((340, 0)),
            "detector": load_detector((340, 190)),
            "detect": detect(image, (680, 0)),
            "restore": restore(image, ("detect", 0), (1040, 0)),
            "upscale": upscale(image, (1040, 450)),
            "paste": paste(("upscale", 0), (1380, 0)),
            "save": save(("paste", 0), (1780, 0), "gpen/portrait"),
        },
        "## Portrait enhancement in five blocks\n\n"
        "1. Choose your picture in **Load Image**.\n"
        "2. Press **Run**. *Detect Faces* shows what it found, *Restore Faces* the restored "
        "crops, *Paste Back* the result at twice the size.\n\n"
        "`gpen-demo-256` ships with the pack, to try the graph. For real work choose "
        "`GPEN-BFR-512` in **Load GPEN Model** (271 MiB, non-commercial licence).",
        (0, 420),
    )


def chosen_faces() -> Workflow:
    """Restore only chosen faces."""
    image = ("image", 0)
    select = {
        "faces": ("detect", 0),
        "indices": "0",
        "min_size": 0,
        "max_size": 0,
        "order": "largest",
        "keep": 0,
        "invert": False,
    }
    return Workflow(
        "restore_only_chosen_faces",
        {
            "image": load_image(),
            "model": load_model((340, 0)),
            "detector": load_detector((340, 190)),
            "detect": detect(image, (680, 0), confidence=0.8, order="left to right"),
            "select": Block("GPEN_SelectFaces", select, (1040, 0), (300, 210)),
            "restore": restore(image, ("select", 0), (1380, 0)),
            "paste": paste(image, (1720, 0)),
            "save": save(("paste", 0), (2120, 0), "gpen/chosen"),
        },
        "## Restore only these faces\n\n"
        "*Detect Faces* draws a number on every face. Write the numbers that you want into "
        "**indices** of *Select Faces*: `0, 2, 5-7`. All other faces stay exactly as they are; "
        "so does the picture's size, because *Paste Back* gets the original as background.",
        (0, 420),
    )


def after_sampler() -> Workflow:
    """After a diffusion sampler."""
    generated = ("decode", 0)
    sampler = {
        "model": ("checkpoint", 0),
        "seed": 7,
        "steps": 20,
        "cfg": 7.0,
        "sampler_name": "dpmpp_2m",
        "scheduler": "karras",
        "positive": ("positive", 0),
        "negative": ("negative", 0),
        "latent_image": ("latent", 0),
        "denoise": 1.0,
    }
    checkpoint = {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"}
    wanted = "group photo of three friends at a market, natural light"
    clip = ("checkpoint", 1)
    return Workflow(
        "after_a_diffusion_sampler",
        {
            "checkpoint": Block("CheckpointLoaderSimple", checkpoint, (0, 0), (330, 110)),
            "positive": Block("CLIPTextEncode", {"text": wanted, "clip": clip}, (370, 0)),
            "negative": Block("CLIPTextEncode", {"text": "blurry", "clip": clip}, (370, 230)),
            "latent": Block(
                "EmptyLatentImage", {"width": 512, "height": 512, "batch_size": 1}, (0, 160)
            ),
            "sampler": Block("KSampler", sampler, (710, 0), (300, 270)),
            "decode": Block(
                "VAEDecode", {"samples": ("sampler", 0), "vae": ("checkpoint", 2)}, (1050, 0)
            ),
            "model": load_model((710, 330)),
            "detector": load_detector((710, 520)),
            "detect": detect(generated, (1050, 110)),
            "restore": restore(generated, ("detect", 0), (1410, 0)),
            "upscale": upscale(generated, (1410, 450)),
            "paste": paste(("upscale", 0), (1750, 0)),
            "save": save(("paste", 0), (2150, 0), "gpen/generated"),
        },
        "## Faces of a generated picture\n\n"
        "Small faces are where samplers fail. The decoded picture goes through the five blocks; "
        "ComfyUI keeps the checkpoint and GPEN on the GPU as its memory allows.\n\n"
        "Choose a checkpoint of your own in **Load Checkpoint**.",
        (0, 480),
        {"sampler": ["fixed"]},
    )


def batch_of_frames() -> Workflow:
    """A batch of frames."""
    frames = ("frames", 0)
    joined = {"image1": ("image", 0), "image2": ("second", 0)}
    return Workflow(
        "batch_of_frames",
        {
            "image": load_image(),
            "second": load_image((0, 390)),
            "frames": Block("ImageBatch", joined, (340, 0), (300, 60)),
            "model": load_model((340, 120)),
            "detector": load_detector((340, 310)),
            "detect": detect(frames, (680, 0), max_faces=4),
            "restore": restore(frames, ("detect", 0), (1040, 0)),
            "upscale": upscale(frames, (1040, 450)),
            "paste": paste(("upscale", 0), (1380, 0)),
            "save": save(("paste", 0), (1780, 0), "gpen/frames"),
        },
        "## A batch of frames\n\n"
        "Every node takes whole batches; faces of many frames share GPEN batches.\n\n"
        "For a video put **Load Video** and **Get Video Components** in the place of "
        "*Batch Images*, and **Create Video** and **Save Video** at the end.",
        (340, 480),
    )


def all_in_one() -> Workflow:
    """The whole pipeline in one block."""
    enhance = {
        "image": ("image", 0),
        "model": MODEL,
        "scale": "2",
        "strength": 1.0,
        "detector_name": DETECTOR,
        "upscaler": UPSCALER,
        "dtype": "auto",
        "if_missing": "download",
    }
    return Workflow(
        "portrait_all_in_one",
        {
            "image": load_image(),
            "enhance": Block("GPEN_PortraitEnhance", enhance, (340, 0), (360, 620)),
            "save": save(("enhance", 0), (740, 0), "gpen/enhanced"),
            "report": Block("PreviewAny", {"source": ("enhance", 3)}, (740, 470), (380, 300)),
        },
        "## The whole pipeline in one block\n\n"
        "Finds the faces, restores them, upscales the rest and puts the faces back. The report "
        "lists every face, and if one was left alone, why.",
        (0, 400),
    )


WORKFLOWS = (five_blocks(), chosen_faces(), after_sampler(), batch_of_frames(), all_in_one())


def to_ui(workflow: Workflow, infos: dict[str, Any]) -> dict[str, Any]:
    """The graph as the page loads it; ``infos`` is the server's ``/object_info``."""
    ids = {name: number for number, name in enumerate(workflow.blocks, start=1)}
    links: list[list[Any]] = []
    nodes = [
        _ui_node(name, block, workflow, ids, infos[block.type], links, infos)
        for name, block in workflow.blocks.items()
    ]
    for link in links:
        outputs = nodes[link[1] - 1]["outputs"]
        outputs[link[2]]["links"] = [*(outputs[link[2]]["links"] or []), link[0]]
    note = {
        "id": len(nodes) + 1,
        "type": "MarkdownNote",
        "pos": list(workflow.note_at),
        "size": [300, 260],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "properties": {},
        "widgets_values": [workflow.note],
    }
    return {
        "last_node_id": len(nodes) + 1,
        "last_link_id": len(links),
        "nodes": [*nodes, note],
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _ui_node(
    name: str,
    block: Block,
    workflow: Workflow,
    ids: dict[str, int],
    info: dict[str, Any],
    links: list[list[Any]],
    infos: dict[str, Any],
) -> dict[str, Any]:
    declared = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
    inputs: list[dict[str, Any]] = []
    values: list[Any] = []
    for key, spec in declared.items():
        value = block.inputs.get(key)
        if _is_widget(spec):
            values.append(value)
            continue
        entry = {"name": key, "type": spec[0], "link": None}
        if isinstance(value, tuple):
            source = workflow.blocks[value[0]]
            kind = infos[source.type]["output"][value[1]]
            links.append([len(links) + 1, ids[value[0]], value[1], ids[name], len(inputs), kind])
            entry["link"] = len(links)
        inputs.append(entry)
    if block.type == "LoadImage":
        values.append("image")
    if name in workflow.extra_widgets:
        values[1:1] = workflow.extra_widgets[name]  # what follows a seed: control after generate
    return {
        "id": ids[name],
        "type": block.type,
        "pos": list(block.at),
        "size": list(block.size),
        "flags": {},
        "order": ids[name] - 1,
        "mode": 0,
        "inputs": inputs,
        "outputs": [
            {"name": label, "type": kind, "links": None}
            for label, kind in zip(info["output_name"], info["output"], strict=True)
        ],
        "properties": {"Node name for S&R": block.type},
        "widgets_values": values,
    }


def _is_widget(spec: list[Any]) -> bool:
    return isinstance(spec[0], list) or spec[0] in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
