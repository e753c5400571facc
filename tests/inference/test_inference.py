"""The fast path against the plain networks, in every format and with each form left out."""

from __future__ import annotations

import ast
import gc
import os
import re
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from operator import mul
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpen_arch.device import torch_internals
from gpen_arch.device.choice import cpu_has_bf16, cpu_has_matrix_unit, resolve_dtype
from gpen_arch.device.layout import arranged
from gpen_arch.device.transfer import Collector, upload
from gpen_arch.errors import InvalidOptionError, UnsupportedModelError
from gpen_arch.inference import Form, forms, prepare_for_inference
from gpen_arch.inference.convolutions import PhasedUpsamplingConv, UpsamplingConv
from gpen_arch.inference.fast_rrdbnet import (
    GroupedDenseBlock,
    SummingDenseBlock,
    concatenating_dense_block,
)
from gpen_arch.inference.forms import NETWORK_BOUND, OPTIONAL, RECORDS, Target
from gpen_arch.inference.half import bounded_style, bounded_weight
from gpen_arch.inference.kernels import conv_add_, conv_leaky_relu, row_chunks
from gpen_arch.inference.winograd import (
    BAND_PIXELS,
    F2,
    F4,
    MinimalFilter,
    WinogradConv,
    is_worthwhile,
)
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig
from gpen_arch.networks.rrdbnet import RRDB

from ..assets import golden_network, relative_error
from ..recipes import fill_gpen, fill_rrdbnet

TOLERANCE = NETWORK_BOUND
CPU = torch.device("cpu")
DTYPES = sorted(TOLERANCE, key=str)
UPSCALERS = [
    RRDBNetConfig(scale=2, num_feat=8, num_block=2, num_grow_ch=4),
    RRDBNetConfig(scale=4, num_feat=4, num_block=1, num_grow_ch=8),
    RRDBNetConfig(scale=1, num_feat=8, num_block=1, num_grow_ch=8),
]


def small_gpen() -> GPEN:
    network = GPEN(GPENConfig(64, style_dim=32, n_mlp=2, narrow=0.125))
    fill_gpen(network)
    return network.requires_grad_(False)


def small_rrdbnet(config: RRDBNetConfig = UPSCALERS[0]) -> RRDBNet:
    network = RRDBNet(config)
    fill_rrdbnet(network)
    return network.requires_grad_(False)


def faces(batch: int = 2, size: int = 64) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_gpen_agrees_with_the_plain_network(dtype: torch.dtype, batch: int) -> None:
    network, x = small_gpen(), faces(batch)
    actual = prepare_for_inference(network, dtype)(x)
    assert actual.shape == x.shape
    assert actual.dtype == x.dtype
    assert relative_error(actual, network(x)) <= TOLERANCE[dtype]


@pytest.mark.parametrize("present", [True, False], ids=["matrix unit", "none"])
def test_gpen_agrees_on_cpus_of_either_kind(monkeypatch: pytest.MonkeyPatch, present: bool) -> None:
    """What is chosen for a CPU with a matrix unit is right on one without, and the reverse."""
    network, x = GPEN(GPENConfig(64, style_dim=32, n_mlp=2, narrow=0.5)), faces(1)
    fill_gpen(network)
    monkeypatch.setattr("gpen_arch.device.choice.cpu_has", lambda probe: present)
    prepared = prepare_for_inference(network, torch.bfloat16)
    kinds = {type(module) for module in prepared.modules()}
    assert (PhasedUpsamplingConv in kinds, WinogradConv in kinds) == (present, not present)
    with torch.inference_mode():
        assert relative_error(prepared(x), network(x)) <= TOLERANCE[torch.bfloat16]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(2, 6, 5, 8), (1, 3, 1, 1)])
