"""What error messages of training say to do, done: each error is provoked, its remedy works.

Not here, because they cannot be done in a test: to install a package, to update torch, to free a
disk (``test_a_full_disk_keeps_the_checkpoints_before`` goes on once there is room).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import save_file
from torch.torch_version import TorchVersion

from gpen_arch.cli import build_parser, main
from gpen_arch.commands.align import run_align
from gpen_arch.commands.train import BUILTIN
from gpen_arch.data.dataset import FaceDataset, FaceItem
from gpen_arch.data.sources import open_source
from gpen_arch.degradation import blur_kernels
from gpen_arch.degradation.recipe import Recipe, degrade, generator_for
from gpen_arch.degradation.recipes import load_recipe
from gpen_arch.errors import (
    CorruptWeightsError,
    DatasetError,
    InsufficientMemoryError,
    InvalidImageError,
    InvalidOptionError,
    MissingDependencyError,
    TrainingError,
    WeightsMismatchError,
)
from gpen_arch.faces import Face, face_template
from gpen_arch.loading import pickles
from gpen_arch.networks import GPEN
from gpen_arch.training.checkpoints import read_checkpoint
from gpen_arch.training.config import load_config
from gpen_arch.training.updates import Updates

from ..training_folders import Folder, proposed
from ..training_runs import TINY_MODEL, tiny_config, write_faces

PIXELS: dict[str, object] = {"adversarial_weight": 0.0, "feature_weight": 0.0, "path_weight": 0.0}
RATES = ("encoder_lr", "decoder_lr", "discriminator_lr")


def small(root: Path, **tables: dict[str, object]) -> Folder:
    """A run of two steps without a discriminator."""
    return Folder(root, **{"run": {"steps": 2}, "loss": PIXELS, **tables})


def why_it_stops(folder: Folder, options: list[str]) -> str:
    """The error of a command that may stop; empty if it does not."""
    try:
        folder.train(*options)
    except TrainingError as error:
        return str(error)
    return ""


# --- a run that stopped: data.batch_size and optimiser.accumulate, --workers, rates and clip


def test_a_step_that_found_no_memory_goes_on_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path, run={"steps": 4})
    right = Updates.step

    def full(self: Updates, pairs: list[object]) -> object:
        """A machine that has room for two faces: torch's own error, of asking for a petabyte."""
        if self.state.step >= 2 and len(pairs) == 1:
            torch.empty(2**50, dtype=torch.uint8)
        return right(self, pairs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Updates, "step", full)
    message = folder.refusal(InsufficientMemoryError)
    assert "step-00000002.pt" in message
    assert proposed(message)[1:] == ["data.batch_size=2", "optimiser.accumulate=2"]
    assert folder.train(*proposed(message)) == 0
    assert folder.changes()[0]["step"] == 2


def test_a_step_of_one_face_that_found_no_memory_needs_a_smaller_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small(tmp_path, data={"batch_size": 1})

    def full(self: Updates, pairs: list[object]) -> object:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")  # a GPU

    with monkeypatch.context() as patch:
        patch.setattr(Updates, "step", full)
        message = folder.refusal(InsufficientMemoryError)
    assert "train a smaller network (model.narrow, model.channel_multiplier)" in message
    smaller = {**TINY_MODEL, "narrow": 1 / 128}
    folder.configure(run={"steps": 2}, loss=PIXELS, data={"batch_size": 1}, model=smaller)
    assert folder.train("--out", tmp_path / "another") == 0


def test_a_run_whose_worker_was_killed_goes_on_with_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small(tmp_path, run={"steps": 6}, data={"workers": 1, "cache": False})
    parent, right = os.getpid(), FaceDataset.item

    def dying(self: FaceDataset, index: int, epoch: int) -> FaceItem:
        """The system takes a worker's memory in the second pass over the pictures."""
        if epoch == 1 and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return right(self, index, epoch)

    monkeypatch.setattr(FaceDataset, "item", dying)
    message = folder.refusal(TrainingError)
    assert "a data worker died" in message
    assert proposed(message) == ["--workers", "0"]
    assert folder.train(*proposed(message)) == 0


