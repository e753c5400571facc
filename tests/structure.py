"""The house, measured from the code's own imports: ``python tests/structure.py [ROOT]``.

Every import counts: at a file's top, inside a function, and for the type checker alone. It prints
the figures, then what breaks a rule, and ends with 1 if anything does.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CORE, NODES = "gpen_arch", "nodes"

# Rooms from the ground up. A file imports its own room, and rooms of the floors below it: since
# every single arrow points down, no chain of them can climb or come back.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "progress"),
    ("checks", "settings", "files"),
    ("ops", "weights"),
    ("networks",),
    ("device",),
    ("loading", "images", "clips"),
    ("inference", "faces"),
    ("portrait", "degradation"),
    ("evaluation", "data"),
    ("training",),
    ("stages",),
    ("benchmark",),
    ("commands", NODES),
    (CORE,),  # gpen_arch/__init__.py: what `import gpen_arch` offers
    ("cli",),
    ("__main__", "__init__"),  # where `python -m gpen_arch` and ComfyUI come in
)
MOST_LOOSE_FILES = 7
MOST_LINES = 300
LARGEST_SHARE = 0.13

# What the core must not know: who calls it, and the name under which it is installed.
FOREIGN = frozenset(
    {CORE, NODES, "comfy", "comfy_api", "comfy_execution", "comfy_extras"}
    | {"execution", "folder_paths", "server"}
)


@dataclass(frozen=True)
class Import:
    """One import of a file by another; both by their dotted names from the root."""

    source: str
    target: str
    line: int

    @property
    def rooms(self) -> tuple[str, str]:
        return room_of(self.source), room_of(self.target)

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def room_of(module: str) -> str:
    """``gpen_arch.faces.types`` is in the room ``faces``; a loose file is a room of its own."""
    first, *deeper = module.split(".")
    return deeper[0] if first == CORE and deeper else first


@dataclass(frozen=True)
class House:
    """The shipped Python files of a repository: the core, the nodes, and the pack's entrance."""

    root: Path

    @cached_property
    def files(self) -> dict[str, Path]:
        """Files by dotted name: ``gpen_arch.faces`` for ``gpen_arch/faces/__init__.py``."""
        paths = [self.root / "__init__.py"]
        paths += (
            path for room in (CORE, NODES) for path in sorted((self.root / room).rglob("*.py"))
        )
        return {self._name(path): path for path in paths}

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)

    @cached_property
    def core(self) -> dict[str, Path]:
        return {name: path for name, path in self.files.items() if name.split(".")[0] == CORE}

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Every import of one of the files by another."""
        return tuple(
            Import(source, target, line)
            for source, path in self.files.items()
            for target, line in self._targets(path)
        )

    def _targets(self, path: Path) -> Iterator[tuple[str, int]]:
        package = path.relative_to(self.root).parts[:-1]
        for name, names, level, line in written_imports(path):
            if not level:
                if name.split(".")[0] == CORE:
                    yield from ((self._file(name, each), line) for each in names or ("",))
                continue
            home = (*package[: len(package) - level + 1], *filter(None, name.split(".")))
            yield from ((self._file(".".join(home), each), line) for each in names)

    def _file(self, package: str, name: str) -> str:
        """A name is a file of that package, or a thing inside of it."""
        deeper = f"{package}.{name}".lstrip(".")
        return deeper if deeper in self.files else package or "__init__"

    @cached_property
    def lines(self) -> dict[str, int]:
        return {name: len(text_of(path).splitlines()) for name, path in self.files.items()}

    @cached_property
    def shares(self) -> dict[str, float]:
        """Each room's share of all lines, the biggest first."""
        by_room = Counter[str]()
        for name, count in self.lines.items():
            by_room[room_of(name)] += count
        return {room: count / by_room.total() for room, count in by_room.most_common()}


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def written_imports(path: Path) -> Iterator[tuple[str, tuple[str, ...], int, int]]:
    """Every import of a file, wherever it stands: module, names, dots before it, line."""
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield node.module or "", names, node.level, node.lineno
        elif isinstance(node, ast.Import):
            yield from ((alias.name, (), 0, node.lineno) for alias in node.names)


