"""Nothing is lost: random trees of pictures, random options, one run after the other.

``GPEN_TEST_CASES=2000 pytest tests/commands/test_output_safety.py`` tries more trees than the
suite does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from gpen_arch.commands.enhance import Enhanced
from gpen_arch.commands.journal import JOURNAL_NAME, Journal
from gpen_arch.errors import GpenError, OutputError
from gpen_arch.images import LoadedImage, find_images, write_image
from gpen_arch.portrait.pipeline import StageCallback

from ..restore_runs import restore

CASES = int(os.environ.get("GPEN_TEST_CASES", "300"))

FOLDERS = ("in", "in/sub", "other.d", "out", "v1.0")
NAMES = (
    *("a.png", "a.jpg", "A.png", "a.PNG", "b.png", "a.png.png", "a.png_2.png", "v1.0", "2024.05"),
    *(
        "a_compare.png",
        "a_compare_2.png",
        "a_compare.jpg",
        "b_compare.png",
        "a_compare_compare.png",
    ),
    *("a_face00.png", "a_face01.png", "a_FACE00.png", "a_face00.jpg", "a.png_face00.png"),
    *("report.json", "report.png", JOURNAL_NAME, "\u00e9.png", "e\u0301.png", "x[1].png"),
)
KINDS = ("picture", "picture", "picture", "link", "hard link", "broken", "empty", "text", "folder")
OUTPUTS = (
    *("out", "out", "out/", "in", "in/sub", "v1.0", "other.d", "new/deep", "2024.05", "in/../out"),
    *("out/o.png", "out/a.png", "out/a_compare.png", "in/a.png", "in/A.png", "in/a.png/o.png"),
    *("missing/../in/a.png", "in/a_face00.png", "out/report.json", "out/o.gif", "out/a.jpg"),
)
REPORTS = (
    "report.json",
    "out/report.json",
    "in/report.json",
    "in/a.png",
    "out/a.json",
    "in",
    "out",
)
INPUTS = (
    "in",
    "in/sub",
    "other.d",
    "in/*.png",
    "**/*",
    "in/a.png",
    "in/a.jpg",
    "out",
    "nowhere.png",
)


Tree = dict[str, bytes | None]


@dataclass(frozen=True)
class Entry:
    """Something in the tree; ``other`` is what a link leads to."""

    place: str
    kind: str
    other: str
    seed: int


@dataclass(frozen=True)
class Run:
    """The arguments of a run, in which way pictures fail in it, and how many faces each has."""

    inputs: tuple[str, ...]
    options: tuple[str, ...]
    failing: int
    faces: int

    def with_skipping(self) -> Run:
        """The same run, which leaves finished pictures alone."""
        return replace(self, options=(*self.options, "--skip-existing"))


places = st.builds("{}/{}".format, st.sampled_from(FOLDERS), st.sampled_from(NAMES))
entries = st.builds(
    Entry, places, st.sampled_from(KINDS), places, st.integers(min_value=0, max_value=3)
)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    options = ["-o", draw(st.sampled_from(OUTPUTS)), "--quiet"]
    for name, values in (
        ("--report", REPORTS),
        ("--save-faces", ("faces", "out", "in", "other.d", "in/a.png")),
    ):
        if draw(st.integers(0, 3)):
            options += [name, draw(st.sampled_from(values))]
    for name in ("--compare", "--skip-existing"):
        if draw(st.booleans()):
            options.append(name)
    inputs = draw(st.lists(st.sampled_from(INPUTS), min_size=1, max_size=3))
    failing = draw(st.sampled_from((0, 0, 1, 2, 3, 4, 4)))
    return Run(tuple(inputs), tuple(options), failing, draw(st.integers(0, 3)))


@cache
def picture_bytes(suffix: str, seed: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        write_image(path, torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(seed)))
        return path.read_bytes()


def plant(entry: Entry) -> None:
    """Put an entry into the tree, unless its place is taken or impossible."""
    path, other = Path(entry.place), Path(entry.other)
    if os.path.lexists(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == "folder":
        path.mkdir()
    elif entry.kind == "link":
        path.symlink_to(os.path.relpath(other, path.parent))
    elif entry.kind == "hard link" and other.is_file():
        os.link(other, path)
    elif entry.kind == "text":
        path.write_text(f"no picture {entry.seed}")
    elif entry.kind == "empty":
        path.touch()
    else:
        suffix = ".jpg" if path.suffix == ".jpg" else ".png"
        data = picture_bytes(suffix, entry.seed)
        path.write_bytes(data[:40] if entry.kind == "broken" else data)


def snapshot() -> Tree:
    """Everything in the tree, links not followed: the bytes of a file, None for a folder."""
    found: Tree = {}
    for folder, folders, files in os.walk("."):
        for name in (*folders, *files):
            path = os.path.normpath(os.path.join(folder, name))
            if os.path.islink(path):
                found[path] = os.fsencode(os.readlink(path))
            else:
                found[path] = Path(path).read_bytes() if os.path.isfile(path) else None
    return found


@contextmanager
def a_tree(planted: list[Entry]) -> Iterator[None]:
    """A folder in memory, where there is such a place, as the current one."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    before, root = os.getcwd(), tempfile.mkdtemp(dir=base)
    os.chdir(root)
    try:
        draw_order = sorted(planted, key=lambda each: each.kind in ("link", "hard link"))
        for place in ("in/a.png", "in/a.jpg", "in/sub/b.png", "other.d/a.png"):
            plant(Entry(place, "picture", "", 0))
        for entry in draw_order:
            plant(entry)
        yield
    finally:
        os.chdir(before)
        shutil.rmtree(root)


