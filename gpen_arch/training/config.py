"""A training run's configuration: frozen dataclasses, to and from TOML and JSON."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from ..errors import InvalidOptionError
from ..networks.discriminator import DiscriminatorConfig
from ..networks.gpen import GPENConfig

EMA_DECAY = 0.5 ** (32 / 10_000)
"""GPEN's published decay of the averaged weights, per step."""

Part = Literal["encoder", "mapping", "decoder"]
Built = TypeVar("Built")


@dataclass(frozen=True)
class ModelOptions:
    """The networks' sizes and where their weights start.

    Attributes:
        size: side of the pictures, pixels; a power of two from 8 up.
        style_dim, n_mlp, channel_multiplier, narrow: see :class:`GPENConfig`.
        injection: first value of the factors on the encoder's features, from scratch only
            (published: 0, for a pretrained prior; 1 learns faster without one).
        stddev_group: pictures that share the discriminator's minibatch statistic, a process.
        start: a GPEN checkpoint to go on from.
        start_discriminator: its discriminator.
        prior: a StyleGAN2 checkpoint whose synthesis network becomes the decoder.
        freeze: parts that do not learn.
    """

    size: int = 256
    style_dim: int = 512
    n_mlp: int = 8
    channel_multiplier: int = 2
    narrow: float = 1.0
    injection: float = 0.0
    stddev_group: int = 4
    start: str = ""
    start_discriminator: str = ""
    prior: str = ""
    freeze: tuple[Part, ...] = ()

    @property
    def generator(self) -> GPENConfig:
        return GPENConfig(
            self.size, self.style_dim, self.n_mlp, self.channel_multiplier, self.narrow
        )

    @property
    def discriminator(self) -> DiscriminatorConfig:
        return DiscriminatorConfig(
            self.size, self.channel_multiplier, self.narrow, self.stddev_group
        )


@dataclass(frozen=True)
class DataOptions:
    """What the network sees.

    Attributes:
        recipe: a published recipe's name, or a recipe's file.
        batch_size: pictures a process and micro-batch.
        flip: chance of mirroring; negative leaves it to the recipe.
        jitter: strength of the colour jitter, 0..1.
        rotation: largest turn either way, degrees.
        scale: least and largest size of the face against the picture's own framing. FFHQ's faces
            are 1.17 times as large as GPEN's template has them.
        shift: largest shift along each axis, as a part of the side.
        workers: processes that prepare pictures; 0 prepares them in the training process.
        cache: keep decoded pictures in memory.
        val_count: pictures of the validation set that are used; 0 is all.
    """

    recipe: str = "gfpgan"
    batch_size: int = 4
    flip: float = -1.0
    jitter: float = 0.0
    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    workers: int = 1
    cache: bool = False
    val_count: int = 64


@dataclass(frozen=True)
class LossOptions:
    """Weights of the losses; 0 switches one off (and what only it needs).

    Attributes:
        pixel: which difference ``pixel_weight`` weighs, of pictures in -1..1.
        frequency_weight: L1 between Fourier coefficients, for sharper pictures without a GAN.
        gradient_weight: L1 between differences of neighbouring pixels.
        adversarial_weight: the non-saturating loss.
        feature_weight: distance of the discriminator's features (GPEN, equation 5; paper: 0.02).
        identity_weight: 1 - cosine of ArcFace features.
        perceptual, perceptual_weight: LPIPS, and by which backbone.
        perceptual_crop: side of the random square that it looks at, pixels; 0 is all.
        perceptual_shrink: the part of the batch that it looks at is 1 / perceptual_shrink.
        r1_gamma, r1_every: the discriminator's gradient penalty and its interval in steps.
        path_weight, path_every, path_shrink: path-length regularisation, its interval, and the
            part of the batch that it looks at (1 / path_shrink).
    """

    pixel: Literal["l1", "smooth_l1", "charbonnier", "l2", "psnr"] = "l1"
    pixel_weight: float = 1.0
    frequency_weight: float = 0.0
    gradient_weight: float = 0.0
    adversarial_weight: float = 1.0
    feature_weight: float = 0.02
    identity_weight: float = 0.0
    perceptual: Literal["alex", "vgg"] = "vgg"
    perceptual_weight: float = 0.0
    perceptual_crop: int = 0
    perceptual_shrink: int = 1
    r1_gamma: float = 10.0
    r1_every: int = 16
    path_weight: float = 2.0
    path_every: int = 4
    path_shrink: int = 2

    @property
    def needs_discriminator(self) -> bool:
        return self.adversarial_weight > 0 or self.feature_weight > 0

    def weight_of(self, name: str) -> float:
        """Return the weight of a loss by its name."""
        weight: float = getattr(self, f"{name}_weight")
        return weight


