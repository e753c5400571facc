"""What a run will write: decided and tried before the first picture is opened.

Paths that the user names (a result, the report) must be free, or the run does not start. Names that
are made up here (results in a folder, comparisons, faces) take a free variant instead. Results
replace an earlier file of their name; comparisons and faces replace only what the journal knows as
theirs.
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from ..errors import InvalidImageError, InvalidOptionError, OutputError
from ..images import READABLE_SUFFIXES, WRITABLE_SUFFIXES
from .clip_inputs import OUTPUT_SUFFIXES, is_clip, parts_folder, suffix_for
from .journal import JOURNAL_NAME, Journal
from .names import Claims, PlannedInput, members_by_family, path_key, without_dots
from .places import closed, try_file, try_folders

_MOST_FACES = 9999  # its digits count in the length of a name


@dataclass(frozen=True)
class Plan:
    """Everything that a run may write."""

    inputs: tuple[PlannedInput, ...]
    journal: Journal
    report: Path | None


def make_plan(
    inputs: Sequence[Path],
    output: str,
    *,
    named: Sequence[str] = (),
    compare: bool = False,
    faces: Path | None = None,
    report: Path | None = None,
) -> Plan:
    """Plan all outputs, and try their places.

    Args:
        inputs: the pictures and clips, each once.
        output: a picture (or clip) file for one input, otherwise a folder, where results are named
            after their inputs: PNG files, and clips; inputs of one stem keep their whole name.
        named: what the user named. An input that was found in a folder or by a pattern, and that
            an earlier run has put into ``output``, is no input: a second run would restore it.
        compare: plan a comparison beside every result.
        faces: folder for the faces' files.
        report: the report's file.

    Raises:
        InvalidOptionError: many inputs for one file, a file that cannot be written, or what there
            is not for clips.
        InvalidImageError: no input is left.
        OutputError: two things would have one path, a name is too long, or a place is taken,
            closed, or not a folder.
    """
    clips = {path for path in inputs if is_clip(path)}
    single = _names_a_file(output, len(inputs), bool(clips))
    target = without_dots(Path(output))
    journal = Journal((target.parent if single else target) / JOURNAL_NAME)
    if not single:
        inputs = _without_results(inputs, named, journal)
    _refuse_for_clips(clips & {*inputs}, compare, faces)
    claims, report = _claims(inputs, journal, report)
    if single:
        claims.claim(target, f"the result of {inputs[0]}")
        pictures = [PlannedInput(inputs[0], target)]
    else:
        pictures = [
            _named_result(source, target, suffix_for(source) if source in clips else ".png", claims)
            for source in inputs
        ]
    pictures = [replace(each, is_clip=each.source in clips) for each in pictures]
    if compare:
        pictures = [_with_comparison(each, claims, journal) for each in pictures]
    if faces is not None:
        pictures = _with_families(pictures, without_dots(faces / "_").parent, claims, journal)
    plan = Plan(tuple(pictures), journal, report)
    _try_places(plan, claims)
    return plan


def plan_faces(
    inputs: Sequence[Path], folder: Path, report: Path, *, named: Sequence[str] = ()
) -> Plan:
    """Plan files of every picture's faces in a folder, and nothing else; and try their places.

    A picture keeps the names that it had in an earlier run, whatever pictures have come since.

    Args, Raises: as for :func:`make_plan`.
    """
    folder = without_dots(folder / "_").parent
    journal = Journal(folder / JOURNAL_NAME)
    inputs = _without_results(inputs, named, journal)
    claims, claimed = _claims(inputs, journal, report)
    known = [PlannedInput(path, faces=journal.faces_of(path)) for path in inputs]
    pictures = _with_families(known, folder, claims, journal)
    plan = Plan(tuple(pictures), journal, claimed)
    _try_places(plan, claims)
    return plan


def _claims(
    inputs: Sequence[Path], journal: Journal, report: Path | None
) -> tuple[Claims, Path | None]:
    """What is claimed before all results, and the report's path."""
    claims = Claims(inputs)
    claims.claim(journal.path, "the journal")
    if report is not None:
        report = without_dots(report)
        _require_no_picture(report)
        claims.claim(report, "the report")
    return claims, report


def _without_results(
    inputs: Sequence[Path], named: Sequence[str], journal: Journal
) -> Sequence[Path]:
    wanted = {os.path.realpath(name) for name in named}
    left = [path for path in inputs if os.path.realpath(path) in wanted or not journal.made(path)]
    if not left:
        raise InvalidImageError(
            f"expected pictures, found only what earlier runs have written to {journal.path.parent}"
            ". Name other inputs."
        )
    return left


def _refuse_for_clips(clips: set[Path], compare: bool, faces: Path | None) -> None:
    """Raise InvalidOptionError for outputs that are made of pictures only."""
    asked = [name for name, wanted in (("--compare", compare), ("--save-faces", faces)) if wanted]
    if clips and asked:
        raise InvalidOptionError(
            f"{' and '.join(asked)}: expected pictures, found the clip {min(clips)}. Leave out the "
            "option, or restore clips by themselves."
        )


