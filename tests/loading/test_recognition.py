"""Which network a file holds, told from its keys alone: quick, and safe for any file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from facexlib.parsing.parsenet import ParseNet
from facexlib.recognition.arcface_arch import Backbone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from gpen_arch.loading import load_described, load_for, recognise_file
from gpen_arch.networks import (
    GPEN,
    Discriminator,
    DiscriminatorConfig,
    EQFaceBackbone,
    EQFaceConfig,
    EQFaceQuality,
    GPENConfig,
    Role,
    RRDBNet,
    RRDBNetConfig,
)

SMALL = GPENConfig(64, style_dim=16, n_mlp=2, narrow=1 / 64)

NETWORKS: dict[str, tuple[Role, Callable[[], nn.Module]]] = {
    "GPEN": ("restorer", lambda: GPEN(SMALL)),
    "discriminator": ("discriminator", lambda: Discriminator(DiscriminatorConfig(64, 1, 1 / 64))),
    "RRDBNet": ("upscaler", lambda: RRDBNet(RRDBNetConfig(2, 4, 1, 4))),
    "ParseNet": ("parser", lambda: ParseNet(in_size=512, out_size=512, parsing_ch=19)),
    "ArcFace": ("recogniser", lambda: Backbone(num_layers=50, drop_ratio=0.6, mode="ir_se")),
    "EQFace": ("recogniser", lambda: EQFaceBackbone(EQFaceConfig((1, 1, 1, 1), 8))),
    "EQFace's head": ("quality", lambda: EQFaceQuality(32)),
}


def state_of(kind: str) -> dict[str, Tensor]:
    return NETWORKS[kind][1]().state_dict()


def write_zip(state: dict[str, Tensor], path: Path) -> None:
    torch.save({"g_ema": {f"module.{key}": value for key, value in state.items()}, "step": 7}, path)


def write_legacy(state: dict[str, Tensor], path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


WRITERS: dict[str, Callable[[dict[str, Tensor], Path], None]] = {
    "wrapped.pth": write_zip,
    "old.pth": write_legacy,
    "plain.safetensors": lambda state, path: save_file(state, path),
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("name", WRITERS)
def test_a_network_is_recognised_whatever_its_file(kind: str, name: str, tmp_path: Path) -> None:
    WRITERS[name](state_of(kind), tmp_path / name)
    found = recognise_file(tmp_path / name)
    assert found is not None
    assert found.role == NETWORKS[kind][0]


@pytest.mark.parametrize("kind", ["ParseNet", "ArcFace", "EQFace", "EQFace's head"])
def test_a_network_of_faces_loads_strictly(kind: str) -> None:
    """Networks whose published weights are not here: facexlib's, and EQFace's, with others."""
    state = state_of(kind)
    loaded = load_for(NETWORKS[kind][0], state).network
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


@torch.no_grad()
def test_parsenets_record_says_what_it_gives() -> None:
    loaded = load_described(state_of("ParseNet"))
    crops = loaded.architecture.crops
    assert crops is not None
    said = crops(loaded.network)
    # A quarter of its size will do: the network is made of convolutions.
    output = loaded.network(torch.zeros(1, 3, said.size // 4, said.size // 4))
    assert said.picture(output).shape == (1, 19, said.size // 4, said.size // 4)


def test_the_numbers_are_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file(state_of("GPEN"), path)
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    path.write_bytes(path.read_bytes()[:header])
    found = recognise_file(path)
    assert found is not None
    assert found.role == "restorer"


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.folder),))


@pytest.mark.parametrize("is_zip", [True, False])
def test_nothing_is_unpickled(tmp_path: Path, is_zip: bool) -> None:
    state = {**state_of("GPEN"), "extra": Evil(tmp_path / "ran")}
    torch.save(state, tmp_path / "evil.pth", _use_new_zipfile_serialization=is_zip)
    assert recognise_file(tmp_path / "evil.pth") is not None
    assert not (tmp_path / "ran").exists()


def test_another_network_is_nobodys(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    assert recognise_file(tmp_path / "other.pth") is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.pth", b""),
        ("page.pth", b"<html>not found</html>"),
        ("short.safetensors", b"\x05"),
        ("huge.safetensors", (1 << 62).to_bytes(8, "little") + b"{}"),
        ("list.safetensors", (2).to_bytes(8, "little") + b"[]"),
        ("deep.safetensors", (1 << 17).to_bytes(8, "little") + b"[" * (1 << 17)),
        ("surrogate.safetensors", (14).to_bytes(8, "little") + json.dumps({"\udc80": 1}).encode()),
    ],
)
def test_what_is_no_checkpoint_is_nobodys(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert recognise_file(tmp_path / name) is None
    assert recognise_file(tmp_path / "nothing.pth") is None
    assert recognise_file(tmp_path) is None


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder, state = tmp_path_factory.mktemp("samples"), {"qualtiy.0.weight": torch.zeros(2, 2)}
    for name, write in WRITERS.items():
        write(state, folder / name)
    return {name: (folder / name).read_bytes() for name in WRITERS}


@given(
    name=st.sampled_from(sorted(WRITERS)),
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_files_never_stop_a_list(
    samples: dict[str, bytes],
    tmp_path: Path,
    name: str,
    places: list[tuple[float, int]],
    kept: float,
) -> None:
    data = bytearray(samples[name])
    for place, value in places:
        data[int(place * len(data))] = value
    (tmp_path / name).write_bytes(data[: int(kept * len(data))])
    os.utime(tmp_path / name, ns=(hash((bytes(data), kept)) % 2**60,) * 2)  # not the same file
    recognise_file(tmp_path / name)


def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "any.pth"
    torch.save(state_of("GPEN"), path)
    first = recognise_file(path)
    torch.save(state_of("RRDBNet"), path)
    second = recognise_file(path)
    assert first is not None
    assert second is not None
    assert (first.role, second.role) == ("restorer", "upscaler")
