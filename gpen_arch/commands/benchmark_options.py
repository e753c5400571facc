"""Which options of ``gpen benchmark`` act on what: one that would be ignored is refused."""

from __future__ import annotations

from argparse import Namespace

from ..benchmark.ablation import SUBJECTS
from ..benchmark.cases import CASES
from ..benchmark.scaling import SWEEPS
from ..errors import InvalidOptionError

# What can be measured, by the words that ask for it.
Measured = frozenset[str]


def _named(option: str, *names: str) -> Measured:
    return frozenset(f"{option} {name}" for name in names)


_CASES, _SWEEPS = _named("--only", *CASES), _named("--scaling", *SWEEPS)
_ABLATION = frozenset({"--ablation"})
_GPENS = _named("--only", "gpen", "pipeline", "video") | _named("--scaling", "faces", "batch")
_NETWORKS = _GPENS | _named("--only", "rrdbnet") | _named("--scaling", "picture")

USED_BY: dict[str, Measured] = {
    "only": _CASES | _ABLATION,
    "dtype": _NETWORKS | _ABLATION,
    "size": _GPENS | _named("--only", "paste") | _ABLATION,
    "batch": _named("--only", "gpen") | _ABLATION,
    "compile": _GPENS | _ABLATION,
    "without": _NETWORKS,
    "faces": _named("--only", "paste", "pipeline"),
    "frames": _named("--only", "video"),
    "picture": _named("--only", "detection", "paste", "pipeline") | _named("--scaling", "faces"),
    "runs": _CASES | _ABLATION,
    "detector": _named("--only", "detection", "pipeline"),
    "peer": _named("--only", "gpen", "rrdbnet"),
    "most_faces": _named("--scaling", "faces", "batch"),
    "most_megapixels": _named("--scaling", "picture"),
    "plot": _SWEEPS,
}
_OF_GPEN = ("size", "batch", "compile")


def require_used(args: Namespace) -> None:
    """Check that each option given acts on something that is measured.

    Raises:
        InvalidOptionError: one does not.
    """
    measured = _measured(args)
    for name, used_by in USED_BY.items():
        if getattr(args, name) and not used_by & measured:
            raise InvalidOptionError(
                f"--{name.replace('_', '-')}: expected with one of {', '.join(sorted(used_by))}, "
                f"found {', '.join(sorted(measured))}, which does not use it; leave it out"
            )
    if args.scaling is not None:
        _require_one(args)
    if args.ablation:
        _require_ablated(args)


def _measured(args: Namespace) -> Measured:
    if args.ablation:
        return _ABLATION
    if args.scaling is not None:
        return _named("--scaling", *(args.scaling or SWEEPS))
    return _named("--only", *(args.only or CASES))


def _require_one(args: Namespace) -> None:
    """A sweep is of one network in one type."""
    for name in ("dtype", "size"):
        given = getattr(args, name) or ()
        if len(given) > 1:
            raise InvalidOptionError(
                f"--{name}: expected one with --scaling, found {', '.join(map(str, given))}; "
                "run it once for each"
            )


def _require_ablated(args: Namespace) -> None:
    """An ablation is of networks."""
    only = args.only or tuple(SUBJECTS)
    others = [name for name in only if name not in SUBJECTS]
    if others:
        raise InvalidOptionError(
            f"--only: expected any of {', '.join(SUBJECTS)} with --ablation, "
            f"found {', '.join(others)}; leave it out"
        )
    unused = [name for name in _OF_GPEN if getattr(args, name)]
    if unused and "gpen" not in only:
        raise InvalidOptionError(
            f"--{unused[0]}: expected with --only gpen, found {', '.join(only)}, which does not "
            "use it; leave it out"
        )
