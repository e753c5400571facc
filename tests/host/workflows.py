"""The example workflows; ``make_workflows.py`` writes ``example_workflows/*.json`` from them.

A test holds the two together, so that a widget value that slipped to another position is found.
"""

from __future__ import annotations

from typing import Any

from .graphs import Block, Link, Workflow

AUTO = "auto"  # the best network that is on this machine; where there is none, the package's own

IMAGE: Link = ("image", 0)
OWN_PICTURE = (
    "**Your own picture:** choose it in *Load Image*, then press Ctrl+M on that node: it is muted "
    "so far, and *Sample Portrait* passes it on."
)
BETTER_MODEL = (
    "Everything here runs without a download: *auto* takes the best networks that are on this "
    "machine. For the published quality choose `GPEN-BFR-512` as model (271 MiB, fetched on the "
    "first run; for non-commercial use)."
)


def sample(picture: str) -> Block:
    inputs = {"picture": picture, "image": ("own", 0), "show_preview": True}
    return Block("GPEN_SamplePortrait", inputs, (0, 0), (300, 480))


def own_picture() -> Block:
    title = "Load Image (muted: Ctrl+M)"
    return Block("LoadImage", {"image": "example.png"}, (0, 580), (300, 420), title, muted=True)


def load_model(at: tuple[int, int]) -> Block:
    inputs = {"model": AUTO, "dtype": "auto", "if_missing": "download"}
    return Block("GPEN_LoadModel", inputs, at, (300, 330))


def load_detector(at: tuple[int, int]) -> Block:
    inputs = {"detector_name": AUTO, "if_missing": "download"}
    return Block("GPEN_LoadFaceDetector", inputs, at, (300, 310))


def detect(image: Link, at: tuple[int, int], **options: Any) -> Block:
    inputs = {
        "image": image,
        "confidence": 0.9,
        "max_side": 1500,
        "min_face_size": 0,
        "max_faces": 0,
        "order": "largest",
        "detector": ("detector", 0),
        "show_preview": True,
    }
    return Block("GPEN_DetectFaces", {**inputs, **options}, at, (340, 620))


def restore(image: Link, faces: Link, at: tuple[int, int]) -> Block:
    inputs = {
        "gpen_model": ("model", 0),
        "image": image,
        "faces": faces,
        "strength": 1.0,
        "faces_per_batch": 0,
        "show_preview": True,
    }
    return Block("GPEN_RestoreFaces", inputs, at, (320, 460))


def upscale(image: Link, at: tuple[int, int]) -> Block:
    inputs = {"image": image, "model": AUTO, "tile": 0, "dtype": "auto"}
    inputs["if_missing"] = "download"
    return Block("GPEN_BackgroundUpscale", inputs, at, (320, 390))


def paste(background: Link, at: tuple[int, int]) -> Block:
    inputs = {
        "background": background,
        "restored_faces": ("restore", 0),
        "feather": 0.2,
        "opacity": 1.0,
        "show_preview": True,
    }
    return Block("GPEN_PasteBack", inputs, at, (380, 540))


def save(image: Link, at: tuple[int, int], prefix: str) -> Block:
    return Block("SaveImage", {"images": image, "filename_prefix": prefix}, at, (400, 500))


PIPELINE = {
    "model": AUTO,
    "scale": "2",
    "strength": 1.0,
    "detector_name": AUTO,
    "upscaler": AUTO,
    "dtype": "auto",
    "if_missing": "download",
    "confidence": 0.9,
    "max_side": 1500,
    "min_face_size": 0,
    "faces_per_batch": 0,
    "tile": 0,
    "published_order": False,
}


def enhance(**options: Any) -> Block:
    inputs = {"image": IMAGE, **PIPELINE, "show_preview": True}
    return Block("GPEN_PortraitEnhance", {**inputs, **options}, (360, 0), (380, 860))


def enhance_video(video: Link) -> Block:
    inputs = {"video": video, **PIPELINE, "scale": "1", "crf": 17}
    return Block("GPEN_EnhanceVideo", inputs, (700, 0), (380, 620))


