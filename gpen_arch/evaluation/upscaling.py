"""Scores of an upscaler on whole pictures, beside those of plain resizing.

A picture is made smaller by a recipe, enlarged in every way, rounded to 8 bit and compared with
itself. Nothing is cut off at the borders.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor, nn

from ..degradation.recipe import Recipe, degrade, generator_for
from ..errors import InvalidOptionError
from ..files.atomic import write_bytes_atomically
from ..images import round_to_levels
from .metrics import psnr

BASELINES = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
"""What enlarges pictures where there is no network."""

NETWORK = "network"
MULTIPLE = 4
"""Sides of the true pictures are cut to multiples of it, so that no scale leaves a rest."""

Pixels = npt.NDArray[np.uint8]
Enlarge = Callable[[Tensor], Tensor]
"""(1, 3, H, W) in 0..1 to (1, 3, scale H, scale W)."""

Scores = dict[str, dict[str, float]]
"""By what enlarged, then by figure: ``psnr`` in dB, ``lpips`` (lower is better)."""


@dataclass(frozen=True)
class UpscalingScores:
    """One picture under one recipe."""

    name: str
    recipe: str
    scores: Scores


def resized(picture: Tensor, scale: int, how: Image.Resampling) -> Tensor:
    """The picture (3, H, W), 8-bit, as Pillow enlarges it: of the same type."""
    pixels = np.ascontiguousarray(rearrange(picture, "c h w -> h w c").numpy())
    size = (scale * pixels.shape[1], scale * pixels.shape[0])
    large = np.array(Image.fromarray(pixels).resize(size, how))
    return rearrange(torch.from_numpy(large), "h w c -> c h w")


def score_upscaler(
    enlarge: Enlarge,
    pictures: Iterable[tuple[str, Pixels]],
    recipes: Mapping[str, Recipe],
    scale: int,
    *,
    seed: int = 0,
    lpips: nn.Module | None = None,
) -> Iterator[UpscalingScores]:
    """Score every picture under every recipe, one after the other.

    Args:
        enlarge: the network.
        pictures: names and truths (H, W, 3), RGB.
        recipes: by name; made for this scale.
        scale: of the network.
        seed: of the degradations: of (seed, 0, the picture's place).
        lpips: the network that measures LPIPS, on the device that ``enlarge`` answers on.
    """
    for place, (name, pixels) in enumerate(pictures):
        height, width = (side // MULTIPLE * MULTIPLE for side in pixels.shape[:2])
        good = np.divide(pixels[:height, :width], 255, dtype=np.float32)
        truth = torch.from_numpy(good).permute(2, 0, 1)[None]
        for recipe_name, recipe in recipes.items():
            rng = generator_for(seed, 0, place)
            small = torch.from_numpy(degrade(good, recipe, rng, scale)).permute(2, 0, 1)
            levels = (small * 255).round().byte()
            answers = {NETWORK: round_to_levels(enlarge(small[None]).float())}
            for way, how in BASELINES.items():
                answers[way] = resized(levels, scale, how)[None] / 255
            scores = {way: _figures(answer, truth, lpips) for way, answer in answers.items()}
            yield UpscalingScores(name, recipe_name, scores)


@torch.inference_mode()
def _figures(answer: Tensor, truth: Tensor, lpips: nn.Module | None) -> dict[str, float]:
    found = {"psnr": float(psnr(answer, truth))}
    if lpips is not None:
        found["lpips"] = float(lpips(answer, truth, normalize=True))
    return found


def means(scored: Iterable[UpscalingScores]) -> dict[str, Scores]:
    """Mean figures over pictures, by recipe.

    Raises:
        InvalidOptionError: nothing was scored.
    """
    sums: dict[str, list[Scores]] = {}
    for each in scored:
        sums.setdefault(each.recipe, []).append(each.scores)
    if not sums:
        raise InvalidOptionError("expected pictures to score, found none that can be read")
    return {
        recipe: {
            way: {f: float(np.mean([one[way][f] for one in all_scores])) for f in figures}
            for way, figures in all_scores[0].items()
        }
        for recipe, all_scores in sums.items()
    }


def format_means(table: Mapping[str, Scores]) -> str:
    """Lines for a screen: one for each recipe and figure."""
    ways = (NETWORK, *BASELINES)
    lines = [f"{'recipe':16}{'figure':8}" + "".join(f"{way:>10}" for way in ways)]
    for recipe, scores in table.items():
        for figure in scores[NETWORK]:
            digits = 2 if figure == "psnr" else 4
            cells = "".join(f"{scores[way][figure]:>10.{digits}f}" for way in ways)
            lines.append(f"{recipe:16}{figure:8}{cells}")
    return "\n".join(lines)


def write_report(
    path: Path, scored: Iterable[UpscalingScores], settings: Mapping[str, object]
) -> None:
    """Write settings, means and every picture's figures as JSON. Raises OutputError."""
    pictures = list(scored)
    document = {
        "version": 1,
        "settings": dict(settings),
        "means": means(pictures),
        "pictures": [vars(each) for each in pictures],
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes_atomically(path, text.encode("utf-8"))