def test_a_run_that_diverged_goes_on_with_the_lower_rates(tmp_path: Path) -> None:
    folder = Folder(tmp_path, run={"steps": 4})
    folder.train("--steps", "2")
    options = ["--continue-with", *(f"optimiser.{name}=40" for name in RATES)]
    messages: list[str] = []
    # The message halves them, and may have to say so again.
    while (message := why_it_stops(folder, options)) and len(messages) < 12:
        messages.append(message)
        assert "NaN or infinity at step 3" in message
        before, options = options, proposed(message)
        assert float(options[1].split("=")[1]) == float(before[1].split("=")[1]) / 2
        assert options[-1].startswith("optimiser.clip=")
    assert messages
    assert not message
    assert torch.isfinite(torch.cat([value.flatten() for value in folder.weights().values()])).all()


# --- a folder that belongs to something else: --config, --continue-with, another --out


def test_a_changed_rate_is_taken_back_or_listed_or_begins_another_run(tmp_path: Path) -> None:
    folder = small(tmp_path, run={"steps": 4})
    folder.train("--steps", "2")
    folder.configure(run={"steps": 4}, loss=PIXELS, optimiser={"encoder_lr": 1e-4})
    message = folder.refusal(TrainingError)
    assert proposed(message)[:1] == ["--config"]
    assert folder.train(*proposed(message)) == 0  # the run's own configuration
    assert folder.train(*proposed(message[message.index("--continue-with") :])) == 0
    assert load_config(folder.run / "config.json").optimiser.encoder_lr == 1e-4
    assert "choose another --out" in message
    assert folder.train("--out", tmp_path / "another") == 0


def test_another_network_is_another_run(tmp_path: Path) -> None:
    folder = small(tmp_path)
    folder.train()
    folder.configure(run={"steps": 3}, loss=PIXELS, model={"n_mlp": 2})
    message = folder.refusal(TrainingError)
    assert "--continue-with" not in message  # which would not do
    assert folder.train(*proposed(message)) == 0
    assert folder.train("--out", tmp_path / "another") == 0


@pytest.mark.parametrize(
    ("name", "text"), [("holiday.jpg", ""), ("config.json", "{"), ("config.json", "[]")]
)
def test_a_folder_of_other_files_is_left_for_another(tmp_path: Path, name: str, text: str) -> None:
    folder = small(tmp_path)
    folder.run.mkdir()
    (folder.run / name).write_text(text)
    assert "Choose another --out" in folder.refusal(TrainingError)
    assert folder.train("--out", tmp_path / "another") == 0
    assert (folder.run / name).read_text() == text


def test_a_misspelt_change_is_written_as_the_message_has_it(tmp_path: Path) -> None:
    folder = small(tmp_path, run={"steps": 4})
    folder.train("--steps", "2")
    message = folder.refusal(InvalidOptionError, "--continue-with", "encoder_lr=1e-3")
    (example,) = re.findall(r"write it as (\S+)", message)
    assert folder.train("--continue-with", example) == 0
    assert load_config(folder.run / "config.json").optimiser.encoder_lr == 1e-3


# --- checkpoints


def test_a_damaged_checkpoint_is_removed_and_the_one_before_goes_on(tmp_path: Path) -> None:
    folder = small(tmp_path, run={"steps": 6})
    folder.train("--steps", "4")
    expected = folder.run / "checkpoints/step-00000002.pt"
    last = folder.run / "checkpoints/step-00000004.pt"
    last.write_bytes(last.read_bytes()[:700])
    message = folder.refusal(TrainingError)
    assert message.endswith("Remove it to resume from the one before")
    last.unlink()
    assert expected.is_file()
    assert folder.train() == 0


def test_another_runs_checkpoint_is_removed_and_the_one_before_goes_on(tmp_path: Path) -> None:
    folder = small(tmp_path, run={"steps": 4})
    folder.train("--steps", "2")
    folder.train("--size", "64", "--out", tmp_path / "64")
    strange = folder.run / "checkpoints/step-00000004.pt"
    shutil.copy(tmp_path / "64/checkpoints/step-00000004.pt", strange)
    message = folder.refusal(TrainingError)
    assert message.endswith("checkpoints to resume from the one before")
    strange.unlink()
    assert folder.train() == 0


