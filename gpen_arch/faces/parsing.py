"""Which part of a face each pixel of a crop shows, by a parsing network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device.transfer import upload
from ..errors import InvalidOptionError, UnsupportedModelError
from ..loading import LoadedNetwork, Source, load_for
from ..networks import FaceCrops

PARTS: dict[str, tuple[int, ...]] = {
    "skin": (1,),
    "nose": (2,),
    "glasses": (3,),
    "eyes": (4, 5),
    "brows": (6, 7),
    "ears": (8, 9, 15),  # with earrings
    "mouth": (10, 11, 12),
    "hair": (13,),
    "neck": (16, 17),  # with necklaces
}
"""The parts of a face, and the classes of CelebAMask-HQ that show each.

All together they are the published mask: everything but background, hat and clothes.
"""

PARSER_ID = "parsenet"
"""The manifest's name of the published parsing network."""


def parse_parts(text: str) -> tuple[str, ...]:
    """Parts of a face from text: ``"skin, nose"`` only these, ``"-hair, -glasses"`` all but these.

    Raises:
        InvalidOptionError: other words, or parts to take and parts to leave out in one text.

    Example:
        >>> parse_parts("eyes, mouth")
        ('eyes', 'mouth')
        >>> "hair" in parse_parts("-hair")
        False
        >>> len(parse_parts(""))
        9
    """
    words = [word for word in text.replace(",", " ").split() if word]
    known = ", ".join(PARTS)
    for word in words:
        if word.removeprefix("-") not in PARTS:
            raise InvalidOptionError(
                f"expected parts of a face ({known}), found {word!r} in {text!r}; write 'eyes, "
                "mouth' for only these, or '-hair, -glasses' for all but these"
            )
    without = {word.removeprefix("-") for word in words if word.startswith("-")}
    if without and len(without) < len(set(words)):
        raise InvalidOptionError(
            f"expected either parts to take or, each with a '-', parts to leave out, found {text!r}"
        )
    if without:
        return tuple(part for part in PARTS if part not in without)
    return tuple(dict.fromkeys(words)) or tuple(PARTS)


@dataclass(frozen=True)
class FaceParser:
    """A parsing network with the size and range of its crops taken care of.

    Attributes:
        loaded: the network and its record.
    """

    loaded: LoadedNetwork

    def __post_init__(self) -> None:
        if self.loaded.architecture.crops is None:
            raise UnsupportedModelError(
                f"expected a parser of face crops, found {self.loaded.architecture.label}, whose "
                "record says nothing of crops; use ParseNet"
            )

    @property
    def network(self) -> nn.Module:
        return self.loaded.network

    def activation_bytes(self) -> int:
        """Bytes of all tensors alive at once while it looks at a face."""
        size = self._crops.size
        return self.loaded.architecture.activation_bytes(self.network, (1, size, size), 4)

    @torch.inference_mode()
    def __call__(self, crops: Tensor) -> Tensor:
        """Classes of crops (N, 3, S, S) in 0..1: (N, 512, 512), uint8, on the crops' device."""
        size = self._crops.size
        labels = crops.new_empty((len(crops), size, size), dtype=torch.uint8)
        device = next(self.network.parameters()).device
        for found, crop in zip(labels, crops, strict=True):  # one by one: they are large
            found.copy_(self._classes(upload(crop[None].float(), device)))
        return labels

    def _classes(self, crop: Tensor) -> Tensor:
        size, (black, white) = (self._crops.size, self._crops.size), self._crops.input_range
        if crop.shape[-2:] != size:
            crop = F.interpolate(crop, size, mode="bilinear", align_corners=False, antialias=True)
        output = self.network(crop * (white - black) + black)
        return self._crops.picture(output).argmax(dim=1)[0]

    @property
    def _crops(self) -> FaceCrops:
        crops = self.loaded.architecture.crops
        assert crops is not None
        return crops(self.network)


def load_parser(source: Source, device: torch.device | str = "cpu") -> FaceParser:
    """Load a parsing network, in fp32.

    Raises:
        UnsupportedModelError: the file is of another network.
        WeightsNotFoundError: no such file.
    """
    return FaceParser(load_for("parser", source, device))
