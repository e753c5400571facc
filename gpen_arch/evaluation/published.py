"""Benchmark sets by name, with figures that were published for them and where each was read.

Only figures that were read in a source are here; the sets themselves are the user's own copies.
They were measured by each paper's own scripts, on files that it degraded itself: beside ours they
tell an order of magnitude, not a rank.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InvalidOptionError


@dataclass(frozen=True)
class PublishedFigures:
    """What a source says that a method reached; ``figures`` by our names of metrics."""

    method: str
    figures: dict[str, float]
    source: str


@dataclass(frozen=True)
class Benchmark:
    """A set that papers measure on.

    Attributes:
        title: as papers call it.
        truth: whether its faces come with their truth.
        count: how many faces it has, where a source says so.
        description: what it is, and the source of ``count``.
        published: figures of others.
    """

    title: str
    truth: bool
    count: int | None
    description: str
    published: tuple[PublishedFigures, ...] = ()


_DAEFR = "LIAGM/DAEFR_test_datasets on Hugging Face"
_GPEN = "Yang et al. 2021 (arXiv:2105.06070), as listed at vercel.hyper.ai/en/papers/2105.06070"
_CODEFORMER = "Zhou et al. 2022 (arXiv:2206.11253), as listed at beta.hyper.ai/en/papers/2206.11253"

# LPIPS is without its backbone here, as the sources do not say it: "lpips" stands beside both.
BENCHMARKS: dict[str, Benchmark] = {
    "celeba-hq-gpen": Benchmark(
        "CelebA-HQ, as GPEN degrades it",
        True,
        None,
        "CelebA-HQ faces with GPEN's own degradations",
        (
            PublishedFigures("GPEN", {"fid": 31.72, "psnr": 20.80, "lpips": 0.346}, _GPEN),
            PublishedFigures("HiFaceGAN", {"fid": 56.67, "psnr": 21.33, "lpips": 0.392}, _GPEN),
            PublishedFigures("Pix2PixHD", {"fid": 76.89, "psnr": 20.45, "lpips": 0.494}, _GPEN),
            PublishedFigures("GWAInet", {"fid": 135.84, "psnr": 19.84, "lpips": 0.569}, _GPEN),
            PublishedFigures("Super-FAN", {"fid": 136.83, "psnr": 21.56, "lpips": 0.616}, _GPEN),
        ),
    ),
    "celeba-test": Benchmark(
        "CelebA-Test",
        True,
        3000,
        f"3000 faces of CelebA-HQ, degraded synthetically (count: {_DAEFR})",
        (
            PublishedFigures(
                "CodeFormer",
                {"fid": 60.62, "psnr": 22.18, "ssim": 0.61, "lpips": 0.299},
                _CODEFORMER,
            ),
        ),
    ),
    "lfw-test": Benchmark(
        "LFW-Test",
        False,
        1711,
        f"1711 real faces of LFW, without truth (count: {_DAEFR})",
        (
            PublishedFigures("PSFRGAN", {"fid": 51.89}, _CODEFORMER),
            PublishedFigures("CodeFormer", {"fid": 52.02}, _CODEFORMER),
            PublishedFigures("GPEN", {"fid": 57.58}, _CODEFORMER),
            PublishedFigures("PULSE", {"fid": 64.86}, _CODEFORMER),
        ),
    ),
    "webphoto-test": Benchmark(
        "WebPhoto-Test", False, None, "real faces from the web, without truth"
    ),
    "wider-test": Benchmark(
        "WIDER-Test",
        False,
        970,
        f"970 real faces of WIDER FACE, without truth (count: {_DAEFR})",
    ),
}


def find_benchmark(name: str) -> Benchmark:
    """The set of this name. Raises InvalidOptionError where there is none."""
    if name not in BENCHMARKS:
        raise InvalidOptionError(
            f"expected a benchmark among {', '.join(BENCHMARKS)}; found {name!r}"
        )
    return BENCHMARKS[name]


def benchmark_notes(benchmark: Benchmark, count: int) -> tuple[str, ...]:
    """What keeps a measurement of ``count`` faces from comparing with published figures."""
    notes: list[str] = []
    if benchmark.count is not None and count != benchmark.count:
        notes.append(f"{benchmark.title} has {benchmark.count} faces; {count} were measured here")
    if not benchmark.published:
        notes.append(f"no published figure of {benchmark.title} was found in a source at hand")
    return tuple(notes)
