"""GPEN's ONNX files: whatever exporter wrote them, they give the checkpoint's own tensors."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gpen_arch.errors import CorruptWeightsError, GpenError, UnsupportedModelError
from gpen_arch.loading import load_gpen, read_state_dict, recognise_file
from gpen_arch.loading.files import MAX_ONNX_BYTES
from gpen_arch.loading.onnx import MalformedError, tensors_in_onnx
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig

from .published import Published, export

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

SMALL = GPENConfig(32, style_dim=16, n_mlp=3, channel_multiplier=2, narrow=1 / 32)
OLDER = {"dynamo": False, "do_constant_folding": True}
UNFOLDED = {"dynamo": False, "do_constant_folding": False}
NEWER = {"dynamo": True, "external_data": False}
EXPORTERS = {
    **{f"older, opset {opset}": {**OLDER, "opset_version": opset} for opset in (11, 18)},
    **{f"unfolded, opset {op}": {**UNFOLDED, "opset_version": op} for op in (13, 17)},
    "newer": NEWER,
    "newer, unfolded": {**NEWER, "optimize": False},
}


def seeded(config: GPENConfig = SMALL) -> GPEN:
    """A generator all of whose parameters differ, biases and noise too."""
    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(0)
        network = GPEN(config)
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.3)
    return network.eval()


def crop(size: int = SMALL.img_resolution) -> Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm().clamp(min=1e-12))


def require_equal(found: dict[str, Tensor], network: nn.Module, tolerance: float = 1e-5) -> None:
    wanted = network.state_dict()
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key].shape == value.shape, key
        assert relative(found[key], value) <= tolerance, key


def run(path: Path, x: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(output)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small generator by the older exporter, unfolded: with every kind of operation."""
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    return export(Published(seeded()), crop(), path, **UNFOLDED, opset_version=13)


Edit = Callable[[Any], object]


@pytest.fixture
def edited(exported: Path, tmp_path: Path) -> Callable[[Edit], Path]:
    """Write the small model after a change of it."""

    def write(edit: Edit) -> Path:
        model = onnx.load(exported)
        edit(model)
        path = tmp_path / "edited.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


# What is read -------------------------------------------------------------------------------------


def test_the_published_form_is_the_same_function() -> None:
    network, x = seeded(), crop()
    with torch.no_grad():
        assert relative(Published(network)(x), network(x)) <= 1e-6


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_every_exporters_file_gives_the_checkpoint(exporter: str, tmp_path: Path) -> None:
    network, x = seeded(), crop()
    path = export(Published(network), x, tmp_path / "a.onnx", **EXPORTERS[exporter])
    require_equal(read_state_dict(path), network)
    with torch.no_grad():
        found = load_gpen(path)(x)
        assert relative(found, network(x)) <= 1e-5
    assert relative(found, run(path, x)) <= 1e-4
    assert recognise_file(path).id == "gpen"  # type: ignore[union-attr]


def test_a_simplified_file_gives_the_checkpoint(exported: Path, tmp_path: Path) -> None:
    simplifier = pytest.importorskip("onnxsim")
    simple, same = simplifier.simplify(onnx.load(exported))
    assert same
    onnx.save(simple, tmp_path / "simple.onnx")
    require_equal(read_state_dict(tmp_path / "simple.onnx"), seeded())


@pytest.mark.parametrize("size", [256, 512, 1024, 2048])
def test_every_published_size_is_read(size: int, tmp_path: Path) -> None:
    network = seeded(GPENConfig(size, style_dim=8, n_mlp=2, channel_multiplier=2, narrow=1 / 16))
    path = export(Published(network), crop(size), tmp_path / "a.onnx", **OLDER, opset_version=11)
    require_equal(read_state_dict(path), network)
    assert load_gpen(path).config.img_resolution == size


def test_equal_tensors_that_are_stored_once_are_given_to_every_layer(tmp_path: Path) -> None:
    network = GPEN(SMALL).eval()  # whose biases are all zero
    path = export(Published(network), crop(), tmp_path / "a.onnx", **OLDER, opset_version=11)
    model = onnx.load(path)
    assert any(node.op_type == "Identity" for node in model.graph.node)
    assert len(model.graph.initializer) < len(network.state_dict())
    require_equal(read_state_dict(path), network)