def climbs(house: House) -> list[str]:
    """Imports of a room that does not stand below, and rooms that have no floor."""
    height = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    homeless = sorted({room_of(name) for name in house.files} - height.keys())
    wrong = [f"expected a floor for {room}, found none in FLOORS" for room in homeless]
    for each in house.imports:
        source, target = each.rooms
        if source != target and height.get(target, 0) >= height.get(source, len(FLOORS)):
            wrong.append(str(each))
    return wrong


def circles(house: House) -> list[str]:
    """Groups of files that import each other, directly or not."""
    graph: dict[str, set[str]] = defaultdict(set)
    for each in house.imports:
        graph[each.source].add(each.target)
    reach = {start: _reachable(start, graph) for start in tuple(graph)}
    groups = {
        " <-> ".join(sorted(other for other in seen if start in reach.get(other, ())))
        for start, seen in reach.items()
        if start in seen
    }
    return sorted(groups)


def _reachable(start: str, graph: Mapping[str, Iterable[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        new = set(graph.get(ahead.pop(), ())) - seen
        seen |= new
        ahead += new
    return seen


def strangers(house: House) -> list[str]:
    """Imports of the core that know the nodes, the host, or the core's own installed name."""
    wrong = [
        f"{name}:{line} imports {module}"
        for name, path in house.core.items()
        for module, _, level, line in written_imports(path)
        if not level and module.split(".")[0] in FOREIGN
    ]
    outside = (each for each in house.imports if each.source in house.core)
    return wrong + [str(each) for each in outside if each.target not in house.core]


def loose_files(house: House) -> list[str]:
    """The core's files outside of any room, where there are too many."""
    loose = sorted(path.name for path in (house.root / CORE).glob("*.py"))
    return loose if len(loose) > MOST_LOOSE_FILES else []


def long_files(house: House) -> list[str]:
    return [f"{name}: {count} lines" for name, count in house.lines.items() if count > MOST_LINES]


def large_rooms(house: House) -> list[str]:
    """Rooms of the core that hold too much of all that is shipped."""
    return [
        f"{room}: {share:.1%} of all lines"
        for room, share in house.shares.items()
        if share > LARGEST_SHARE
    ]


Rule = Callable[[House], list[str]]
RULES: dict[str, Rule] = {
    "arrows point down": climbs,
    "no circles": circles,
    "the core knows neither nodes nor host": strangers,
    f"at most {MOST_LOOSE_FILES} loose files": loose_files,
    f"no file over {MOST_LINES} lines": long_files,
    f"no room over {LARGEST_SHARE:.0%} of all lines": large_rooms,
}
"""What each rule is, and what breaks it in a house: nothing, where all is well."""


def summary(house: House) -> dict[str, object]:
    """The figures that the house is judged by."""
    between = {each.rooms for each in house.imports if len({*each.rooms}) == 2}
    longest = max(house.lines, key=house.lines.__getitem__)
    room, share = next(iter(house.shares.items()))
    return {
        "files": len(house.files),
        "lines": sum(house.lines.values()),
        "rooms": len(house.shares),
        "arrows between rooms": len(between),
        "arrows that climb": len(climbs(house)),
        "circles": len(circles(house)),
        "biggest room": f"{room}, {share:.1%} of all lines",
        "loose files": len(list((house.root / CORE).glob("*.py"))),
        "longest file": f"{longest}, {house.lines[longest]} lines",
    }


def main(arguments: list[str]) -> int:
    """Print the figures and what breaks a rule; 1 if anything does."""
    house = House(Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1])
    for name, value in summary(house).items():
        print(f"{name}: {value}")
    broken = {rule: wrong for rule, check in RULES.items() if (wrong := check(house))}
    for rule, wrong in broken.items():
        print(f"\nexpected: {rule}; found:", *wrong, sep="\n  ")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
