"""The published recipes, by name or from a file."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from ..errors import InvalidOptionError
from ..settings import read_plain
from . import colour_steps as c
from . import filter_steps as f
from . import steps as s
from .fields import Range
from .operations import Interpolation
from .recipe import OneOf, Recipe, Shuffle, Step


def gfpgan() -> Recipe:
    """GFPGAN's recipe as GPEN's published trainer uses it: the default."""
    steps = _blind((0.1, 10.0), (0.8, 8.0), (0.0, 20.0), (60.0, 100.0))
    return Recipe(name="gfpgan", steps=steps)


def gfpgan_colour() -> Recipe:
    """GFPGAN's own recipe (version 1), whose degraded pictures lose colours that the truth has."""
    return Recipe(
        name="gfpgan-colour",
        grey=0.0,
        steps=(
            *_blind((0.1, 10.0), (0.8, 8.0), (0.0, 20.0), (60.0, 100.0)),
            s.ResizeTo(),
            c.ColourShift(probability=0.3),
            c.Grey(probability=0.01),
            c.ColourJitter(probability=0.3),
        ),
    )


def gpen_paper() -> Recipe:
    """The ranges that GPEN's paper is known for, much harder than those of its published trainer.

    Sourced: the factors of downsampling, 10..200 (quoted from the paper in issues 47 and 190 of its
    repository); that the published trainer's degradation differs from the paper's (its
    ``dataset_face.py``); the order, which both share. Handed down, without a public source that we
    could read: noise 0..25, JPEG 5..50, and that a blur is Gaussian or of motion. Ours: how often
    each, the Gaussian's sigmas and size (the published trainer's), the motion's length, bilinear
    downsampling, no grey pictures.

    The paper's truths are FFHQ's, of 1024 px: they come down to 102..5 px. Of smaller ones less is
    left, at 256 px 25 to a single pixel.
    """
    gaussian, *others = _blind((0.1, 10.0), (10.0, 200.0), (0.0, 25.0), (5.0, 50.0))
    blur = OneOf((0.5, 0.5), ((gaussian,), (f.MotionBlur(),)))
    return Recipe(name="gpen-paper", steps=(blur, *others), grey=0.0)


def codeformer() -> Recipe:
    """CodeFormer's recipe, for heavy damage (stage 2 of its published options), without masks."""
    steps = _blind((1.0, 15.0), (4.0, 30.0), (0.0, 20.0), (30.0, 80.0))
    return Recipe(name="codeformer", steps=steps, grey=0.0)


def codeformer_light() -> Recipe:
    """CodeFormer's recipe of its last stage, without masks."""
    steps = _blind((0.1, 10.0), (1.0, 12.0), (0.0, 15.0), (60.0, 100.0))
    return Recipe(name="codeformer-light", steps=steps, grey=0.0)


def realesrgan(scale: float = 4.0) -> Recipe:
    """Real-ESRGAN's two rounds and last sinc filter (arXiv:2107.10833, its published options).

    As published it starts from the sharpened picture; the truth of a pair stays as it is. The
    result's size is the picture's divided by ``scale``.
    """
    return Recipe(name="realesrgan", grey=0.0, steps=_realesrgan_steps(scale))


def upscaling(scale: float = 4.0) -> Recipe:
    """What an upscaler meets: ``realesrgan`` for half of the pictures, less for the others.

    Three tenths are blurred, shrunk, noisy and compressed a little; one fifth is only shrunk. A
    network that has seen nothing but Real-ESRGAN's damage smooths clean pictures, too.
    """
    shrink = s.ResizeTo(divisor=scale, interpolations=("area", "bilinear", "bicubic"))
    soften = f.Blur(
        kinds=("iso",), weights=(1.0,), sizes=(7, 13), sigma=(0.2, 0.8), probability=0.5
    )
    light: tuple[Step, ...] = (
        f.Blur(kinds=("iso", "aniso"), weights=(0.7, 0.3), sizes=(7, 13), sigma=(0.2, 1.2)),
        shrink,
        s.GaussianNoise(sigma=(0.0, 6.0), grey=0.4),
        s.Jpeg(quality=(70.0, 98.0), probability=0.8),
    )
    ways = (_realesrgan_steps(scale), light, (soften, shrink))
    return Recipe(name="upscaling", grey=0.0, steps=(OneOf((0.5, 0.3, 0.2), ways),))


def shrunk(scale: float = 4.0) -> Recipe:
    """A clean small copy: every pixel the mean of those that it stands for."""
    shrink = s.ResizeTo(divisor=scale, interpolations=("area",))
    return Recipe(name="shrunk", grey=0.0, steps=(shrink,))


def bsrgan() -> Recipe:
    """BSRGAN's shuffled order at scale 4 (arXiv:2103.14006), without its camera model.

    A quarter of the pictures are halved first and go through the same at scale 2.
    """
    any_of: tuple[Interpolation, ...] = ("bilinear", "bicubic", "area")
    half = s.ResizeTo(divisor=2.0, interpolations=any_of)
    return Recipe(
        name="bsrgan",
        grey=0.0,
        steps=(
            OneOf((0.75, 0.25), ((_bsrgan_shuffle(4),), (half, _bsrgan_shuffle(2)))),
            s.Jpeg(quality=(30.0, 96.0)),
        ),
    )