def stand_in(run: Run):
    """Networks that fail on every so many pictures, in one of the ways that a picture can."""
    count = 0

    def enhance(picture: LoadedImage, on_progress: StageCallback) -> Enhanced:
        nonlocal count
        count += 1
        if run.failing == 4 and count == 1 + run.faces % 2:
            signal.raise_signal(signal.SIGTERM)
        if run.failing in (1, 2, 3) and count % 2 == 0:
            raise (MemoryError("none"), OutputError("none"), OSError("none"))[run.failing - 1]
        result = 1 - picture.pixels
        return Enhanced(result, [result] * run.faces, {"faces": run.faces})

    return enhance


def recorded() -> Counter[tuple[str, str]]:
    """Path and kind of every output that any journal tells of, and how often."""
    found: Counter[tuple[str, str]] = Counter()
    for folder, _, _ in os.walk("."):
        journal = Path(folder, JOURNAL_NAME)
        lines = journal.read_bytes().splitlines() if journal.is_file() else []
        for line in lines:
            if line.startswith(b'{"input"'):
                for each in json.loads(line)["files"]:
                    place = os.path.normpath(os.path.join(os.path.realpath(folder), each["file"]))
                    found[os.path.relpath(place), each["kind"]] += 1
    return found


def inputs_of(run: Run) -> list[str]:
    """What is named, and what is found but for the results of earlier runs."""
    try:
        found = find_images(run.inputs)
    except GpenError:
        return []
    try:
        own = Journal(Path(run.options[1], JOURNAL_NAME))
    except GpenError:  # the run will say so
        return [str(path) for path in found.paths]
    named = {os.path.realpath(name) for name in run.inputs}
    left = [p for p in found.paths if os.path.realpath(p) in named or not own.made(p)]
    return [str(path) for path in (*left, *(path for path, _ in found.unreachable))]


def check(run: Run) -> Counter[str]:
    """Run once, and compare the tree with what it was; the statuses that its report tells."""
    before, recorded_before, inputs = snapshot(), recorded(), inputs_of(run)
    originals = {path: Path(path).read_bytes() for path in inputs}
    code = restore(*run.inputs, *run.options, enhance=stand_in(run))
    after = snapshot()

    assert {path: Path(path).read_bytes() for path in inputs} == originals
    if code == 2:
        assert after == before
        return Counter()
    assert code in (0, 1, 143)
    written = recorded() - recorded_before
    paths = Counter(path for path, _ in written.elements())
    assert max(paths.values(), default=1) == 1, "two outputs have one path"
    assert not set(paths) & {os.path.relpath(path) for path in inputs}
    for path, kind in written:
        if kind != "result" and path in before:
            assert recorded_before[path, kind], f"{path} was a stranger's"
    report = run.options[run.options.index("--report") + 1] if "--report" in run.options else None
    check_nothing_else_changed(before, after, set(paths), report)
    return check_report(Path(report), inputs, code) if report else Counter()


def check_nothing_else_changed(before: Tree, after: Tree, written: set[str], report: str | None):
    """Only outputs, the report, the journals, and folders that hold them."""
    allowed = written | {path for path in after if os.path.basename(path) == JOURNAL_NAME}
    if report:
        folder, name = os.path.split(report)
        allowed.add(os.path.relpath(os.path.join(os.path.realpath(folder), name)))
    folders = {str(parent) for path in allowed for parent in Path(path).parents}
    for path in before.keys() | after.keys():
        if path in before and path in after and before[path] == after[path]:
            continue
        is_new_folder = path not in before and after[path] is None
        assert path in allowed or (is_new_folder and path in folders), path


def check_report(path: Path, inputs: list[str], code: int) -> Counter[str]:
    """Every input has one entry, and the exit code tells of failures."""
    table = json.loads(path.read_text())
    assert [each["input"] for each in table["files"]] == inputs
    found = Counter(each["status"] for each in table["files"])
    assert found == Counter(table["counts"])
    assert code == 143 or code == bool(found["failed"])
    assert code == 143 or not found["not_reached"]
    for each in table["files"]:
        if each["status"] in ("restored", "skipped"):
            assert Path(each["output"]).stat().st_size > 0
    return found


def test_no_input_is_harmed_and_nothing_unplanned_appears() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(entries, min_size=1, max_size=12), st.lists(runs(), min_size=1, max_size=2))
    def over_trees(planted: list[Entry], several: list[Run]) -> None:
        with a_tree(planted):
            for run in several:
                seen.update(check(run))
                seen["cases"] += 1

    over_trees()
    assert seen["cases"] >= CASES
    assert seen["restored"]


@pytest.mark.parametrize("name", INPUTS)
def test_a_second_run_finds_all_finished(name: str) -> None:
    seen: Counter[str] = Counter()
    for output in OUTPUTS:
        run = Run((name,), ("-o", output, "--report", "report.json", "--quiet"), 0, 1)
        with a_tree([]):
            first = check(run)
            again = check(run.with_skipping())
            if again:  # a single file in the inputs' folder may have become a second input
                assert again == Counter(skipped=first["restored"])
            seen.update(again)
    assert seen["skipped"] or name in ("out", "nowhere.png")