def test_a_run_without_a_checkpoint_may_begin_otherwise(tmp_path: Path) -> None:
    folder = small(tmp_path)
    folder.refusal(CorruptWeightsError, "--start", tmp_path / "val/000.png")
    folder.train("--seed", "5")
    assert load_config(folder.run / "config.json").run.seed == 5


def test_a_published_checkpoint_is_started_from_instead(tmp_path: Path) -> None:
    folder = small(tmp_path)
    folder.train()
    published = tmp_path / "published.pth"
    torch.save({"g_ema": folder.weights()}, published)
    shutil.copy(published, folder.run / "checkpoints/step-00000009.pt")
    message = folder.refusal(TrainingError)
    assert message.endswith("To go on from a published checkpoint, set model.start instead")
    assert folder.train("--out", tmp_path / "another", "--start", published) == 0


def test_under_an_old_torch_a_new_run_begins_with_the_exported_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small(tmp_path)
    folder.train()
    monkeypatch.setattr(pickles, "running_torch", lambda: TorchVersion("2.9.1"))
    message = folder.refusal(TrainingError)
    assert "begin a new run with model.start set to the weights that this one exported" in message
    exported = folder.run / "weights/gpen-last.safetensors"
    assert folder.train("--out", tmp_path / "another", "--start", exported) == 0


# --- where weights start


def test_a_decoder_that_learns_slowly_gets_a_prior_or_a_start_or_one_rate(tmp_path: Path) -> None:
    paper: dict[str, object] = {"encoder_lr": 2e-3, "decoder_lr": 2e-4}
    folder = small(tmp_path, optimiser=paper)
    message = folder.refusal(InvalidOptionError)
    network = GPEN(tiny_config().model.generator)
    save_file(network.generator.state_dict(), tmp_path / "prior.safetensors")
    save_file(network.state_dict(), tmp_path / "gpen.safetensors")
    assert "(--prior FILE)" in message
    assert folder.train("--out", tmp_path / "1", "--prior", tmp_path / "prior.safetensors") == 0
    assert "(--start FILE)" in message
    assert folder.train("--out", tmp_path / "2", "--start", tmp_path / "gpen.safetensors") == 0
    one_rate = load_config(BUILTIN / f"{proposed(message)[1]}.toml").optimiser
    folder.configure(run={"steps": 2}, loss=PIXELS, optimiser={n: vars(one_rate)[n] for n in RATES})
    assert folder.train("--out", tmp_path / "3") == 0


def test_a_gpen_of_another_size_trains_at_its_own(tmp_path: Path) -> None:
    folder = small(tmp_path)
    save_file(GPEN(tiny_config().model.generator).state_dict(), tmp_path / "32.safetensors")
    start = ("--start", tmp_path / "32.safetensors")
    message = folder.refusal(TrainingError, "--size", "64", *start)
    assert "found one of 32 px" in message
    assert folder.train("--size", "32", *start) == 0  # train at that size
    other = tiny_config(model={"size": 64}).model.generator
    save_file(GPEN(other).state_dict(), tmp_path / "64.safetensors")  # or choose another file
    start = ("--start", tmp_path / "64.safetensors")
    assert folder.train("--size", "64", *start, "--out", tmp_path / "another") == 0


def test_another_discriminator_is_chosen(tmp_path: Path) -> None:
    folder = Folder(tmp_path, run={"steps": 2})
    folder.train()
    own = ("--start-discriminator", folder.run / "weights/gpen-last-D.safetensors")
    folder.train("--size", "64", "--out", tmp_path / "64")
    other = ("--start-discriminator", tmp_path / "64/weights/gpen-last-D.safetensors")
    out = ("--out", tmp_path / "another")
    assert folder.refusal(TrainingError, *other, *out).endswith("Choose another file")
    assert folder.train(*own, *out) == 0


