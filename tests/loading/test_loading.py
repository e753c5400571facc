"""Loading: recognised by keys, strict, safe, and clear about what is wrong."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from gpen_arch.errors import (
    CorruptWeightsError,
    GpenError,
    UnsupportedModelError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from gpen_arch.loading import (
    load_discriminator,
    load_gpen,
    load_network,
    load_upscaler,
    read_state_dict,
)
from gpen_arch.networks import (
    GPEN,
    Discriminator,
    DiscriminatorConfig,
    GPENConfig,
    RRDBNet,
    RRDBNetConfig,
)

NO_RESTORER = "as restorer: GPEN generator or GFPGAN or RestoreFormer or CodeFormer; found: RRDBNet"
GPEN_SMALL = GPENConfig(64, style_dim=16, n_mlp=2, channel_multiplier=2, narrow=1 / 64)


def gpen_state(config: GPENConfig = GPEN_SMALL) -> dict[str, torch.Tensor]:
    return GPEN(config).state_dict()


@given(
    log_size=st.integers(3, 8),
    style_dim=st.integers(1, 24),
    n_mlp=st.integers(1, 4),
    channel_multiplier=st.sampled_from([1, 2]),
    narrow=st.sampled_from([1 / 64, 1 / 32]),
)
@settings(max_examples=15, deadline=None)
def test_a_generators_sizes_are_read_from_its_keys(
    log_size: int, style_dim: int, n_mlp: int, channel_multiplier: int, narrow: float
) -> None:
    config = GPENConfig(2**log_size, style_dim, n_mlp, channel_multiplier, narrow)
    state = gpen_state(config)
    loaded = load_gpen(state)
    assert loaded.state_dict().keys() == state.keys()
    assert loaded.config.img_resolution == config.img_resolution
    if log_size >= 6:
        assert loaded.config == config


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_an_upscalers_sizes_are_read_from_its_keys(scale: int) -> None:
    config = RRDBNetConfig(scale, num_feat=6, num_block=2, num_grow_ch=4)
    assert load_upscaler(RRDBNet(config).state_dict()).config == config


@pytest.mark.parametrize("wrapper", ["g_ema", "params_ema", "params", None])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_wrapped_checkpoints(tmp_path: Path, wrapper: str | None, prefix: str, suffix: str) -> None:
    state = gpen_state()
    table = {prefix + key: value for key, value in state.items()}
    path = tmp_path / f"any name{suffix}"
    if suffix == ".safetensors":
        save_file({key: value.clone() for key, value in table.items()}, path)
    else:
        torch.save(table if wrapper is None else {wrapper: table, "step": 7}, path)
    loaded = load_gpen(path).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_loaded_networks_are_ready_to_use() -> None:
    network = load_gpen(gpen_state(), dtype=torch.bfloat16)
    assert not network.training
    assert all(p.dtype == torch.bfloat16 and not p.requires_grad for p in network.parameters())
    assert all(not tensor.is_meta for tensor in network.state_dict().values())


def test_a_network_in_the_wrong_place_is_named() -> None:
    discriminator = Discriminator(DiscriminatorConfig(64, 1, 1 / 64)).state_dict()
    upscaler = RRDBNet(RRDBNetConfig(2, 4, 1, 4)).state_dict()
    with pytest.raises(UnsupportedModelError, match="as upscaler: RRDBNet; found: GPEN generator"):
        load_upscaler(gpen_state())
    with pytest.raises(UnsupportedModelError, match=NO_RESTORER):
        load_gpen(upscaler)
    with pytest.raises(UnsupportedModelError, match="found: GPEN discriminator"):
        load_gpen(discriminator)
    assert isinstance(load_discriminator(discriminator), Discriminator)


def test_unknown_keys_are_refused_with_examples() -> None:
    with pytest.raises(
        UnsupportedModelError, match=r"expected one of.*found keys like conv\.weight"
    ):
        load_network({"conv.weight": torch.zeros(3)})


def test_missing_unknown_and_misshapen_tensors_are_named() -> None:
    state = gpen_state()
    del state["generator.conv1.activate.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["ecd1.0.1.weight"] = torch.zeros(2, 2, 3, 3)
    with pytest.raises(WeightsMismatchError) as caught:
        load_gpen(state)
    text = str(caught.value)
    assert "missing 1 (generator.conv1.activate.bias)" in text
    assert "unknown 1 (extra.weight)" in text
    assert "misshapen 1 (ecd1.0.1.weight is (2, 2, 3, 3), not (" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    state = gpen_state()
    state["ecd0.0.0.weight"][0] = value
    with pytest.raises(WeightsMismatchError, match=r"NaN or infinity in 'ecd0\.0\.0\.weight'"):
        load_gpen(state)


def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "pwned"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return (Path.touch, (target,))

    for path, write in (
        (tmp_path / "new.pth", lambda p: torch.save({"x": Evil()}, p)),
        (tmp_path / "old.pth", lambda p: p.write_bytes(pickle.dumps({"x": Evil()}))),
    ):
        write(path)
        with pytest.raises(CorruptWeightsError, match="weights-only loader"):
            load_network(path)
    assert not target.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_files_are_named(tmp_path: Path, suffix: str, share: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    _save(gpen_state(), whole)
    data = whole.read_bytes()
    path = tmp_path / f"truncated{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CorruptWeightsError, match="truncated"):
        load_gpen(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_flipped_bits_never_crash(tmp_path: Path, suffix: str) -> None:
    """Each flip is refused by name or changes a number; nothing else may come out."""
    whole = tmp_path / f"whole{suffix}"
    _save(gpen_state(), whole)
    data = whole.read_bytes()
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for index in range(60):
        # Half of the flips go where the structure is: the head, and a zip's directory.
        window = (len(data), 4000, len(data), 4000)[index % 4]
        offset = int(torch.randint(window, (1,), generator=generator))
        position = offset if index % 8 < 4 else len(data) - 1 - offset
        flipped = bytearray(data)
        flipped[position] ^= 1 << int(torch.randint(8, (1,), generator=generator))
        path = tmp_path / f"flipped{suffix}"
        path.write_bytes(bytes(flipped))
        try:
            assert isinstance(load_network(path), GPEN)
        except GpenError:
            refused += 1
    assert refused > 0


def _save(state: dict[str, torch.Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="found nothing at"):
        read_state_dict(tmp_path / "absent.pth")
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(CorruptWeightsError, match=r"found a file of type '\.jpg'"):
        read_state_dict(tmp_path / "picture.jpg")
    (tmp_path / "text.pth").write_text("<html>404</html>")
    with pytest.raises(CorruptWeightsError):
        read_state_dict(tmp_path / "text.pth")
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(CorruptWeightsError, match="found list"):
        read_state_dict(tmp_path / "list.pth")
    torch.save({"optimizer": {"lr": 0.1}}, tmp_path / "nested.pth")
    with pytest.raises(CorruptWeightsError, match="found dict at 'optimizer'"):
        read_state_dict(tmp_path / "nested.pth")
