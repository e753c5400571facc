"""GPEN's tensors in a graph, found by following it from its picture back to its input."""

from __future__ import annotations

from dataclasses import dataclass

from ...networks.gpen import MAPPING_LR_MULTIPLIER
from ...networks.shapes import MAX_LAYERS, MAX_LEVELS
from .layouts import Layout, conv, kernel, linear, modulated, number, plain, vector
from .trail import Trail
from .wire import ForeignGraphError


@dataclass(frozen=True)
class Slot:
    """One tensor of the checkpoint: the constant that it is made of, and how."""

    constant: str
    layout: Layout


@dataclass(frozen=True)
class _Level:
    """A resolution: its own part of the picture, and the one enlarged from below, if any."""

    own: str
    below: str | None = None


class GpenGraph:
    """Reads the published network off a graph, last layers first.

    Every method raises :class:`ForeignGraphError` where the graph is of another network.
    """

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._slots: dict[str, Slot] = {}
        self._latents: set[str] = set()

    def slots(self, output: str) -> dict[str, Slot]:
        """Every tensor of the checkpoint by its name.

        Args:
            output: the value that is the restored picture.
        """
        features = self._synthesis(self._levels(output))
        if len(self._latents) != 1:
            raise ForeignGraphError(f"styles of {len(self._latents)} mappings in place of one")
        code = self._mapping(*self._latents)
        if self._trail.moved(code) != features[0]:
            raise ForeignGraphError("a style that is not made of the encoder's last feature")
        self._encoder(features[::-1])
        return self._slots

    def _levels(self, output: str) -> list[_Level]:
        """The resolutions from 4 px up."""
        trail, value, levels = self._trail, output, list[_Level]()
        while True:
            node = trail.node(value)
            if node.op != "Add" or trail.parted(node)[1] is not None:
                return [*levels, _Level(value)][::-1]
            own, below = node.inputs
            if trail.is_filter(own):
                own, below = below, own
            levels.append(_Level(own, below))
            if len(levels) > MAX_LEVELS:
                raise ForeignGraphError(f"more than {MAX_LEVELS} resolutions")
            value, _ = trail.convolved(below)

    def _synthesis(self, levels: list[_Level]) -> list[str]:
        """The synthesis' layers; returns the encoder's features that they take, from 4 px up."""
        features, expected = list[str](), ""
        for index in reversed(range(1, len(levels))):
            to_rgb, first = f"generator.to_rgbs.{index - 1}", 2 * index - 2
            x = self._picture(levels[index], to_rgb, expected)
            x, feature = self._styled(x, f"generator.convs.{first + 1}")
            x, same = self._styled(x, f"generator.convs.{first}", upsample=True)
            if feature != same:
                raise ForeignGraphError("two layers of one resolution with different features")
            features.append(feature)
            expected = x
        x = self._picture(levels[0], "generator.to_rgb1", expected)
        x, feature = self._styled(x, "generator.conv1")
        if not self._trail.is_constant(x):
            raise ForeignGraphError("a synthesis that does not begin with a constant")
        self._slots["generator.input.input"] = Slot(self._trail.unrepeated(x), plain)
        return [*features, feature][::-1]

    def _picture(self, level: _Level, key: str, expected: str) -> str:
        """A resolution's picture: returns the features that it shows."""
        value, bias = self._trail.biased(level.own)
        self._slots[f"{key}.bias"] = Slot(bias, vector(1.0, (1, -1, 1, 1)))
        x = self._modulated(value, f"{key}.conv", demodulated=False)
        if expected and x != expected:
            raise ForeignGraphError(f"other features in {key} than in the next layer")
        if level.below is not None:
            _, taps = self._trail.convolved(level.below)
            self._slots[f"{key}.upsample.kernel"] = Slot(taps, kernel)
        return x

    def _styled(self, value: str, key: str, *, upsample: bool = False) -> tuple[str, str]:
        """A layer of the synthesis: returns its input, and the encoder's feature that it takes."""
        trail = self._trail
        value, bias = trail.activated(value)
        self._slots[f"{key}.activate.bias"] = Slot(bias, vector(1.0, (-1,)))
        joined = trail.expect(value, "Concat")
        if len(joined.inputs) != 2:
            raise ForeignGraphError(f"{len(joined.inputs)} parts at {joined} in place of two")
        value, injected = joined.inputs
        feature, weight = trail.parted(trail.expect(injected, "Mul"))
        if weight is None:
            raise ForeignGraphError(f"a feature without a weight at {joined}")
        self._slots[f"{key}.noise.weight"] = Slot(weight, number)
        if upsample:
            value, taps = trail.convolved(value)
            self._slots[f"{key}.conv.blur.kernel"] = Slot(taps, kernel)
        x = self._modulated(value, f"{key}.conv", upsample=upsample)
        return x, trail.moved(feature)

    def _modulated(
        self, value: str, key: str, *, demodulated: bool = True, upsample: bool = False
    ) -> str:
        """A modulated convolution: returns its input."""
        trail = self._trail
        x, found = trail.modulated(value, "ConvTranspose" if upsample else "Conv")
        if found.demodulated != demodulated:
            raise ForeignGraphError(f"weights with{'out' * demodulated} demodulation in {key}")
        self._slots[f"{key}.weight"] = Slot(found.weight, modulated)
        style, bias = trail.biased(found.style)
        self._slots[f"{key}.modulation.bias"] = Slot(bias, vector(1.0, (-1,)))
        self._latents.add(trail.moved(self._linear(style, f"{key}.modulation")))
        return trail.moved(x)

    def _linear(self, value: str, key: str, lr_multiplier: float = 1.0) -> str:
        """A linear layer without its bias: returns its input."""
        x, weight, transposed = self._trail.linear(value)
        self._slots[f"{key}.weight"] = Slot(weight, linear(lr_multiplier, transposed))
        return x

    def _mapping(self, latent: str) -> str:
        """The mapping network and the layer before it: returns what they take."""
        trail, value, last = self._trail, latent, list[tuple[str, str]]()
        while trail.is_activation(value):
            product, bias = trail.activated(value)
            last.append((product, bias))
            if len(last) > MAX_LAYERS:
                raise ForeignGraphError(f"more than {MAX_LAYERS} layers in the mapping")
            value, *_ = trail.linear(product)
        for index, (product, bias) in enumerate(reversed(last), start=1):
            key = f"generator.style.{index}"
            self._slots[f"{key}.bias"] = Slot(bias, vector(MAPPING_LR_MULTIPLIER, (-1,)))
            self._linear(product, key, MAPPING_LR_MULTIPLIER)
        value, bias = trail.activated(trail.normalised(value))
        self._slots["final_linear.0.bias"] = Slot(bias, vector(1.0, (-1,)))
        return self._linear(value, "final_linear.0")

    def _encoder(self, features: list[str]) -> None:
        """The encoder's layers, whose features are given from the input's size down."""
        trail = self._trail
        for index, feature in enumerate(features):
            key, step = f"ecd{index}.0", 1 if index else 0  # all but the first begin with a filter
            value, bias = trail.activated(feature)
            self._slots[f"{key}.{step + 1}.bias"] = Slot(bias, vector(1.0, (-1,)))
            value, weight = trail.convolved(value)
            self._slots[f"{key}.{step}.weight"] = Slot(weight, conv)
            if index:
                value, taps = trail.convolved(value)
                self._slots[f"{key}.0.kernel"] = Slot(taps, kernel)
            begins = features[index - 1] if index else None
            value = trail.moved(value)
            if value != begins if index else not trail.is_input(value):
                raise ForeignGraphError(f"an encoder whose layer {index} takes something else")