@dataclass(frozen=True)
class OptimiserOptions:
    """Adam, one learning rate a part (paper: 100 : 10 : 1), and their course.

    Attributes:
        betas: before the correction for lazy regularisation.
        warmup: steps of linear growth from 0.
        decay: ``cosine`` and ``linear`` reach 0 at the last step.
        clip: largest gradient norm; 0 does not clip.
        accumulate: micro-batches a step.
    """

    encoder_lr: float = 2e-3
    decoder_lr: float = 2e-4
    discriminator_lr: float = 2e-5
    betas: tuple[float, float] = (0.0, 0.99)
    warmup: int = 0
    decay: Literal["constant", "cosine", "linear"] = "constant"
    clip: float = 0.0
    accumulate: int = 1
    ema_decay: float = EMA_DECAY


@dataclass(frozen=True)
class RunOptions:
    """How long, and what is written how often (in steps).

    Attributes:
        precision: of forward and backward passes, apart from the regularisers. Not fp16: gradients
            are not scaled, which it would need.
        best: the validation score by which the best weights are chosen: PSNR, or LPIPS (alex),
            which is computed only then.
    """

    steps: int = 100_000
    seed: int = 0
    precision: Literal["no", "bf16"] = "no"
    log_every: int = 50
    validate_every: int = 1000
    checkpoint_every: int = 1000
    keep: int = 3
    best: Literal["psnr", "lpips"] = "psnr"
    samples: int = 6
    tensorboard: bool = True


@dataclass(frozen=True)
class DeviceOptions:
    """How a step is computed; nothing but rounding depends on it.

    Attributes:
        channels_last: keep pictures and features in the order that convolutions like best.
        compile: let torch compile the generator's plain steps and the losses' networks; on a CPU
            it takes a C++ compiler, and half a minute at the start. The regularisers stay as they
            are: their gradients of gradients cannot be compiled.
    """

    channels_last: bool = True
    compile: bool = False


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a run's weights, apart from the pictures."""

    model: ModelOptions = field(default_factory=ModelOptions)
    data: DataOptions = field(default_factory=DataOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    run: RunOptions = field(default_factory=RunOptions)
    device: DeviceOptions = field(default_factory=DeviceOptions)

    def __post_init__(self) -> None:
        from .config_checks import check_config

        check_config(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings."""
        return cast("dict[str, Any]", json.loads(json.dumps(dataclasses.asdict(self))))

    @staticmethod
    def from_dict(values: Mapping[str, object]) -> "TrainingConfig":
        """The configuration that these tables describe; what they lack keeps its default.

        Raises:
            InvalidOptionError: names the key that is unknown, of a wrong type or out of range.
        """
        return _build(TrainingConfig, "", values)


def load_config(path: str | Path) -> TrainingConfig:
    """Read a ``.toml`` configuration, or the one in a run folder's ``config.json``.

    Raises:
        InvalidOptionError: unreadable, or not a configuration.
    """
    from ..degradation.recipes import parse_toml

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else parse_toml(text)
    except (OSError, ValueError) as error:
        raise InvalidOptionError(
            f"expected a training configuration (TOML), found {path} unreadable: {error}"
        ) from error
    if isinstance(values, dict) and {"config", "processes"} <= set(values):
        values = values["config"]
    return _build(TrainingConfig, "", values)


def _build(kind: type[Built], name: str, values: object) -> Built:
    if not isinstance(values, Mapping):
        raise InvalidOptionError(f"expected a table [{name}], found {values!r}")
    fields = typing.get_type_hints(kind)
    unknown = sorted(set(map(str, values)) - set(fields))
    if unknown:
        raise InvalidOptionError(
            f"[{name or 'top level'}] knows {', '.join(fields)}; found {', '.join(unknown)}. "
            "Check the spelling"
        )
    built = {
        key: _convert(hint, f"{name}.{key}".lstrip("."), values[key])
        for key, hint in fields.items()
        if key in values
    }
    return kind(**built)


def _convert(hint: Any, name: str, value: object) -> Any:
    """``value`` as the field's type; integers are numbers, too, but booleans are not."""
    if dataclasses.is_dataclass(hint):
        return _build(cast(type, hint), name, value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, (list, tuple)):
        inner = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(inner) == len(value):
            return tuple(_convert(h, name, v) for h, v in zip(inner, value, strict=True))
    elif origin is Literal and value in arguments:
        return value
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif (
        isinstance(hint, type) and not isinstance(hint, types.GenericAlias) and type(value) is hint
    ):
        return value
    wanted = " | ".join(map(repr, arguments)) if origin is Literal else str(hint)
    raise InvalidOptionError(f"{name}: expected {wanted}, found {value!r}")
