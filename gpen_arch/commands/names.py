"""Whose path is whose: no output takes the place of an input, or of another output."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputError

_FACE_FILE = re.compile(r"(.*_face)\d+\.png", re.DOTALL)


@dataclass(frozen=True)
class PlannedInput:
    """An input and where everything that is made from it goes: a result, files of faces, or both.

    Attributes:
        source: the input.
        result: the restored picture or clip, if wanted.
        comparison: the input beside the result, if wanted.
        faces: the beginning of the face files' paths, if wanted; see :meth:`face`.
        is_clip: the input is a clip; otherwise it is a picture.
    """

    source: Path
    result: Path | None = None
    comparison: Path | None = None
    faces: Path | None = None
    is_clip: bool = False

    @property
    def output(self) -> str:
        """What people are told that it is made into: the result, or a pattern of its faces."""
        return f"{self.faces}*.png" if self.result is None else str(self.result)

    def face(self, index: int) -> Path:
        """Where the file of one face goes."""
        assert self.faces is not None
        return self.faces.with_name(f"{self.faces.name}{index:02d}.png")

    def kind(self, path: Path) -> str:
        """What one of its outputs is: result, comparison or face."""
        if path == self.result:
            return "result"
        return "comparison" if path == self.comparison else "face"


class Claims:
    """The paths of a run's inputs and outputs, each with one owner.

    Inputs exist, so that they are recognised as files: through links, hard links, ``..`` and
    another case or Unicode form of their name. Outputs may not exist yet: two of them are taken for
    one already if they would be one file on a file system that ignores case or Unicode forms.

    The files of a picture's faces are claimed as a family, ``NAME_face*.png``: how many there will
    be is not known.
    """

    def __init__(self, inputs: Iterable[Path]) -> None:
        self._files: dict[str, str] = {}
        self._members: dict[str, str] = {}  # the families that claimed files would belong to
        self._families: dict[str, str] = {}
        self._inputs: dict[tuple[int, int], str] = {}
        for path in inputs:
            owner = f"the input {path}"
            self._add(path, owner)
            self._inputs[_identity(path)] = owner

    def owner(self, path: Path) -> str | None:
        """Who has ``path`` already; ``None`` if it is free."""
        key = path_key(path)
        family = _family_of(key)
        owner = self._files.get(key) or (self._families.get(family) if family else None)
        return owner or self.input_at(path)

    def input_at(self, path: Path) -> str | None:
        """The input that ``path`` is another name of."""
        return self._inputs.get(_identity(path)) if os.path.lexists(path) else None

    def claim(self, path: Path, owner: str) -> None:
        """Give ``path`` to ``owner``.

        Raises:
            OutputError: it has another owner.
        """
        other = self.owner(path)
        if other is not None:
            raise OutputError(
                f"expected a place of its own for {owner}, found that {path} would overwrite "
                f"{other}. Choose another output."
            )
        self._add(path, owner)

    def family_owner(self, faces: Path) -> str | None:
        """Who has a file of the family ``faces`` + ``00.png``, ``01.png`` ...; ``None`` if free."""
        family = path_key(faces)
        return self._families.get(family) or self._members.get(family)

    def claim_family(self, faces: Path, owner: str) -> None:
        """Give all of a family to ``owner``; it must be free."""
        self._families[path_key(faces)] = owner

    def folders(self) -> set[str]:
        """Keys of all folders above the claimed files."""
        keys = (*self._files, *self._families)
        return {str(parent) for key in keys for parent in Path(key).parents}

    def _add(self, path: Path, owner: str) -> None:
        key = path_key(path)
        self._files[key] = owner
        family = _family_of(key)
        if family:
            self._members[family] = owner


def path_key(path: Path) -> str:
    """The path without links and ``..``, and without case and Unicode forms."""
    folder = os.path.realpath(path.parent)
    return unicodedata.normalize("NFC", os.path.join(folder, path.name)).casefold()


def members_by_family(folder: Path) -> dict[str, list[Path]]:
    """The files in ``folder`` that are named like faces, by the key of their family."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    members: dict[str, list[Path]] = {}
    for path in (folder / name for name in names):
        family = _family_of(path_key(path))
        if family is not None:
            members.setdefault(family, []).append(path)
    return members


def without_dots(path: Path) -> Path:
    """The same place without ``..``, so that no folder is made on the way to it."""
    return Path(os.path.realpath(path.parent)) / path.name if ".." in path.parts else path


def _family_of(key: str) -> str | None:
    match = _FACE_FILE.fullmatch(key)
    return match.group(1) if match else None


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # a link to nothing, or to where nobody may look
        status = path.lstat()
    return status.st_dev, status.st_ino