def five_blocks() -> Workflow:
    """The five blocks in a row."""
    return Workflow(
        "portrait_five_blocks",
        {
            "image": sample("walker_1917.jpg"),
            "model": load_model((360, 0)),
            "detector": load_detector((360, 410)),
            "detect": detect(IMAGE, (720, 0)),
            "restore": restore(IMAGE, ("detect", 0), (1120, 0)),
            "upscale": upscale(IMAGE, (1120, 530)),
            "paste": paste(("upscale", 0), (1500, 0)),
            "save": save(("paste", 0), (1940, 0), "gpen/portrait"),
            "own": own_picture(),
        },
        "## Portrait enhancement in five blocks\n\n"
        "1. Press **Run**. *Detect Faces* shows what it found, *Restore Faces* the restored "
        "crops, *Paste Back* the result at twice the size.\n"
        f"2. {OWN_PICTURE}\n\n{BETTER_MODEL}",
        groups={
            "Picture": ("image", "own"),
            "Networks": ("model", "detector"),
            "Faces": ("detect", "restore", "upscale", "paste"),
        },
        shown=(0.345, 0, 0.45),
    )


def chosen_faces() -> Workflow:
    """Restore only chosen faces of a group."""
    select = {
        "faces": ("detect", 0),
        "indices": "8, 14",
        "min_size": 0,
        "max_size": 0,
        "order": "largest",
        "keep": 0,
        "invert": False,
    }
    return Workflow(
        "choose_faces_in_a_group",
        {
            "image": sample("solvay_1927.jpg"),
            "model": load_model((360, 0)),
            "detector": load_detector((360, 410)),
            "detect": detect(IMAGE, (720, 0), order="left to right"),
            "select": Block("GPEN_SelectFaces", select, (1120, 530), (320, 230)),
            "restore": restore(IMAGE, ("select", 0), (1120, 0)),
            "upscale": upscale(IMAGE, (1500, 610)),
            "paste": paste(("upscale", 0), (1500, 0)),
            "save": save(("paste", 0), (1940, 0), "gpen/chosen"),
            "own": own_picture(),
        },
        "## Restore only these faces\n\n"
        "*Detect Faces* draws a number on every face. Write the numbers that you want into "
        "**indices** of *Select Faces*: `0, 2, 5-7`. All other faces are enlarged with the rest of "
        f"the picture, and otherwise left alone.\n\n{OWN_PICTURE}\n\n{BETTER_MODEL}",
        shown=(0.492, 0.113, 0.105),  # Albert Einstein, number 14
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
    checkpoint = {
        "name": "v1-5-pruned-emaonly-fp16.safetensors",
        "url": (
            "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/"
            "v1-5-pruned-emaonly-fp16.safetensors"
        ),
        "directory": "checkpoints",
    }
    wanted = "group photo of three friends at a market, natural light"
    clip = ("checkpoint", 1)
    return Workflow(
        "after_a_diffusion_sampler",
        {
            "checkpoint": Block(
                "CheckpointLoaderSimple",
                {"ckpt_name": checkpoint["name"]},
                (0, 0),
                (320, 110),
                models=(checkpoint,),
            ),
            "positive": Block(
                "CLIPTextEncode", {"text": wanted, "clip": clip}, (360, 0), (320, 180)
            ),
            "negative": Block(
                "CLIPTextEncode", {"text": "blurry", "clip": clip}, (360, 250), (320, 180)
            ),
            "latent": Block(
                "EmptyLatentImage",
                {"width": 768, "height": 512, "batch_size": 1},
                (0, 180),
                (320, 120),
            ),
            "sampler": Block("KSampler", sampler, (720, 0), (300, 280), extra=("fixed",)),
            "decode": Block(
                "VAEDecode",
                {"samples": ("sampler", 0), "vae": ("checkpoint", 2)},
                (720, 350),
                (300, 60),
            ),
            "model": load_model((720, 480)),
            "detector": load_detector((720, 890)),
            "detect": detect(generated, (1080, 0)),
            "restore": restore(generated, ("detect", 0), (1480, 0)),
            "upscale": upscale(generated, (1480, 530)),
            "paste": paste(("upscale", 0), (1860, 0)),
            "save": save(("paste", 0), (2300, 0), "gpen/generated"),
        },
        "## Faces of a generated picture\n\n"
        "Small faces are where samplers fail. The decoded picture goes through the five blocks; "
        "ComfyUI keeps the checkpoint and GPEN on the GPU as its memory allows.\n\n"
        f"**Needs a checkpoint:** `{checkpoint['name']}` in `models/checkpoints`, or choose one of "
        f"your own in *Load Checkpoint*.\n\n{BETTER_MODEL}",
        groups={
            "Any text-to-image graph": (
                "checkpoint",
                "positive",
                "negative",
                "latent",
                "sampler",
                "decode",
            ),
            "Faces": ("detect", "restore", "upscale", "paste"),
        },
    )


def all_in_one() -> Workflow:
    """The whole pipeline in one block."""
    return Workflow(
        "portrait_all_in_one",
        {
            "image": sample("astronaut.jpg"),
            "enhance": enhance(),
            "save": save(("enhance", 0), (780, 0), "gpen/enhanced"),
            "report": Block(
                "PreviewAny", {"source": ("enhance", 3)}, (780, 570), (400, 290), "Report"
            ),
            "own": own_picture(),
        },
        "## The whole pipeline in one block\n\n"
        "Press **Run**: it finds the faces, restores them, enlarges the rest and puts the faces "
        "back. The report lists every face, and if one was left alone, why.\n\n"
        f"{OWN_PICTURE}\n\n{BETTER_MODEL}",
        shown=(0.21, 0, 0.45),
    )


def old_photo() -> Workflow:
    """An old, scratched print."""
    return Workflow(
        "old_photo",
        {
            "image": sample("van_duzer_1905.jpg"),
            "enhance": enhance(strength=0.8),
            "save": save(("enhance", 0), (780, 0), "gpen/old_photo"),
            "mask": Block("MaskToImage", {"mask": ("enhance", 1)}, (780, 570), (400, 60)),
            "shown": Block(
                "PreviewImage", {"images": ("mask", 0)}, (780, 700), (400, 300), "Restored here"
            ),
            "own": own_picture(),
        },
        "## An old print\n\n"
        "Scratches and grain are taken out of the faces only. **strength** below 1 leaves some of "
        "the print's own texture, so that the face still belongs to its picture; lower it where "
        "the face became somebody else.\n\n"
        "The black and white picture shows which part was restored.\n\n"
        f"{OWN_PICTURE}\n\n{BETTER_MODEL}",
        (320, 420),
        shown=(0.05, 0.1, 0.9),
    )


def video() -> Workflow:
    """A video, which is never in memory as a whole."""
    picture = {"picture": "astronaut.jpg", "show_preview": True}
    saved = {"video": ("enhance", 0), "filename_prefix": "gpen/video"}
    return Workflow(
        "enhance_video",
        {
            "image": Block("GPEN_SamplePortrait", picture, (0, 0), (300, 480)),
            "frames": Block("RepeatImageBatch", {"image": IMAGE, "amount": 8}, (350, 0)),
            "video": Block("CreateVideo", {"images": ("frames", 0), "fps": 8.0}, (350, 240)),
            "enhance": enhance_video(("video", 0)),
            "save": Block(
                "SaveVideo", {**saved, "format": "auto", "codec": "auto"}, (1130, 0), (400, 500)
            ),
            "report": Block(
                "PreviewAny", {"source": ("enhance", 2)}, (1130, 570), (400, 290), "Report"
            ),
            "own": Block(
                "LoadVideo",
                {"file": "video.mp4"},
                (0, 580),
                (300, 420),
                "Load Video (muted: Ctrl+M)",
                muted=True,
            ),
        },
        "## A video of any length\n\n"
        "Press **Run**: a second of video is made of a photograph, its face is restored, and the "
        "rest is left as it is. Frames are decoded, restored and encoded some at a time: memory "
        "does not grow with the length. Sound, times and colours stay.\n\n"
        "**Your own video:** choose it in *Load Video*, press Ctrl+M on that node, and draw its "
        "output to **video** of *Enhance Video*.\n\n"
        "**Stopped?** What is done can be watched (the log says where), and the same graph goes "
        f"on from there, as long as ComfyUI runs.\n\n{BETTER_MODEL}",
        (320, 560),
        shown=(0.21, 0, 0.45),
    )


def blueprint() -> Workflow:
    """The five blocks, which become one node, between a picture and a file."""
    blocks = {name: block for name, block in five_blocks().blocks.items() if name != "own"}
    blocks["image"] = Block("LoadImage", {"image": "example.png"}, (0, 0))
    note = "Finds every face, restores it with GPEN, upscales the rest, and puts the faces back."
    return Workflow("Portrait enhancement (GPEN)", blocks, note)


# Widgets of the nodes inside that the one node shows.
PROMOTED = (
    ("GPEN_LoadModel", "model"),
    ("GPEN_DetectFaces", "confidence"),
    ("GPEN_RestoreFaces", "strength"),
    ("GPEN_BackgroundUpscale", "model"),
)


BLUEPRINT = blueprint()
WORKFLOWS = (all_in_one(), five_blocks(), chosen_faces(), after_sampler(), old_photo(), video())