def test_upsampling_by_phases_is_upsampling(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    x, weight = torch.randn(shape, generator=generator), torch.randn(7, shape[1], 3, 3)
    expected = UpsamplingConv(weight, Target(CPU, torch.float32))(x)
    actual = PhasedUpsamplingConv(weight, Target(CPU, dtype))(x.to(dtype))
    assert actual.shape == (shape[0], 7, 2 * shape[2], 2 * shape[3])
    assert relative_error(actual, expected) <= RECORDS[Form.PHASED].bound[dtype]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("config", UPSCALERS, ids=lambda config: f"x{config.scale}")
def test_rrdbnet_agrees_with_the_plain_network(dtype: torch.dtype, config: RRDBNetConfig) -> None:
    network, x = small_rrdbnet(config), faces(2, 24).abs()
    for device in ("cpu", "cuda"):  # what either would be given, run here
        actual = prepare_for_inference(network, dtype, device=device)(x)
        assert relative_error(actual, network(x)) <= TOLERANCE[dtype]


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "apart"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(2, 5, 7, 6), (1, 32, 24, 24)], ids=["odd", "even"])
def test_fused_convolutions_are_convolutions(
    dtype: torch.dtype, shape: tuple[int, ...], fused: bool
) -> None:
    generator = torch.Generator().manual_seed(6)
    x = arranged(torch.randn(shape, generator=generator).to(dtype))
    weight = arranged(torch.randn(9, shape[1], 3, 3, generator=generator).to(dtype))
    bias = torch.randn(9, generator=generator).to(dtype)
    total = arranged(torch.randn(shape[0], 9, *shape[2:], generator=generator).to(dtype))
    bound = RECORDS[Form.FUSED].bound.get(dtype, TOLERANCE[dtype])
    convolved = F.conv2d(x.float(), weight.float(), padding=1)
    expected = total.float() + convolved
    assert conv_add_(total, x, weight, padding=1, fused=fused).data_ptr() == total.data_ptr()
    assert relative_error(total, expected) <= bound
    for stride in (1, 2):
        expected = F.conv2d(x.float(), weight.float(), bias.float(), stride=stride, padding=1)
        actual = conv_leaky_relu(x, weight, bias, stride=stride, padding=1, fused=fused)
        assert relative_error(actual, F.leaky_relu(expected, 0.2)) <= bound


