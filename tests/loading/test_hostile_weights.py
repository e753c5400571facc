"""Files that are made to break a loader: each is a named error, soon, in little memory."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from gpen_arch.errors import CorruptWeightsError, GpenError, WeightsMismatchError
from gpen_arch.faces import load_detector
from gpen_arch.loading import load_network, pickles, read_state_dict
from gpen_arch.networks import GPEN, GPENConfig

ROOT = Path(__file__).resolve().parents[2]
# torch warns of what the makers do on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*(Sparse|quantize|deprecated|pickle protocol)")

MAX_SECONDS = 10
MAX_MEMORY = 4 << 30

LOAD_ALL = """
import json, resource, sys, time
from pathlib import Path
from gpen_arch.errors import GpenError
from gpen_arch.loading import load_network
for path in sorted(Path(sys.argv[1]).iterdir()):
    began = time.monotonic()
    try:
        outcome = type(load_network(path)).__name__
    except GpenError as error:
        outcome = f"{type(error).__name__}: {error}"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([path.name, outcome, time.monotonic() - began, memory]), flush=True)
"""

TINY = GPENConfig(32, style_dim=8, n_mlp=1, channel_multiplier=1, narrow=1 / 64)
GPEN_SHAPES: dict[str, tuple[int, ...]] = {
    "generator.input.input": (1, 8, 4, 4),
    "final_linear.0.weight": (8, 16),
    "generator.style.1.weight": (8, 8),
    **{f"ecd{level}.0.0.weight": (8, 3, 1, 1) for level in range(4)},
}
RRDB_SHAPES: dict[str, tuple[int, ...]] = {
    "conv_first.weight": (8, 3, 3, 3),
    "body.0.rdb1.conv1.weight": (8, 8, 3, 3),
}
DISCRIMINATOR_SHAPES: dict[str, tuple[int, ...]] = {
    **{f"convs.{level}.0.weight": (8, 3, 1, 1) for level in range(4)},
    "final_conv.0.weight": (8, 8, 3, 3),
    "final_linear.0.weight": (8, 8),
}
EQFACE_SHAPES: dict[str, tuple[int, ...]] = {
    "input_layer.0.weight": (64, 3, 3, 3),
    "feature_layer.0.weight": (8, 8),
    **{f"layer{stage}.0.weight": (1,) for stage in range(1, 5)},
}


def tables() -> dict[str, tuple[dict[str, tuple[int, ...]], str]]:
    """Shapes that a file may announce, and what the message must say."""
    many = {f"ecd{level}.0.0.weight": (8, 3, 1, 1) for level in range(2000)}
    some = dict(list(many.items())[:20])
    style = {f"generator.style.{layer}.weight": (1,) for layer in range(1000)}
    blocks = {f"body.{block}.a": (1,) for block in range(2000)}
    thin = {f"ecd{level}.0.0.weight": (1, 3, 1, 1) for level in range(11)}
    wide = {"final_linear.0.weight": (70_000, 1)}
    return {
        "gpen 1-d input": ({**GPEN_SHAPES, "generator.input.input": (8,)}, r"4 dim.*shape \(8,\)"),
        "gpen 0-d input": ({**GPEN_SHAPES, "generator.input.input": ()}, r"4 dim.*shape \(\)"),
        "gpen 0-d ecd": ({**GPEN_SHAPES, "ecd0.0.0.weight": ()}, r"4 dimensions"),
        "gpen 1-d linear": ({**GPEN_SHAPES, "final_linear.0.weight": (8,)}, r"2 dimensions"),
        "gpen zero width": ({**GPEN_SHAPES, "generator.input.input": (1, 0, 4, 4)}, "empty tensor"),
        "gpen vast and empty": ({**GPEN_SHAPES, "final_linear.0.weight": (10**9, 0)}, "empty"),
        "gpen too wide": ({**GPEN_SHAPES, **wide}, r"at most 65536, found shape \(70000, 1\)"),
        "gpen 20 levels": ({**GPEN_SHAPES, **some}, r"2 to 11 layers 'ecd', found 20"),
        "gpen 2000 levels": ({**GPEN_SHAPES, **many}, r"found 2000"),
        "gpen 1000 mapping layers": ({**GPEN_SHAPES, **style}, r"1 to 128 .*found 1000"),
        "gpen no mapping": (
            {k: v for k, v in GPEN_SHAPES.items() if "style" not in k},
            r"1 to 128 layers 'generator\.style', found 0",
        ),
        "gpen no channels": (
            {**GPEN_SHAPES, **thin, "generator.input.input": (1, 52, 4, 4)},
            "at least one channel at 4096 px",
        ),
        "rrdb 1-d": ({**RRDB_SHAPES, "conv_first.weight": (8,)}, r"4 dimensions"),
        "rrdb 0-d grow": ({**RRDB_SHAPES, "body.0.rdb1.conv1.weight": ()}, r"4 dimensions"),
        "rrdb odd inputs": ({**RRDB_SHAPES, "conv_first.weight": (8, 5, 3, 3)}, "3, 12 or 48"),
        "rrdb 2000 blocks": ({**RRDB_SHAPES, **blocks}, r"1 to 128 layers 'body', found 2000"),
        "discriminator 1-d": (
            {**DISCRIMINATOR_SHAPES, "final_linear.0.weight": (8,)},
            r"2 dimensions",
        ),
        "discriminator without": (
            {k: v for k, v in DISCRIMINATOR_SHAPES.items() if "final_linear" not in k},
            r"a tensor 'final_linear\.0\.weight', found none",
        ),
        "quality 1-d": ({"qualtiy.0.weight": (8,)}, r"2 dimensions"),
        "backbone 0-d": ({**EQFACE_SHAPES, "feature_layer.0.weight": ()}, r"2 dimensions"),
        "backbone no blocks": (
            {k: v for k, v in EQFACE_SHAPES.items() if "layer3" not in k},
            r"layers 'layer3', found 0",
        ),
    }


def gpen_state() -> dict[str, Tensor]:
    return GPEN(TINY).state_dict()


class Calls:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def with_tensor(value: object) -> Callable[[Path], object]:
    """A maker of a pickle of a whole network, one of whose tensors is replaced."""
    return lambda path: torch.save({**gpen_state(), "ecd0.0.0.weight": value}, path)


def as_dtype(dtype: torch.dtype, key: str | None = None) -> Callable[[Path], object]:
    """A maker of a safetensors file of a whole network, all of it or one tensor cast."""
    state = {k: v.to(dtype) if key in (None, k) else v for k, v in gpen_state().items()}
    return lambda path: save_file(state, path)


def header(table: object, data: bytes = b"\0" * 64) -> Callable[[Path], object]:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return lambda path: path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def cyclic(path: Path) -> None:
    table: dict[str, object] = {}
    table["params"] = table
    torch.save(table, path)


def nested(path: Path) -> None:
    table: dict[str, object] = dict(gpen_state())
    for _ in range(50):
        table = {"state_dict": table}
    torch.save(table, path)


def sharing(path: Path) -> None:
    one = torch.ones(1 << 18)
    torch.save({f"k{number}": one.view(1 << 9, -1) for number in range(1000)}, path)


def sparse(path: Path) -> None:
    place = torch.zeros(1, 1, dtype=torch.long)
    with_tensor(torch.sparse_coo_tensor(place, torch.ones(1), (10**12,)))(path)


def quantized(path: Path) -> None:
    with_tensor(torch.quantize_per_tensor(torch.ones(8), 1.0, 0, torch.quint8))(path)


def compressed(path: Path) -> None:
    torch.save({"k": torch.zeros(1 << 25)}, path.with_suffix(".tmp"))
    with (
        zipfile.ZipFile(path.with_suffix(".tmp")) as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for record in plain.infolist():
            bomb.writestr(record.filename, plain.read(record))
    path.with_suffix(".tmp").unlink()


def other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.txt", "sun" * 100)


def script(path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), path)


def marks(path: Path) -> None:
    path.write_bytes(b"\x80\x02" + b"(" * (64 << 20))


def many_keys(path: Path) -> None:
    torch.save({f"k{number}": torch.zeros(1) for number in range(40_000)}, path)


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


F32 = {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 284085738\n"

MAKERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cycle.pth": (cyclic, "contains itself"),
    "nested.pth": (nested, "at most 4 others"),
    "sparse.pth": (sparse, "sparse or nested tensor in 'ecd0"),
    "meta.pth": (with_tensor(torch.empty(8, 3, 1, 1, device="meta")), "without numbers"),
    "expanded.pth": (with_tensor(torch.zeros(1).expand(10**12)), "repeats a few numbers"),
    "bool.pth": (with_tensor(torch.ones(8, 3, 1, 1).bool()), "found bool in 'ecd0"),
    "quantized.pth": (quantized, "found quint8"),
    "unmade.pth": (with_tensor(Calls(torch.Tensor, 10**9)), "out of .* stored"),
    "sharing.pth": (sharing, "out of .* stored"),
    "list.pth": (lambda path: torch.save([1, 2], path), "found list"),
    "empty.pth": (lambda path: torch.save({}, path), "found an empty table"),
    "compressed.pth": (compressed, "compressed records"),
    "holiday.pth": (other_zip, "zip archive of other things"),
    "script.pth": (script, "TorchScript program"),
    "marks.pth": (marks, "list of tensors of more than 4 MB"),
    "many.pth": (many_keys, "at most 10000 tensors, found 40000"),
    "system.pth": (
        lambda path: path.write_bytes(pickle.dumps(Calls(os.system, "touch pwned"), 2)),
        r"asks for posix\.system",
    ),
    "html.pth": (text("\n<!DOCTYPE html><html>not found"), "the download was a web page"),
    "html.safetensors": (text("<html><body>404 not found"), "the download was a web page"),
    "lfs.pth": (text(LFS), "git-lfs pointer"),
    "text.pth": (text("root:x:0:0:root:/root:/bin/sh\n"), "found a text file"),
    "picture.pth": (lambda path: path.write_bytes(b"\x89PNG" + b"\0" * 99), "a PNG picture"),
    "gzip.pth": (lambda path: path.write_bytes(b"\x1f\x8b" + b"\0" * 99), "unpack it first"),
    "byte.pth": (lambda path: path.write_bytes(b"\x80"), "a file of 1 bytes"),
    "nothing.safetensors": (lambda path: path.write_bytes(b""), "an empty file"),
    "renamed.pth": (lambda path: save_file(gpen_state(), path), "rename it to .safetensors"),
    "pickle.safetensors": (lambda path: torch.save(gpen_state(), path), "found .* announced"),
    "vast.safetensors": (header({"a": F32}), "safetensors file"),
    "deep.safetensors": (header(b"[" * 100_000 + b"]" * 100_000), "safetensors file"),
    "keys.safetensors": (
        header({f"k{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
                for n in range(12_000)}, b""),
        "at most 10000 tensors, found 12000",
    ),
    "long.safetensors": (header(b" " * (5 << 20)), "announced"),
    "complex.safetensors": (as_dtype(torch.complex64), "found complex64"),
    "int8.safetensors": (as_dtype(torch.int8), "found int8"),
    "uint16.safetensors": (as_dtype(torch.uint16), "found uint16"),
    "float8.safetensors": (as_dtype(torch.float8_e4m3fn), "found float8_e4m3fn"),
    "one int8.safetensors": (
        as_dtype(torch.int8, "ecd1.0.0.kernel"), r"found int8 in 'ecd1\.0\.0\.kernel'"
    ),
    "half.safetensors": (as_dtype(torch.float16), "^GPEN$"),
    "whole.pth": (lambda path: torch.save(gpen_state(), path), "^GPEN$"),
    "whole legacy.pth": (
        lambda path: torch.save(gpen_state(), path, _use_new_zipfile_serialization=False), "^GPEN$"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float, int]]:
    """What one process says of every file, with seconds and its peak memory until then."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (make, _) in MAKERS.items():
        make(folder / name)
    for name, (shapes, _) in tables().items():
        save_file(
            {key: torch.zeros(shape) for key, shape in shapes.items()},
            folder / f"{name}.safetensors",
        )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD_ALL, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"after {done.stdout[-300:]}: {done.stderr[-2000:]}"
    assert not (ROOT / "pwned").exists()
    return {name: tuple(rest) for name, *rest in map(json.loads, done.stdout.splitlines())}