def _names_a_file(output: str, inputs: int, clips: bool) -> bool:
    """Whether ``output`` is a picture's or a clip's file; otherwise it is a folder."""
    if output.endswith(("/", os.sep)) or os.path.isdir(output):
        return False
    suffix = Path(output).suffix.lower()
    # One clip gives a clip; of several inputs, whatever looks like a file is refused below.
    writable = OUTPUT_SUFFIXES if clips and inputs == 1 else WRITABLE_SUFFIXES
    if clips and inputs > 1:
        writable |= OUTPUT_SUFFIXES
    if suffix not in writable:
        guessed = mimetypes.guess_type(f"x{suffix}")[0] or ""
        like_a_file = inputs == 1 and re.fullmatch(r"\.[a-z][a-z0-9]{1,4}", suffix)
        if suffix in READABLE_SUFFIXES or guessed.startswith("image/") or like_a_file:
            raise InvalidOptionError(
                f"expected an output that ends in {' '.join(sorted(writable))}, or a "
                f"folder; found {output}. Write {output}/ if it is to be a new folder."
            )
        return False
    if inputs > 1:
        what = "inputs" if clips else "pictures"
        raise InvalidOptionError(
            f"expected a folder for {inputs} {what}, found the file {output}. Write {output}/ "
            "if it is to be a new folder."
        )
    return True


def _require_no_picture(report: Path) -> None:
    if report.suffix.lower() in READABLE_SUFFIXES | WRITABLE_SUFFIXES:
        raise InvalidOptionError(
            f"--report: expected the name of a JSON file, found the picture's name {report}. "
            "Choose a name that ends in .json."
        )


def _named_result(source: Path, folder: Path, suffix: str, claims: Claims) -> PlannedInput:
    paths = (folder / f"{name}{suffix}" for name in _variants(source.stem, source.name))
    result = _first(paths, lambda path: claims.owner(path) is None)
    claims.claim(result, f"the result of {source}")
    return PlannedInput(source, result)


def _with_comparison(picture: PlannedInput, claims: Claims, journal: Journal) -> PlannedInput:
    assert picture.result is not None
    stem, suffix = picture.result.stem, picture.result.suffix
    names = _variants(f"{stem}_compare")

    def is_free(path: Path) -> bool:
        theirs = not os.path.lexists(path) or journal.owns(path, "comparison")
        return theirs and claims.owner(path) is None

    path = _first((picture.result.with_name(name + suffix) for name in names), is_free)
    claims.claim(path, f"the comparison of {picture.source}")
    return replace(picture, comparison=path)


def _with_families(
    pictures: Sequence[PlannedInput], folder: Path, claims: Claims, journal: Journal
) -> list[PlannedInput]:
    taken = _families_in_the_way(folder, claims, journal)
    kept = {each.source for each in pictures if _keeps_faces(each, claims, taken)}
    return [
        each if each.source in kept else _with_faces(each, folder, claims, taken)
        for each in pictures
    ]


def _keeps_faces(picture: PlannedInput, claims: Claims, taken: set[str]) -> bool:
    """Claim the face files that a picture has already; whether it has any, and they are free."""
    faces = picture.faces
    if faces is None or path_key(faces) in taken or claims.family_owner(faces) is not None:
        return False
    claims.claim_family(faces, f"the faces of {picture.source}")
    return True


def _families_in_the_way(folder: Path, claims: Claims, journal: Journal) -> set[str]:
    """Families of which a file exists that no earlier run wrote as a face, or that is an input."""
    try:
        existing = members_by_family(folder)
    except OSError as error:
        raise closed(folder, error) from error
    return {
        family
        for family, paths in existing.items()
        if not all(journal.owns(path, "face") and claims.owner(path) is None for path in paths)
    }


def _with_faces(
    picture: PlannedInput, folder: Path, claims: Claims, taken: set[str]
) -> PlannedInput:
    names = _variants(picture.source.stem, picture.source.name)

    def is_free(faces: Path) -> bool:
        return path_key(faces) not in taken and claims.family_owner(faces) is None

    faces = _first((folder / f"{name}_face" for name in names), is_free)
    claims.claim_family(faces, f"the faces of {picture.source}")
    return replace(picture, faces=faces)


def _variants(*names: str) -> Iterator[str]:
    """The names, then the last one with numbers from 2."""
    yield from names
    for number in count(2):
        yield f"{names[-1]}_{number}"


def _first(paths: Iterator[Path], is_free: Callable[[Path], bool]) -> Path:
    return next(path for path in paths if is_free(path))


def _try_places(plan: Plan, claims: Claims) -> None:
    files = [plan.journal.path] if plan.report is None else [plan.journal.path, plan.report]
    longest: list[Path] = []
    for each in plan.inputs:
        files += [path for path in (each.result, each.comparison) if path is not None]
        longest += [] if each.faces is None else [each.face(_MOST_FACES)]
        longest += [parts_folder(each.result)] if each.is_clip and each.result else []
    inside = claims.folders()
    for path in files:
        if path_key(path) in inside:
            raise OutputError(
                f"expected a file at {path}, found that other outputs are to lie below it. "
                "Choose another output."
            )
        try_file(path)
    try_folders([*files, *longest])