RECIPES = {
    "gfpgan": gfpgan,
    "gfpgan-colour": gfpgan_colour,
    "gpen-paper": gpen_paper,
    "codeformer": codeformer,
    "codeformer-light": codeformer_light,
    "realesrgan": realesrgan,
    "bsrgan": bsrgan,
    "upscaling": upscaling,
    "shrunk": shrunk,
}


SCALED: dict[str, Callable[[float], Recipe]] = {
    "realesrgan": realesrgan,
    "upscaling": upscaling,
    "shrunk": shrunk,
}
"""Those that are made for an upscaler's scale; published for faces: 4."""


def load_recipe(name_or_path: str | Path, scale: float = 4.0) -> Recipe:
    """A published recipe by name, or one from a ``.toml`` or ``.json`` file.

    Args:
        name_or_path: which.
        scale: of the upscaler that it is for; recipes that know of none are the same for all.

    Raises:
        InvalidOptionError: for an unknown name, an unreadable file, or contents that are no recipe.
    """
    if str(name_or_path) in SCALED:
        return SCALED[str(name_or_path)](scale)
    named = RECIPES.get(str(name_or_path))
    if named is not None:
        return named()
    path = Path(name_or_path)
    if path.suffix not in (".toml", ".json") or not path.is_file():
        raise InvalidOptionError(
            f"Expected a degradation recipe, one of {', '.join(RECIPES)}, or a .toml or .json "
            f"file; found {str(name_or_path)!r}, which is neither. Check the spelling."
        )
    return Recipe.from_dict(read_plain(path, "a degradation recipe"))


def _blind(sigma: Range, factor: Range, noise: Range, quality: Range) -> tuple[Step, ...]:
    """Blur, shrink, noise, JPEG: the order of blind face restoration since GFPGAN."""
    return (
        f.Blur(kinds=("iso", "aniso"), weights=(0.5, 0.5), sizes=(41, 41), sigma=sigma),
        s.Downscale(factor=factor),
        s.GaussianNoise(sigma=noise),
        s.Jpeg(quality=quality),
    )


def _realesrgan_steps(scale: float) -> tuple[Step, ...]:
    last = s.ResizeTo(divisor=scale, interpolations=("area", "bilinear", "bicubic"))
    compress = s.Jpeg(quality=(30.0, 95.0))
    return (
        f.Sharpen(),
        _realesrgan_blur((0.2, 3.0), 1.0),
        s.Rescale(weights=(0.2, 0.7, 0.1), factor=(0.15, 1.5)),
        _gaussian_or_poisson((1.0, 30.0), (0.05, 3.0)),
        compress,
        _realesrgan_blur((0.2, 1.5), 0.8),
        s.Rescale(weights=(0.3, 0.4, 0.3), factor=(0.3, 1.2), divisor=scale),
        _gaussian_or_poisson((1.0, 25.0), (0.05, 2.5)),
        OneOf((0.5, 0.5), ((last, f.Sinc(), compress), (compress, last, f.Sinc()))),
    )


def _realesrgan_blur(sigma: Range, probability: float) -> f.Blur:
    return f.Blur(
        kinds=(
            "iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso",
        ),
        weights=(0.45, 0.25, 0.12, 0.03, 0.12, 0.03),
        sizes=(7, 21), sigma=sigma, wavy=0.1, probability=probability,
    )  # fmt: skip


def _gaussian_or_poisson(sigma: Range, scale: Range) -> OneOf:
    gaussian = s.GaussianNoise(sigma=sigma, grey=0.4)
    return OneOf((0.5, 0.5), ((gaussian,), (s.PoissonNoise(scale=scale, grey=0.4),)))


def _bsrgan_blur(scale: int) -> OneOf:
    widest = 2.0 + 0.2 * scale
    level = f.Blur(kinds=("iso",), weights=(1.0,), sizes=(7, 25), sigma=(1e-3, widest))
    slanted = f.Blur(
        kinds=("aniso",), weights=(1.0,), sizes=(7, 25), sigma=(1e-3, math.sqrt(4.0 + scale)),
        angle=(0.0, math.pi), variances=True,
    )  # fmt: skip
    return OneOf((0.5, 0.5), ((slanted,), (level,)))


def _bsrgan_shuffle(scale: int) -> Shuffle:
    any_of: tuple[Interpolation, ...] = ("bilinear", "bicubic", "area")
    shrink = s.Downscale(factor=(1.0, 2.0 * scale), interpolations=any_of)
    decimate = s.Decimate(factor=scale, sigma=(0.1, 0.6 * scale))
    # What downsampling leaves is brought to the final size by the next step, so it stays second.
    last = s.ResizeTo(divisor=4.0, interpolations=any_of)
    return Shuffle(
        steps=(
            _bsrgan_blur(scale),
            _bsrgan_blur(scale),
            OneOf((0.75, 0.25), ((shrink,), (decimate,))),
            last,
            s.GaussianNoise(sigma=(2.0, 25.0), grey=0.4, correlated=0.2),
            s.Jpeg(quality=(30.0, 96.0), probability=0.9),
        ),
        in_order=(2, 3),
    )