EXPECTED = {
    **{name: match for name, (_, match) in MAKERS.items()},
    **{f"{name}.safetensors": match for name, (_, match) in tables().items()},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_hostile_file_is_one_named_error(
    outcomes: dict[str, tuple[str, float, int]], name: str
) -> None:
    outcome, seconds, memory = outcomes[name]
    if not EXPECTED[name].startswith("^"):
        assert f"Error: {name}" in outcome
        assert "weights_only" not in outcome
    assert re.search(EXPECTED[name], outcome), outcome
    assert seconds < MAX_SECONDS
    assert memory < MAX_MEMORY


SHAPES = st.lists(st.integers(1, 6), max_size=5).map(tuple)


@given(
    base=st.sampled_from([GPEN_SHAPES, RRDB_SHAPES, DISCRIMINATOR_SHAPES, EQFACE_SHAPES]),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_tables_of_any_shapes_give_a_network_or_a_named_error(
    base: dict[str, tuple[int, ...]], data: st.DataObject
) -> None:
    keys = data.draw(st.sets(st.sampled_from(sorted(base)), min_size=1))
    shapes = {**base, **{key: data.draw(SHAPES) for key in sorted(keys)}}
    with suppress(GpenError):
        load_network({key: torch.zeros(shape) for key, shape in shapes.items()})


def test_weights_stay_when_their_file_is_overwritten(tmp_path: Path) -> None:
    state = gpen_state()
    path = tmp_path / "gpen.safetensors"
    save_file(state, path)
    loaded = load_network(path).state_dict()
    with path.open("r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_a_detector_of_odd_numbers_is_refused() -> None:
    with pytest.raises(CorruptWeightsError, match="found int8 in 'ClassHead"):
        load_detector("x", weights={"ClassHead.0.conv1x1.weight": torch.ones(2).to(torch.int8)})
    nan = {"ClassHead.0.conv1x1.weight": torch.full((2,), torch.nan)}
    with pytest.raises(WeightsMismatchError, match="NaN or infinity"):
        load_detector("x", weights=nan)


@pytest.fixture(params=["2.4.1", "2.5.1+cu124", "2.9.1", "2.10.0a0+nv25.12"])
def old_torch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A torch whose weights-only loader a pickle gets round."""
    version = TorchVersion(request.param)
    monkeypatch.setattr(pickles, "running_torch", lambda: version)
    return request.param


def test_an_old_torch_reads_no_pickle(tmp_path: Path, old_torch: str) -> None:
    path = tmp_path / "gpen.pth"
    torch.save(gpen_state(), path)
    with pytest.raises(CorruptWeightsError) as caught:
        load_network(path)
    text = str(caught.value)
    assert f"expected torch 2.10 or newer, found torch {old_torch}" in text
    assert "update torch, or use a .safetensors copy" in text


def test_an_old_torch_reads_safetensors_and_tables(tmp_path: Path, old_torch: str) -> None:
    save_file(gpen_state(), tmp_path / "gpen.safetensors")
    assert isinstance(load_network(tmp_path / "gpen.safetensors"), GPEN)
    assert isinstance(load_network(gpen_state()), GPEN)


def test_an_old_torch_reads_a_pickle_whose_contents_are_pinned(
    assets: Path, tmp_path: Path, old_torch: str
) -> None:
    pinned = assets / "weights" / "detection_mobilenet0.25_Final.pth"
    copy = tmp_path / "any name.pth"
    data = bytearray(pinned.read_bytes())
    copy.write_bytes(data)
    assert len(read_state_dict(copy)) == len(read_state_dict(pinned)) > 100
    data[-1] ^= 1
    copy.write_bytes(data)
    with pytest.raises(CorruptWeightsError, match=re.escape(f"found torch {old_torch}")):
        read_state_dict(copy)


@pytest.mark.parametrize("version", ["2.10.0", "2.10.0+cu130", "2.13.0+cpu", "3.0.0"])
def test_a_new_torch_reads_pickles(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "running_torch", lambda: TorchVersion(version))
    assert pickles.why_unsafe() is None
