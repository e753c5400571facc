"""Where a face's five points lie in the crops that a family of networks was trained on."""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[float, float]
FivePoints = tuple[Point, Point, Point, Point, Point]


@dataclass(frozen=True)
class Template:
    """Eyes, nose and mouth corners, left to right as the viewer sees them.

    ``points`` are fractions of the crop's side: times the side they are pixels, with centres at
    integers.
    """

    name: str
    points: FivePoints


# InsightFace's points in a frame of 96 x 112 pixels, which all three published systems start from.
_FRAME_96X112: FivePoints = (
    (30.29459953, 51.69630051),
    (65.53179932, 51.50139999),
    (48.02519989, 71.73660278),
    (33.54930115, 92.3655014),
    (62.72990036, 92.20410156),
)


def _framed(margin: int) -> FivePoints:
    """The frame widened to 112 x 112, with ``margin`` pixels added on each side."""
    side = 112 + 2 * margin
    points = tuple(((x + 8 + margin) / side, (y + margin) / side) for x, y in _FRAME_96X112)
    eye, other_eye, nose, mouth, other_mouth = points
    return eye, other_eye, nose, mouth, other_mouth


GPEN = Template("GPEN", _framed(28))
"""The square frame with a quarter of it on each side; source: the published GPEN pipeline."""

ARCFACE = Template("ARCFACE", _framed(0))
"""The bare square frame: what face recognition takes (ArcFace, EQFace)."""

FFHQ = Template(
    "FFHQ",
    (
        (192.98138 / 512, 239.94708 / 512),
        (318.90277 / 512, 240.1936 / 512),
        (256.63416 / 512, 314.01935 / 512),
        (201.26117 / 512, 371.41043 / 512),
        (313.08905 / 512, 371.15118 / 512),
    ),
)
"""What GFPGAN, RestoreFormer and CodeFormer align to; source: facexlib's template of 512 px."""

TEMPLATES = {template.name: template for template in (GPEN, ARCFACE, FFHQ)}