@pytest.mark.parametrize("sizes", [{"n_mlp": 2}, {"narrow": 1 / 32}])
def test_a_prior_of_other_sizes_fits_when_they_are_set(
    tmp_path: Path, sizes: dict[str, object]
) -> None:
    prior = GPEN(tiny_config(model=sizes).model.generator).generator
    save_file(prior.state_dict(), tmp_path / "prior.safetensors")
    folder = small(tmp_path)
    message = folder.refusal(WeightsMismatchError, "--prior", tmp_path / "prior.safetensors")
    assert re.search(r"other sizes in \[model\]|Set model\.size, style_dim", message)
    folder.configure(run={"steps": 2}, loss=PIXELS, model={**TINY_MODEL, **sizes})
    assert folder.train("--prior", tmp_path / "prior.safetensors") == 0


# --- how it is launched


@pytest.mark.parametrize(
    ("setting", "value", "options"),
    [
        ("ACCELERATE_USE_FSDP", "true", None),  # launch without it
        ("ACCELERATE_USE_DEEPSPEED", "true", None),
        ("ACCELERATE_MIXED_PRECISION", "fp16", None),  # launch with --mixed_precision no
        ("ACCELERATE_MIXED_PRECISION", "bf16", ["--precision", "bf16"]),  # and go on as launched
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "2", ["--accumulate", "2"]),
    ],
)
def test_a_launchers_setting_is_left_out_or_said_to_the_trainer(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
    options: list[str] | None,
) -> None:
    folder = small(tmp_path)
    monkeypatch.setenv(setting, value)
    AcceleratorState._reset_state(reset_partial_state=True)  # each command is a process of its own
    message = folder.refusal(InvalidOptionError)
    if options is not None:
        assert proposed(message) == options
    if options != ["--precision", "bf16"]:
        assert re.search("again without it|Launch without it|--mixed_precision no", message)
        monkeypatch.delenv(setting)
    assert folder.train(*(options or [])) == 0
    AcceleratorState._reset_state(reset_partial_state=True)


def test_without_a_compiler_the_run_is_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small(tmp_path, device={"compile": True})
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "or set device.compile = false" in folder.refusal(MissingDependencyError)
    folder.configure(run={"steps": 2}, loss=PIXELS, device={"compile": False})
    assert folder.train() == 0


def test_a_batch_that_the_discriminators_groups_do_not_divide_is_changed(tmp_path: Path) -> None:
    folder = Folder(tmp_path, run={"steps": 2})
    message = folder.refusal(InvalidOptionError, "--batch-size", "6")
    assert "a multiple of model.stddev_group (4) or below it" in message
    assert folder.train("--batch-size", "8") == 0
    assert folder.train("--batch-size", "3", "--out", tmp_path / "another") == 0


# --- faces


def test_a_face_in_both_sets_is_taken_out_of_one(tmp_path: Path) -> None:
    folder = small(tmp_path)
    shutil.copy(tmp_path / "train/003.png", tmp_path / "val/copied.png")
    message = folder.refusal(DatasetError)
    assert "copied.png (trained on as 003.png)" in message
    assert message.endswith("Take them out of one of the two")
    (tmp_path / "val/copied.png").unlink()
    assert folder.train() == 0


class OneFace:
    """Finds a face in the middle of every picture, whatever it shows."""

    def __call__(self, images: torch.Tensor, **_: object) -> list[list[Face]]:
        side = min(images.shape[-2:])
        left, right, nose, mouth, other = ((x, y) for x, y in face_template(side).tolist())
        return [[Face((0.0, 0.0, side, side), 0.99, (left, right, nose, mouth, other))]]


def test_photographs_are_aligned_and_cropped_first(tmp_path: Path) -> None:
    folder = small(tmp_path)
    photos, rng = tmp_path / "photos", np.random.default_rng(0)
    photos.mkdir()
    for number in range(4):
        noise = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(photos / f"{number}.png")
    message = folder.refusal(DatasetError, "--data", photos)
    assert "found 90x60. Align and crop it first." in message
    command = ["align", str(photos), str(tmp_path / "crops"), "--size", "32", "--quiet"]
    assert run_align(build_parser().parse_args(command), lambda *_: OneFace()) == 0
    assert folder.train("--data", tmp_path / "crops") == 0


