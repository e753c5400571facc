"""A training run's configuration: frozen dataclasses, to and from TOML and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from ..errors import InvalidOptionError
from ..settings import Rules, check, from_plain, is_table, read_plain, to_plain
from .options import (
    DataOptions,
    DeviceOptions,
    LossOptions,
    ModelOptions,
    OptimiserOptions,
    PriorOptions,
    RunOptions,
    UpscalerOptions,
)
from .parts import Part, Tables, parts_from_plain
from .stage_options import STAGE_OPTIONS, StageName


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a run's weights, apart from the pictures.

    Attributes:
        stage: which kind of network is trained; it says which of the options there are.
        schedule: what changes during the run; see :mod:`.parts`.
    """

    stage: StageName = "restorer"
    model: ModelOptions = field(default_factory=ModelOptions)
    prior: PriorOptions = field(default_factory=PriorOptions)
    upscaler: UpscalerOptions = field(default_factory=UpscalerOptions)
    data: DataOptions = field(default_factory=DataOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    run: RunOptions = field(default_factory=RunOptions)
    device: DeviceOptions = field(default_factory=DeviceOptions)
    schedule: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        check(self, "configuration")
        self.parts()

    def rules(self) -> Rules:
        """What holds between options of several tables."""
        size, group = self.data.batch_size, self.model.stddev_group
        foreign, starts = self._foreign(), [part.start for part in self.schedule]
        return [
            (
                f"data.batch_size a multiple of model.stddev_group ({group}) or below it, "
                f"found {size}",
                size < group or size % group == 0,
            ),
            (f"options of the stage {self.stage} only, found {', '.join(foreign)}", not foreign),
            (
                f"parts of the schedule in order, and before run.steps ({self.run.steps}), found "
                f"from = {', '.join(map(str, starts))}",
                all(one < other for one, other in pairwise([*starts, self.run.steps])),
            ),
        ]

    def parts(self) -> list[tuple[int, TrainingConfig]]:
        """The first step of each part of the run, from 0 on, and what holds in it.

        Raises:
            InvalidOptionError: a part whose values cannot be.
        """
        if not self.schedule:
            return [(0, self)]
        whole = replace(self, schedule=())
        found: list[tuple[int, TrainingConfig]] = [(0, whole)]
        tables = whole.to_dict()
        for part in self.schedule:
            try:
                tables = part.applied_to(tables)
                found.append((part.start, TrainingConfig.from_dict(tables)))
            except InvalidOptionError as error:
                raise InvalidOptionError(f"schedule from {part.start}: {error}") from error
        return found

    def _foreign(self) -> list[str]:
        """The options that were given a value, and that this stage does not take."""
        defaults = stage_defaults(self.stage)
        return [
            f"{table}.{key} = {value!r}"
            for table, values in self.to_dict().items()
            if is_table(values)
            for key, value in values.items()
            if not self.takes(table, key) and value != defaults[table][key]
        ]

    def takes(self, table: str, key: str) -> bool:
        """Return whether this option is one of the stage's."""
        return bool({table, f"{table}.{key}"} & STAGE_OPTIONS[self.stage].takes)

    @property
    def needs_discriminator(self) -> bool:
        """Whether any part of the run has a loss that does."""
        return any(part.loss.needs_discriminator for _, part in self.parts())

    def to_dict(self) -> Tables:
        """Plain dicts, lists, numbers and strings."""
        return {**to_plain(self), "schedule": [part.to_plain() for part in self.schedule]}

    @staticmethod
    def from_dict(values: object) -> TrainingConfig:
        """The configuration that these tables describe; what they lack keeps its stage's default.

        Raises:
            InvalidOptionError: names the key that is unknown, of a wrong type or out of range, or
                that the stage does not take.
        """
        if not is_table(values):
            return from_plain(TrainingConfig, values)
        tables = _completed(values)
        schedule = parts_from_plain(tables.pop("schedule", []))
        return replace(from_plain(TrainingConfig, tables), schedule=schedule)


def stage_defaults(stage: str) -> Tables:
    """The tables of a configuration of which nothing is said but its stage."""
    tables = {
        name: to_plain(kind())
        for name, kind in (
            ("model", ModelOptions),
            ("prior", PriorOptions),
            ("upscaler", UpscalerOptions),
            ("data", DataOptions),
            ("loss", LossOptions),
            ("optimiser", OptimiserOptions),
            ("run", RunOptions),
            ("device", DeviceOptions),
        )
    }
    for name, values in STAGE_OPTIONS[stage].defaults.items():
        tables[name].update(values)
    return tables


def _completed(values: Mapping[str, object]) -> Tables:
    """The tables with their stage's defaults; what is wrong in them stays, to be named."""
    stage, tables = values.get("stage", "restorer"), dict(values)
    own = STAGE_OPTIONS.get(stage) if isinstance(stage, str) else None
    for name, defaults in own.defaults.items() if own else ():
        given = values.get(name, {})
        tables[name] = {**defaults, **given} if is_table(given) else given
    return tables


def read_tables(path: str | Path) -> object:
    """Read a ``.toml`` configuration, or the one in a run folder's ``config.json``, unchecked.

    Raises:
        InvalidOptionError: unreadable.
    """
    values = read_plain(Path(path), "a training configuration")
    if is_table(values) and {"config", "processes"} <= values.keys():
        return values["config"]
    return values


def load_config(path: str | Path) -> TrainingConfig:
    """Return the configuration in a file that :func:`read_tables` reads.

    Raises:
        InvalidOptionError: unreadable, or not a configuration.
    """
    return TrainingConfig.from_dict(read_tables(path))
