"""Which options of the configuration each stage takes, and which begin otherwise in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

StageName = Literal["restorer"]


@dataclass(frozen=True)
class StageOptions:
    """What the configuration knows of a stage.

    An option that a stage does not take must keep its default, so that nothing that somebody has
    written is without effect.

    Attributes:
        takes: whole tables (``run``) and single options (``loss.r1_gamma``).
        defaults: by table and key, where they differ from the tables' own. A loss that the stage
            has not gets the weight 0 here, so that everybody who asks is told the truth.
    """

    takes: frozenset[str]
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])


STAGE_OPTIONS: dict[str, StageOptions] = {
    "restorer": StageOptions(
        takes=frozenset({"model", "data", "loss", "optimiser", "run", "device"}),
    ),
}
"""By the stage's name."""