def test_a_list_of_one_kind_of_lines_is_read(tmp_path: Path) -> None:
    write_faces(tmp_path, 2)
    faces = tmp_path / "faces.txt"
    faces.write_text("000.png\n001.png\t000.png\n")
    with pytest.raises(DatasetError, match="Make all lines alike"):
        open_source(faces)
    faces.write_text("000.png\t001.png\n001.png\t000.png\n")
    assert len(open_source(faces)) == 2


def test_a_renamed_column_is_read(tmp_path: Path) -> None:
    write_faces(tmp_path, 1)
    table = tmp_path / "faces.csv"
    table.write_text("image\n000.png\n")
    with pytest.raises(DatasetError, match=r"expected a column hq:FILE .*Rename the column"):
        open_source(table)
    table.write_text("hq:FILE\n000.png\n")
    assert open_source(table).read(0).shape == (32, 32, 3)


def test_a_folder_without_faces_is_exchanged_for_one_with_some(tmp_path: Path) -> None:
    folder = small(tmp_path)
    assert "Check the path" in folder.refusal(DatasetError, "--data", tmp_path / "trian")
    (tmp_path / "empty").mkdir()
    message = folder.refusal(DatasetError, "--data", tmp_path / "empty")
    assert "Point to a folder of aligned faces" in message
    assert folder.train("--data", tmp_path / "train") == 0


def test_faces_alone_get_the_recipe_that_is_named(tmp_path: Path) -> None:
    write_faces(tmp_path, 1)
    with pytest.raises(DatasetError, match="Name one, such as gfpgan") as caught:
        FaceDataset(tmp_path, 32)
    named = str(caught.value).removesuffix(".").split()[-1]
    assert FaceDataset(tmp_path, 32, load_recipe(named))[0]["lq"].shape == (3, 32, 32)


def test_pairs_go_to_another_folder_than_one_in_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small(tmp_path)
    command = ["degrade", str(tmp_path / "train")]
    assert main([*command, str(tmp_path / "val")]) == 2
    assert "which is in use. Name another one" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "pairs")]) == 0
    assert folder.train("--data", tmp_path / "pairs") == 0


# --- recipes


def test_a_kernel_of_the_next_odd_size_can_be_made() -> None:
    with pytest.raises(InvalidOptionError) as caught:
        blur_kernels.gaussian_kernel(6, 1.0, 1.0)
    (size,) = re.findall(r"Use (\d+)\.", str(caught.value))
    assert blur_kernels.gaussian_kernel(int(size), 1.0, 1.0).shape == (7, 7)


def test_a_misspelt_recipe_or_key_is_spelt_as_the_message_has_it(tmp_path: Path) -> None:
    folder = small(tmp_path)
    message = folder.refusal(InvalidOptionError, "--recipe", "real-esrgan")
    assert "Check the spelling" in message
    assert "realesrgan" in message
    assert folder.train("--recipe", "realesrgan") == 0
    with pytest.raises(InvalidOptionError, match="did you mean quality"):
        Recipe.from_dict({"steps": [{"kind": "jpeg", "qualty": [30, 40]}]})
    assert Recipe.from_dict({"steps": [{"kind": "jpeg", "quality": [30, 40]}]}).steps


def test_a_picture_of_another_type_is_converted_first() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    recipe, rng = load_recipe("gfpgan"), generator_for(0, 0, 0)
    with pytest.raises(InvalidImageError, match="Convert it first"):
        degrade(picture, recipe, rng)  # pyright: ignore[reportArgumentType]
    assert degrade(np.divide(picture, 255, dtype=np.float32), recipe, rng).shape == (8, 8, 3)


# --- what is no remedy


def test_a_checkpoint_that_was_trained_on_is_still_there(tmp_path: Path) -> None:
    """Refusals leave a run's folder as it was."""
    folder = small(tmp_path)
    folder.train()
    before = read_checkpoint(folder.run / "checkpoints/step-00000002.pt")["step"]
    folder.refusal(InvalidOptionError, "--recipe", "nobody")
    folder.refusal(DatasetError, "--data", tmp_path / "nowhere")
    assert read_checkpoint(folder.run / "checkpoints/step-00000002.pt")["step"] == before
    assert folder.train() == 0