def test_a_file_in_half_precision_is_read(exported: Path, tmp_path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    for keep_io_types in (True, False):
        half = convert_float_to_float16(onnx.load(exported), keep_io_types=keep_io_types)
        for tensor in half.graph.initializer:  # as the converter leaves them, and as numbers
            if tensor.data_type == onnx.TensorProto.FLOAT16 and not keep_io_types:
                bits = np.frombuffer(tensor.raw_data, np.uint16)
                tensor.ClearField("raw_data")
                tensor.int32_data.extend(map(int, bits))
        onnx.save(half, tmp_path / "half.onnx")
        found = read_state_dict(tmp_path / "half.onnx")
        assert {value.dtype for value in found.values()} == {torch.float32}
        require_equal(found, seeded(), 2e-3)


def test_names_and_the_order_of_nodes_make_no_difference(
    edited: Callable[[Edit], Path],
) -> None:
    def rename(model: Any) -> None:
        graph, names = model.graph, {"": ""}
        for node in graph.node:
            node.name = ""
            for values in (node.input, node.output):
                values[:] = [names.setdefault(value, f"v{len(names)}") for value in values]
        for value in (*graph.initializer, *graph.input, *graph.output):
            value.name = names.setdefault(value.name, f"v{len(names)}")
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
        del graph.node[:]
        graph.node.extend(copies[::-1])  # which runtimes take as well

    require_equal(read_state_dict(edited(rename)), seeded())


# What is refused ----------------------------------------------------------------------------------


def initializer(model: Any, name: str) -> Any:
    return next(each for each in model.graph.initializer if each.name.endswith(name))


def test_another_network_is_refused_by_name(tmp_path: Path) -> None:
    upscaler = RRDBNet(RRDBNetConfig(scale=2, num_feat=4, num_block=1, num_grow_ch=2))
    path = export(upscaler, torch.rand(1, 3, 16, 16), tmp_path / "x2.onnx", **OLDER)
    with pytest.raises(UnsupportedModelError, match=r"x2\.onnx: expected GPEN.*found .*\.pth"):
        read_state_dict(path)
    assert recognise_file(path) is None


def test_another_form_of_the_network_is_refused_and_says_so(tmp_path: Path) -> None:
    path = export(seeded(), crop(), tmp_path / "own.onnx", **NEWER)  # a style scales activations
    with pytest.raises(UnsupportedModelError, match="and other forms of GPEN"):
        read_state_dict(path)


def test_a_tensor_that_no_layer_uses_is_named(edited: Callable[[Edit], Path]) -> None:
    extra = onnx.numpy_helper.from_array(np.ones((2, 3), np.float32), "left.over")
    path = edited(lambda model: model.graph.initializer.append(extra))
    with pytest.raises(UnsupportedModelError, match=r"that no layer uses.*left\.over"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("op", "attribute", "value", "said"),
    [("LeakyRelu", "alpha", 0.1, "another slope"), ("Gemm", "alpha", 2.0, "another form")],
)
def test_other_arithmetic_is_refused(
    edited: Callable[[Edit], Path], op: str, attribute: str, value: float, said: str
) -> None:
    def change(model: Any) -> None:
        node = [each for each in model.graph.node if each.op_type == op][-1]
        next(each for each in node.attribute if each.name == attribute).f = value

    with pytest.raises(UnsupportedModelError, match=said):
        read_state_dict(edited(change))


def test_an_operation_of_another_domain_is_refused(edited: Callable[[Edit], Path]) -> None:
    def change(model: Any) -> None:
        node = [each for each in model.graph.node if each.op_type == "LeakyRelu"][3]
        node.domain = "com.example"

    with pytest.raises(UnsupportedModelError, match=r"com\.example\.LeakyRelu"):
        read_state_dict(edited(change))


def test_numbers_in_another_file_are_refused_by_name(tmp_path: Path) -> None:
    path = export(Published(seeded()), crop(), tmp_path / "a.onnx", dynamo=True, external_data=True)
    with pytest.raises(CorruptWeightsError, match=r"in one file, found.*external data, of"):
        read_state_dict(path)


def test_a_tensor_of_a_million_million_numbers_is_refused(edited: Callable[[Edit], Path]) -> None:
    def change(model: Any) -> None:
        initializer(model, "input.input").dims[:] = [1, 10**6, 1000, 1000]

    with pytest.raises(CorruptWeightsError, match=r"shape \(1, 1000000, 1000, 1000\)"):
        read_state_dict(edited(change))


def test_a_tensor_with_too_few_numbers_is_refused(edited: Callable[[Edit], Path]) -> None:
    def change(model: Any) -> None:
        tensor = initializer(model, "input.input")
        tensor.raw_data = tensor.raw_data[:-4]

    with pytest.raises(CorruptWeightsError, match=r"input\.input.*out of \d+ bytes"):
        read_state_dict(edited(change))


def test_a_constant_that_grows_far_beyond_the_file_is_refused(
    edited: Callable[[Edit], Path],
) -> None:
    def change(model: Any) -> None:
        """Let a weight be repeated to 10^11 numbers on its way."""
        weight = initializer(model, "convs.0.conv.weight").name
        size = onnx.numpy_helper.from_array(np.array([1000, 1, 1000, 100, 100]), "size")
        grown = onnx.helper.make_node("Tile", [weight, "size"], ["grown"])
        user = next(node for node in model.graph.node if weight in node.input)
        user.input[:] = ["grown" if name == weight else name for name in user.input]
        model.graph.initializer.append(size)
        model.graph.node.insert(0, grown)

    with pytest.raises(CorruptWeightsError, match="far larger than the file"):
        read_state_dict(edited(change))


def test_a_graph_that_loops_is_refused(edited: Callable[[Edit], Path]) -> None:
    def change(model: Any) -> None:
        nodes = model.graph.node
        last = nodes[-1].output[0]
        first = next(node for node in nodes if node.op_type == "Conv")
        first.input[0] = last

    with pytest.raises(CorruptWeightsError, match="a loop, or an operation Conv"):
        read_state_dict(edited(change))


def test_weights_that_are_not_finite_are_refused(edited: Callable[[Edit], Path]) -> None:
    def change(model: Any) -> None:
        tensor = initializer(model, "input.input")
        tensor.raw_data = b"\x00\x00\xc0\x7f" + tensor.raw_data[4:]

    with pytest.raises(GpenError, match="NaN"):
        read_state_dict(edited(change))


def test_a_file_that_breaks_off_is_refused(exported: Path, tmp_path: Path) -> None:
    data, path = exported.read_bytes(), tmp_path / "cut.onnx"
    for length in (17, 100, 5000, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(GpenError, match=r"cut\.onnx: expected an ONNX model"):
            read_state_dict(path)
        assert recognise_file(path) is None


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_never_raise_anything_else(exported: Path, data: st.DataObject) -> None:
    content = bytearray(exported.read_bytes())
    places = st.integers(0, min(len(content), 150_000) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    with suppress(MalformedError):
        tensors_in_onnx(bytes(content))


def test_files_under_another_formats_name_are_told_apart(exported: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(exported.read_bytes())
    with pytest.raises(CorruptWeightsError, match=r"a file of onnx; rename it to \.onnx"):
        read_state_dict(wrong)
    torch.save({"a": torch.zeros(3)}, tmp_path / "torch.onnx")
    (tmp_path / "page.onnx").write_text("<html>a page</html>")
    for name in ("torch.onnx", "page.onnx"):
        with pytest.raises(CorruptWeightsError, match=rf"{name}: expected"):
            read_state_dict(tmp_path / name)


def test_a_file_larger_than_its_format_allows_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "vast.onnx"
    path.write_bytes(b"\x08\x07\x12\x07pytorch" + bytes(range(64)))
    os.truncate(path, MAX_ONNX_BYTES + 1)  # takes no room on the disk
    with pytest.raises(CorruptWeightsError, match="at most 2047 MB"):
        read_state_dict(path)