@pytest.fixture
def other_operators(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As with a torch whose operators take one argument more than we pass."""
    for name, arguments in torch_internals.OPERATORS.items():
        monkeypatch.setitem(torch_internals.OPERATORS, name, f"{arguments} more:int")
    torch_internals.has_fused_convolutions.cache_clear()
    yield
    torch_internals.has_fused_convolutions.cache_clear()


@pytest.mark.usefixtures("other_operators")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("build", [small_gpen, small_rrdbnet])
def test_operators_that_are_not_as_we_know_them_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, build: type[nn.Module]
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        pytest.fail("a fused operator was called")

    monkeypatch.setattr("gpen_arch.inference.kernels.fused_conv_leaky_relu", fail)
    monkeypatch.setattr("gpen_arch.inference.kernels.fused_conv_add_", fail)
    network, x = build(), faces(1)
    assert not Target(CPU, dtype).takes(Form.FUSED)
    prepared = prepare_for_inference(network, dtype)(x)
    assert relative_error(prepared, network(x)) <= TOLERANCE[dtype]
    assert torch.equal(prepared, prepare_for_inference(network, dtype, without=[Form.FUSED])(x))


def test_operators_are_known_by_their_arguments() -> None:
    namespace = "gpen_test"
    library = torch.library.Library(namespace, "DEF")
    library.define("convolve(Tensor X, int[] padding, float? alpha) -> Tensor")
    library.define("convolve.more(Tensor X, int[] padding, float? alpha, str how) -> Tensor")
    known = "X:Tensor padding:List[int] alpha:Optional[float]"
    assert torch_internals.arguments_of(namespace, "convolve.default") == known
    assert torch_internals.arguments_of(namespace, "convolve.more") == f"{known} how:str"
    assert torch_internals.arguments_of(namespace, "convolve.less") is None
    assert torch_internals.arguments_of(namespace, "absent.default") is None


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dense_blocks_agree_in_every_form(dtype: torch.dtype) -> None:
    rrdb = small_rrdbnet().body[0]
    assert isinstance(rrdb, RRDB)
    block, target = rrdb.rdb2, Target(CPU, dtype)
    x = torch.randn(2, 8, 9, 12, generator=torch.Generator().manual_seed(7))
    blocks = {
        Form.GROUPED: GroupedDenseBlock(block, target),
        Form.SUMMED: SummingDenseBlock(block, target),
        Form.FOLDED: concatenating_dense_block(block, target),
    }
    for form, fast in blocks.items():
        if dtype in (bound := RECORDS[form].bound):
            actual = fast(arranged(x.to(dtype)))
            assert relative_error(actual, block(x)) <= bound[dtype]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_at_a_time_and_reused_memory_change_nothing(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr("gpen_arch.inference.kernels.CHUNK_BYTES", 1 << 12)
    network, x = small_gpen(), faces()
    expected = prepare_for_inference(network, dtype)(x)
    assert len(list(row_chunks(expected))) > 8
    for form in (Form.ROWS, Form.REUSED):
        actual = prepare_for_inference(network, dtype, without=[form])(x)
        assert relative_error(actual, expected) <= RECORDS[form].bound[dtype]


LEAVES = {
    Form.WINOGRAD: WinogradConv,
    Form.PHASED: PhasedUpsamplingConv,
    Form.SUMMED: SummingDenseBlock,
    Form.GROUPED: GroupedDenseBlock,
}


@pytest.mark.parametrize("matrix_unit", [True, False], ids=["matrix unit", "none"])
@pytest.mark.parametrize("form", OPTIONAL, ids=lambda form: form.value)
def test_a_network_without_a_form_is_the_same_function(
    monkeypatch: pytest.MonkeyPatch, form: Form, matrix_unit: bool
) -> None:
    monkeypatch.setattr("gpen_arch.device.choice.cpu_has", lambda probe: matrix_unit)
    gpen = GPEN(GPENConfig(64, style_dim=32, n_mlp=2, narrow=0.5))
    fill_gpen(gpen)
    for network in (gpen, small_rrdbnet()):
        if type(network).__name__ not in RECORDS[form].networks:
            continue
        for dtype in (torch.float32, torch.bfloat16):
            with_it = prepare_for_inference(network, dtype)
            prepared = prepare_for_inference(network, dtype, without=[form])
            with torch.inference_mode():
                actual, expected = prepared(faces(1)), network(faces(1))
            assert relative_error(actual, expected) <= TOLERANCE[dtype]
            if form in LEAVES:
                there, left = (
                    any(isinstance(module, LEAVES[form]) for module in each.modules())
                    for each in (with_it, prepared)
                )
                assert there == Target(CPU, dtype).takes(form)
                assert not left


def test_without_any_form_a_network_is_the_same_function() -> None:
    for network in (small_gpen(), small_rrdbnet()):
        for dtype in DTYPES:
            actual = prepare_for_inference(network, dtype, without=OPTIONAL)(faces())
            assert relative_error(actual, network(faces())) <= TOLERANCE[dtype]


def test_the_table_of_forms_is_whole_and_names_tests_that_exist() -> None:
    assert list(RECORDS) == list(Form)
    tree = ast.parse(Path(__file__).read_text())
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for record in RECORDS.values():
        path, _, name = record.test.partition("::")
        assert (Path(path).name, name in tests) == (Path(__file__).name, True), record.test
        assert set(record.networks) <= {"GPEN", "RRDBNet"}


def test_every_form_that_can_be_left_out_is_asked_for_in_the_code_and_no_other() -> None:
    folder = Path(forms.__file__).parent
    code = "".join(path.read_text() for path in folder.glob("*.py") if path.name != "forms.py")
    asked = set(re.findall(r"(?:takes|allows)\(Form\.(\w+)\)", code))
    assert asked == {form.name for form in OPTIONAL}


@pytest.mark.parametrize("form", sorted(set(Form) - set(OPTIONAL), key=str), ids=str)
def test_what_every_network_has_cannot_be_left_out(form: Form) -> None:
    message = f"without: expected any of winograd, .* found {form.value}; no network is prepared"
    with pytest.raises(InvalidOptionError, match=message):
        prepare_for_inference(small_gpen(), without=[Form.ROWS, form])


def test_no_tensor_of_the_plain_network_is_forgotten() -> None:
    """What the leaves do not replace would be left empty."""
    for network in (small_gpen(), small_rrdbnet()):
        for without in ((), OPTIONAL):
            prepared = prepare_for_inference(network, without=without)
            tensors = [*prepared.parameters(), *prepared.buffers()]
            assert {tensor.device.type for tensor in tensors} == {"cpu"}


def test_compiling_what_has_nothing_to_compile_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="of type RRDBNet, of which"):
        prepare_for_inference(small_rrdbnet(), compiled=True)


@pytest.mark.parametrize("name", ["gpen_64", "gpen_32_cm1", "rrdbnet_x2"])
def test_fast_path_matches_published_output(golden: Callable[[str], Path], name: str) -> None:
    network, tensors = golden_network(golden(f"{name}.safetensors"))
    with torch.inference_mode():
        image = prepare_for_inference(network)(tensors["input"])
    assert relative_error(image, tensors["output.image"]) <= TOLERANCE[torch.float32]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_full_size_gpen_agrees(dtype: torch.dtype) -> None:
    network, x = GPEN(GPENConfig(512)), faces(1, 512)
    fill_gpen(network)
    with torch.inference_mode():
        assert (
            relative_error(prepare_for_inference(network, dtype)(x), network(x))
            <= (TOLERANCE[dtype])
        )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_full_size_rrdbnet_agrees(dtype: torch.dtype) -> None:
    network, x = RRDBNet(RRDBNetConfig()), faces(1, 48).abs()
    fill_rrdbnet(network)
    with torch.inference_mode():
        assert (
            relative_error(prepare_for_inference(network, dtype)(x), network(x))
            <= (TOLERANCE[dtype])
        )


@pytest.mark.parametrize("input_dtype", [torch.float64, torch.float16], ids=str)
def test_output_has_the_type_of_the_input(input_dtype: torch.dtype) -> None:
    assert prepare_for_inference(small_gpen())(faces().to(input_dtype)).dtype == input_dtype


@pytest.mark.parametrize("build", [small_gpen, small_rrdbnet])
def test_a_prepared_network_keeps_the_weights_that_it_was_made_of(build: type[nn.Module]) -> None:
    network, x = build(), faces(1)
    prepared = prepare_for_inference(network)
    before = prepared(x)
    for parameter in network.parameters():
        parameter.mul_(1.5)
    assert torch.equal(prepared(x), before)


def test_the_plain_network_may_be_dropped() -> None:
    network = small_gpen()
    expected = network(faces())
    prepared = prepare_for_inference(network)
    gone = weakref.ref(network.generator.conv1.conv.weight)
    del network
    gc.collect()
    assert gone() is None
    assert relative_error(prepared(faces()), expected) <= TOLERANCE[torch.float32]


def test_a_network_made_under_inference_mode_can_be_prepared() -> None:
    with torch.inference_mode():
        network = small_gpen()
        assert relative_error(prepare_for_inference(network)(faces()), network(faces())) < 1e-5


def test_tensors_are_registered_and_not_shared_with_the_plain_network() -> None:
    network = small_gpen()
    prepared = prepare_for_inference(network)
    mine = {tensor.data_ptr() for tensor in prepared.state_dict().values()}
    assert not mine & {tensor.data_ptr() for tensor in network.parameters()}
    sizes = [sum(t.numel() for t in module.state_dict().values()) for module in (network, prepared)]
    assert sizes[0] < sizes[1] < 1.3 * sizes[0]
    moved = prepare_for_inference(network).to("meta")
    assert {tensor.device.type for tensor in moved.state_dict().values()} == {"meta"}
    assert prepared.config == network.config


def test_half_precision_survives_adversarial_magnitudes() -> None:
    """Weights, styles and inputs of absurd size: finite always, and exact where only the balance
    of styles and weights is absurd, which demodulation undoes."""
    network = small_gpen()
    for conv in network.generator.convs:
        conv.conv.weight.mul_(3e4)
        conv.conv.modulation.bias.mul_(1e4)
        conv.conv.modulation.weight.mul_(1e4)
    actual = prepare_for_inference(network, torch.float16)(faces())
    assert relative_error(actual, network(faces())) <= TOLERANCE[torch.float16]
    for layer in (network.ecd0, network.ecd1, network.ecd3):
        layer[0][-2].weight.mul_(1e4)
    network.generator.to_rgbs[0].conv.weight.mul_(1e4)
    actual = prepare_for_inference(network, torch.float16)(faces() * 1e3)
    assert torch.isfinite(actual).all()
    assert actual.std() > 0


def test_half_precision_upscaling_survives_adversarial_magnitudes() -> None:
    network = small_rrdbnet()
    for parameter in network.parameters():
        parameter.mul_(300)
    actual = prepare_for_inference(network, torch.float16)(faces(1, 24))
    assert torch.isfinite(actual).all()


def test_bounded_weights_and_styles_restore_the_originals() -> None:
    weight = torch.randn(5, 7, 3, 3) * torch.tensor([1e-6, 1.0, 1e6, 0.0, 3.0])[:, None, None, None]
    bounded, scale = bounded_weight(weight)
    torch.testing.assert_close(bounded * scale[:, None, None, None], weight)
    assert bounded.abs().sum(dim=(1, 2, 3)).max() <= 8.001
    styles = torch.randn(2, 7) * torch.tensor([[1e6], [0.0]])
    bounded, scale = bounded_style(styles)
    torch.testing.assert_close(bounded * scale, styles)
    assert bounded.abs().max() <= 1


def test_a_network_without_a_faster_form_is_taken_as_it_is() -> None:
    network, x = nn.Conv2d(3, 3, 3), torch.rand(1, 3, 8, 8)
    prepared = prepare_for_inference(network)
    assert torch.equal(prepared(x), network(x))
    half = prepare_for_inference(network, torch.bfloat16)
    assert half(x).dtype is torch.bfloat16
    assert network.weight.dtype is torch.float32
    assert half.activation_bytes(1, 8, 8) > 0


def test_dtype_names() -> None:
    assert resolve_dtype("cpu", "fp16") is torch.float16
    assert resolve_dtype("cuda:1") is torch.float16
    assert resolve_dtype("mps") is torch.float32
    expected = torch.bfloat16 if cpu_has_bf16() else torch.float32
    assert resolve_dtype("cpu", "auto") is expected
    with pytest.raises(InvalidOptionError, match="expected auto, fp32, fp16, bf16, found 'half'"):
        resolve_dtype("cpu", "half")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "shape", [(2, 6, 8, 12), (1, 256, 32, 32), (1, 3, 4, 2048)], ids=["oblong", "wide", "one row"]
)
def test_winograd_is_the_convolution(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=generator).to(dtype)
    weight = torch.randn(5, shape[1], 3, 3, generator=generator)
    expected = F.conv2d(x.float(), weight, padding=1)
    x = x.contiguous(memory_format=torch.channels_last)
    actual = WinogradConv(weight, dtype)(x)
    assert actual.is_contiguous(memory_format=torch.channels_last)
    assert relative_error(actual, expected) <= RECORDS[Form.WINOGRAD].bound[dtype]


def test_winograd_bands_join_without_a_seam() -> None:
    """More rows than one band holds: every row is compared, those between bands too."""
    x = torch.randn(1, 2, 64, 256, generator=torch.Generator().manual_seed(2))
    assert x.shape[2] * x.shape[3] > 2 * BAND_PIXELS
    weight = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        WinogradConv(weight, torch.float32)(x), F.conv2d(x, weight, padding=1), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("minimal", [F2, F4], ids=["F2", "F4"])
def test_minimal_filters_are_exact(minimal: MinimalFilter) -> None:
    """Against the definition, in exact arithmetic: integers in, a filter's results out."""
    data, weight, result = (
        [[Fraction(value).limit_denominator(24) for value in row] for row in matrix]
        for matrix in (minimal.data, minimal.weight, minimal.result)
    )
    signal = [Fraction(value) for value in (3, -1, 4, 1, -5, 9)][: minimal.inputs]
    taps = [Fraction(value) for value in (2, -7, 1)]
    products = [
        sum(map(mul, d, signal)) * sum(map(mul, w, taps)) for d, w in zip(data, weight, strict=True)
    ]
    for position, row in enumerate(result):
        assert sum(map(mul, row, products)) == sum(map(mul, taps, signal[position : position + 3]))


def test_fewer_multiplications_only_where_they_pay() -> None:
    def takes(dtype: torch.dtype, device: str = "cpu") -> bool:
        return Target(torch.device(device), dtype).takes(Form.WINOGRAD)

    assert is_worthwhile(256, 64, torch.float32)
    assert not is_worthwhile(128, 64, torch.float32)
    assert not is_worthwhile(256, 16, torch.float32)
    assert takes(torch.float32)
    assert not takes(torch.float16)
    assert not takes(torch.float32, "cuda")
    assert takes(torch.bfloat16) != cpu_has_matrix_unit()


COMPILED = """
import sys
import torch
from gpen_arch.inference import Form, forms, prepare_for_inference
from gpen_arch.networks import GPEN, GPENConfig

network = GPEN(GPENConfig(64, style_dim=32, n_mlp=2, narrow=0.125)).requires_grad_(False)
for name, parameter in network.named_parameters():
    if name.endswith("noise.weight"):
        parameter.fill_(0.1)
prepared = prepare_for_inference(network, getattr(torch, sys.argv[1]), compiled=True)
assert prepared.fast.network.generator.convs[0].compiled
for batch in (1, 3, 2):
    x = torch.rand(batch, 3, 64, 64) * 2 - 1
    expected = network(x)
    print(float((prepared(x) - expected).norm() / expected.norm()))
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_compiled_activations_agree(dtype: torch.dtype) -> None:
    """In batches of several sizes; in a process of its own, because what older versions of torch
    compile has the whole process flush small numbers to zero."""
    command = [sys.executable, "-c", COMPILED, str(dtype).removeprefix("torch.")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    errors = [float(line) for line in done.stdout.split()]
    assert len(errors) == 3
    assert max(errors) <= TOLERANCE[dtype]


def test_without_a_compiler_the_option_says_so(tmp_path: Path) -> None:
    program = (
        "import torch\n"
        "from gpen_arch.inference.fusion import require_compiler\n"
        "require_compiler(torch.device('cpu'), torch.float32)\n"
    )
    environment = {**os.environ, "CXX": "/nowhere/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "MissingDependencyError: compiling needs torch's compiler with a C++ compiler" in last
    assert "install a C++ compiler or leave the option away" in last


def test_results_are_collected_in_order() -> None:
    x = torch.arange(10.0).reshape(5, 2)
    collector, counts = Collector(torch.zeros_like(x)), []
    for part in x.split(2):
        collector.add(upload(part, torch.device("cpu")))
        counts.append(collector.done)
    collector.finish()
    assert torch.equal(collector.target, x)
    assert counts == [2, 4, 5]
    assert upload(x, torch.device("cpu"), torch.float16).dtype is torch.float16


def test_a_network_prepared_for_another_device_is_right_here_too() -> None:
    network = small_gpen()
    prepared = prepare_for_inference(network, device="cuda")
    assert relative_error(prepared(faces()), network(faces())) <= TOLERANCE[torch.float32]
