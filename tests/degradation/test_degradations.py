"""Degradation: the published formulas and order, the same chance everywhere, recipes as data."""

import dataclasses
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from gpen_arch.degradation import blur_kernels, colour_steps, filter_steps, steps
from gpen_arch.degradation.recipe import (
    OneOf,
    Recipe,
    Shuffle,
    degrade,
    degrade_pair,
    generator_for,
)
from gpen_arch.degradation.recipes import RECIPES, gfpgan, load_recipe
from gpen_arch.errors import InvalidImageError, InvalidOptionError


def picture(height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((8, 8, 3), dtype=np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


# Kernels


@pytest.mark.parametrize("size", [7, 21, 41])
def test_kernels_sum_to_one_and_turn_into_themselves(size: int) -> None:
    made = [
        blur_kernels.gaussian_kernel(size, 2.0, 5.0, 0.7),
        blur_kernels.generalised_gaussian_kernel(size, 2.0, 5.0, 0.7, 0.6),
        blur_kernels.plateau_kernel(size, 2.0, 5.0, 0.7, 1.5),
        blur_kernels.sinc_kernel(size, 1.2),
    ]
    for kernel in made:
        assert kernel.shape == (size, size)
        assert kernel.sum() == pytest.approx(1.0)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-15)


def test_kernels_have_the_published_values() -> None:
    """At the offset (3, 1), relative to the centre, written out by hand."""
    sigma_x, sigma_y, angle = 2.0, 5.0, 0.7
    cosine, sine = math.cos(angle), math.sin(angle)
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    covariance = rotation @ np.diag([sigma_x**2, sigma_y**2]) @ rotation.T
    offset = np.array([3.0, 1.0])
    distance = offset @ np.linalg.inv(covariance) @ offset
    cases = [
        (blur_kernels.gaussian_kernel(21, sigma_x, sigma_y, angle), math.exp(-distance / 2)),
        (
            blur_kernels.generalised_gaussian_kernel(21, sigma_x, sigma_y, angle, 0.6),
            math.exp(-(distance**0.6) / 2),
        ),
        (blur_kernels.plateau_kernel(21, sigma_x, sigma_y, angle, 1.5), 1 / (1 + distance**1.5)),
    ]
    for kernel, expected in cases:
        assert kernel[10 + 1, 10 + 3] / kernel[10, 10] == pytest.approx(expected)


def test_a_generalised_gaussian_of_shape_one_is_the_gaussian() -> None:
    np.testing.assert_allclose(
        blur_kernels.generalised_gaussian_kernel(15, 1.5, 3.0, 0.3, 1.0),
        blur_kernels.gaussian_kernel(15, 1.5, 3.0, 0.3),
    )


def test_the_profile_is_a_factor_of_the_isotropic_kernel() -> None:
    profile = blur_kernels.gaussian_profile(41, 3.3)
    np.testing.assert_allclose(
        np.outer(profile, profile), blur_kernels.gaussian_kernel(41, 3.3, 3.3), atol=1e-15
    )


def test_a_sinc_keeps_low_frequencies_and_stops_high_ones() -> None:
    cutoff = math.pi / 2
    response = np.abs(np.fft.fft2(blur_kernels.sinc_kernel(21, cutoff), (256, 256)))[0]
    assert response[int(0.5 * cutoff / (2 * math.pi) * 256)] > 0.85
    assert response[int(1.6 * cutoff / (2 * math.pi) * 256)] < 0.15


@pytest.mark.parametrize("size", [0, 4, -3])
def test_an_even_or_empty_kernel_is_refused(size: int) -> None:
    with pytest.raises(InvalidOptionError, match="odd size"):
        blur_kernels.gaussian_kernel(size, 1.0, 1.0)


def test_a_blur_without_width_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="sigma must be above 0"):
        blur_kernels.plateau_kernel(7, 0.0, 1.0, 0.0, 1.0)


# The recipe of GPEN's trainer


def test_the_default_recipe_is_the_published_one() -> None:
    recipe = gfpgan()
    blur, shrink, noise, compression = recipe.steps
    assert (recipe.flip, recipe.grey) == (0.5, 0.2)
    assert recipe.colour_shift[0] == 0.0
    assert isinstance(blur, filter_steps.Blur)
    assert (blur.kinds, blur.weights) == (("iso", "aniso"), (0.5, 0.5))
    assert (blur.sizes, blur.sigma, blur.angle) == ((41, 41), (0.1, 10.0), (-math.pi, math.pi))
    assert shrink == steps.Downscale(factor=(0.8, 8.0), interpolations=("bilinear",))
    assert noise == steps.GaussianNoise(sigma=(0.0, 20.0))
    assert compression == steps.Jpeg(quality=(60.0, 100.0))


def fixed_recipe(sigma: float, factor: float, quality: int) -> Recipe:
    return Recipe(
        name="fixed",
        steps=(
            filter_steps.Blur(
                kinds=("aniso",), weights=(1.0,), sigma=(sigma, sigma), angle=(0.4, 0.4)
            ),
            steps.Downscale(factor=(factor, factor)),
            steps.GaussianNoise(sigma=(0.0, 0.0)),
            steps.Jpeg(quality=(quality, quality)),
        ),
        flip=0.0,
        grey=0.0,
    )


@pytest.mark.parametrize(("sigma", "factor", "quality"), [(2.0, 2.3, 80), (6.0, 7.7, 61)])
def test_the_order_of_operations_is_the_published_one(
    sigma: float, factor: float, quality: int
) -> None:
    """Blur, shrink to side // factor, JPEG of the BGR picture, 8 bit, back to size."""
    image = picture(64, 48)
    bgr = cv2.filter2D(image, -1, blur_kernels.gaussian_kernel(41, sigma, sigma, 0.4))[:, :, ::-1]
    small = cv2.resize(bgr, (int(48 // factor), int(64 // factor)))
    data = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", data, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR).astype(np.float32) / 255
    expected = cv2.resize(decoded, (48, 64))[:, :, ::-1]
    result = degrade(image, fixed_recipe(sigma, factor, quality), generator_for(0, 0, 0))
    np.testing.assert_allclose(result, expected, atol=1.01 / 255)
    assert np.mean(np.abs(result - expected)) < 0.05 / 255


# The recipes of Real-ESRGAN and BSRGAN


@pytest.mark.parametrize("name", ["realesrgan", "bsrgan"])
def test_pictures_keep_their_colour_where_the_publication_keeps_it(name: str) -> None:
    assert load_recipe(name).grey == 0


def test_real_esrgan_starts_from_the_sharpened_picture() -> None:
    assert load_recipe("realesrgan").steps[0] == filter_steps.Sharpen()


def test_sharpening_is_basicsrs() -> None:
    """Its function for arrays, word for word (basicsr/utils/img_process_util.py)."""
    image = np.asarray(cv2.GaussianBlur(picture(96, 80), (0, 0), 2), dtype=np.float32)
    residual = image - cv2.GaussianBlur(image, (51, 51), 0)
    mask = (np.abs(residual) * 255 > 10).astype("float32")
    soft_mask = cv2.GaussianBlur(mask, (51, 51), 0)
    sharp = np.clip(image + 0.5 * residual, 0, 1)
    expected = soft_mask * sharp + (1 - soft_mask) * image
    found = filter_steps.Sharpen().apply(image, (96, 80), np.random.default_rng(0))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found - image).mean() * 255 > 1


# Colours of the degraded picture alone


@pytest.mark.parametrize(
    ("name", "factor"), [("brightness", 1.4), ("contrast", 0.6), ("saturation", 0.2), ("hue", 0.08)]
)
def test_colours_change_as_in_torchvision(name: str, factor: float) -> None:
    from torchvision.transforms.v2 import functional

    still = {"brightness": (1.0, 1.0), "contrast": (1.0, 1.0), "saturation": (1.0, 1.0),
             "hue": (0.0, 0.0)}  # fmt: skip
    image = picture(24, 20)
    step = colour_steps.ColourJitter(**{**still, name: (factor, factor)})
    tensor = torch.from_numpy(image.transpose(2, 0, 1))
    expected = getattr(functional, f"adjust_{name}")(tensor, factor).numpy().transpose(1, 2, 0)
    found = step.apply(image, (24, 20), np.random.default_rng(0))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.abs(found - image).max() > 0.02


def test_colours_of_the_good_picture_stay() -> None:
    recipe, image = load_recipe("gfpgan-colour"), picture(32, 32)
    recipe = dataclasses.replace(recipe, flip=0.0)
    shifts = []
    for index in range(60):
        good, bad = degrade_pair(image, recipe, generator_for(0, 0, index))
        np.testing.assert_array_equal(good, image)
        shifts.append(np.abs((bad - good).mean(axis=(0, 1))).max())
    changed = np.mean(np.array(shifts) > 0.03)
    assert 0.2 < changed < 0.75  # of 0.3 + 0.3, less those that change little


def test_a_shift_stays_in_its_range_and_differs_by_colour() -> None:
    image = np.full((8, 8, 3), 0.5, np.float32)
    shifted = colour_steps.ColourShift().apply(image, (8, 8), np.random.default_rng(2))
    shift = (shifted - image)[0, 0] * 255
    assert np.abs(shift).max() <= 20
    assert len(set(shift.round(3).tolist())) == 3


@pytest.mark.parametrize(
    ("name", "sigma", "factor", "noise", "quality"),
    [
        ("gfpgan", (0.1, 10), (0.8, 8), (0, 20), (60, 100)),  # GPEN's dataset_face.py
        ("gfpgan-colour", (0.1, 10), (0.8, 8), (0, 20), (60, 100)),  # train_gfpgan_v1.yml
        ("codeformer", (1, 15), (4, 30), (0, 20), (30, 80)),  # CodeFormer_stage2.yml
        ("codeformer-light", (0.1, 10), (1, 12), (0, 15), (60, 100)),  # CodeFormer_stage3.yml
    ],
)
def test_published_ranges(
    name: str,
    sigma: tuple[float, float],
    factor: tuple[float, float],
    noise: tuple[float, float],
    quality: tuple[float, float],
) -> None:
    assert load_recipe(name).steps[:4] == (
        filter_steps.Blur(
            kinds=("iso", "aniso"), weights=(0.5, 0.5), sizes=(41, 41), sigma=sigma,
            angle=(-math.pi, math.pi),
        ),
        steps.Downscale(factor=factor, interpolations=("bilinear",)),
        steps.GaussianNoise(sigma=noise),
        steps.Jpeg(quality=quality),
    )  # fmt: skip


def test_gfpgans_colours_change_as_published() -> None:
    recipe = load_recipe("gfpgan-colour")  # train_gfpgan_v1.yml, ffhq_degradation_dataset.py
    assert recipe.steps[4:] == (
        steps.ResizeTo(),
        colour_steps.ColourShift(most=20, probability=0.3),
        colour_steps.Grey(probability=0.01),
        colour_steps.ColourJitter(
            brightness=(0.5, 1.5), contrast=(0.5, 1.5), saturation=(0, 1.5), hue=(-0.1, 0.1),
            probability=0.3,
        ),
    )  # fmt: skip


def test_grey_truths_are_the_published_trainers_alone() -> None:
    grey = {name: load_recipe(name).grey for name in RECIPES}
    assert grey.pop("gfpgan") == 0.2  # gray_prob of GPEN's dataset_face.py
    assert set(grey.values()) == {0.0}


def test_the_papers_ranges_leave_a_few_pixels() -> None:
    recipe = load_recipe("gpen-paper")
    blur, shrink, noise, compression = recipe.steps
    assert isinstance(blur, OneOf)
    assert [type(option[0]) for option in blur.options] == [
        filter_steps.Blur,
        filter_steps.MotionBlur,
    ]
    assert shrink == steps.Downscale(factor=(10, 200))
    assert noise == steps.GaussianNoise(sigma=(0, 25))
    assert compression == steps.Jpeg(quality=(5, 50))
    image, errors = picture(256, 256), []
    for name in ("gfpgan", "gpen-paper"):
        degraded = [degrade(image, load_recipe(name), generator_for(0, 0, i)) for i in range(20)]
        errors.append(np.mean([np.abs(each - image).mean() for each in degraded]))
    assert errors[1] > 2 * errors[0]


# Motion


def test_a_level_motion_is_an_even_line() -> None:
    kernel = blur_kernels.motion_kernel(5, 0.0)
    middle = len(kernel) // 2
    np.testing.assert_allclose(kernel[middle, middle - 2 : middle + 3], 0.2)
    assert kernel.sum() == pytest.approx(1)


@pytest.mark.parametrize("length", [1.0, 2.3, 9.0, 40.7])
@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi / 2, 2.5])
def test_a_motion_spreads_along_its_angle_alone(length: float, angle: float) -> None:
    kernel = blur_kernels.motion_kernel(length, angle)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    x, y = np.meshgrid(offsets, offsets)
    along = math.cos(angle) * x + math.sin(angle) * y
    across = math.cos(angle) * y - math.sin(angle) * x
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-15)
    assert (kernel * along**2).sum() == pytest.approx((length**2 - 1) / 12, rel=0.15, abs=0.4)
    assert (kernel * across**2).sum() < 0.25


def test_a_motion_of_one_pixel_changes_nothing() -> None:
    image = picture()
    still = filter_steps.MotionBlur(length=(1, 1)).apply(image, (64, 64), np.random.default_rng(0))
    np.testing.assert_allclose(still, image, atol=1e-7)


# Chance


@pytest.mark.parametrize("name", RECIPES)
def test_a_picture_depends_on_seed_epoch_and_index_alone(name: str) -> None:
    recipe, image = load_recipe(name), picture()
    before = image.copy()
    first = degrade_pair(image, recipe, generator_for(3, 1, 7))
    again = degrade_pair(image, recipe, generator_for(3, 1, 7))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    np.testing.assert_array_equal(image, before)
    if name == "shrunk":
        return  # nothing in it is left to chance
    for other in [(4, 1, 7), (3, 2, 7), (3, 1, 8)]:
        different = degrade_pair(image, recipe, generator_for(*other))
        assert not np.array_equal(first[1], different[1])


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("shape", [(64, 64), (40, 96), (9, 7)])
def test_size_type_and_range_are_kept(name: str, shape: tuple[int, int]) -> None:
    recipe = load_recipe(name)
    for index in range(12):
        result = degrade(picture(*shape), recipe, generator_for(0, 0, index))
        assert result.shape == (*shape, 3)
        assert result.dtype == np.float32
        assert 0 <= result.min() <= result.max() <= 1


@pytest.mark.parametrize("name", ["realesrgan", "upscaling", "gfpgan"])
def test_an_upscalers_input_is_smaller_by_its_scale(name: str) -> None:
    recipe = load_recipe(name, 2)
    for index in range(12):
        result = degrade(picture(41, 96), recipe, generator_for(0, 0, index), scale=2)
        assert result.shape == (20, 48, 3)


def test_a_recipe_that_ends_at_the_asked_size_is_not_resized() -> None:
    """Its values are still those of 8 bits."""
    recipe = load_recipe("realesrgan", 2)
    for index in range(4):
        small = degrade(picture(), recipe, generator_for(0, 0, index), scale=2) * 255
        assert np.abs(small - np.rint(small)).max() < 1e-4


def test_upscaling_is_real_esrgans_damage_for_half_of_the_pictures() -> None:
    (ways,) = load_recipe("upscaling", 2).steps
    assert isinstance(ways, OneOf)
    assert ways.weights == (0.5, 0.3, 0.2)
    assert ways.options[0] == load_recipe("realesrgan", 2).steps


def test_flip_and_grey_change_both_pictures() -> None:
    image = picture()
    mild = Recipe("mild", (steps.Jpeg(quality=(100, 100)),), flip=1.0, grey=1.0)
    good, degraded = degrade_pair(image, mild, generator_for(0, 0, 0))
    grey = cv2.cvtColor(np.ascontiguousarray(image[:, ::-1]), cv2.COLOR_RGB2GRAY)
    np.testing.assert_allclose(good, np.repeat(grey[:, :, None], 3, axis=2), atol=1e-6)
    assert np.abs(degraded - good).mean() < 0.01


def test_without_augmentation_the_good_picture_stays() -> None:
    image, recipe = picture(), gfpgan().without_augmentation()
    for index in range(20):
        good, degraded = degrade_pair(image, recipe, generator_for(0, 0, index))
        np.testing.assert_array_equal(good, image)
        assert not np.array_equal(degraded, image)


def test_flips_and_greys_come_as_often_as_asked() -> None:
    image, recipe = picture(8, 8), Recipe("none", (), flip=0.5, grey=0.2)
    goods = [degrade_pair(image, recipe, generator_for(0, 0, i))[0] for i in range(600)]
    greys = np.mean([np.ptp(good, axis=2).max() < 1e-6 for good in goods])
    coloured = [good for good in goods if np.ptp(good, axis=2).max() > 1e-6]
    flips = np.mean([not np.array_equal(good, image) for good in coloured])
    assert greys == pytest.approx(0.2, abs=0.06)
    assert flips == pytest.approx(0.5, abs=0.08)


# Noise and composite steps


def test_gaussian_noise_has_its_level() -> None:
    flat = np.full((128, 128, 3), 0.5, np.float32)
    noisy = steps.GaussianNoise(sigma=(12.0, 12.0)).apply(flat, (128, 128), generator_for(0, 0, 0))
    assert (noisy - flat).std() * 255 == pytest.approx(12.0, rel=0.03)
    single = steps.GaussianNoise(sigma=(12.0, 12.0), grey=1.0)
    assert np.ptp(single.apply(flat, (128, 128), generator_for(0, 0, 0)), axis=2).max() < 1e-6


def test_correlated_noise_has_a_covariance_between_channels() -> None:
    flat = np.full((128, 128, 3), 0.5, np.float32)
    step = steps.GaussianNoise(sigma=(2.0, 25.0), correlated=1.0)
    noise = (step.apply(flat, (128, 128), generator_for(0, 0, 1)) - flat).reshape(-1, 3)
    covariance = np.cov(noise.T) * 255**2
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() > 5
    assert np.diag(covariance).max() < 1.2 * 25**2


def test_poisson_noise_grows_with_brightness() -> None:
    image = np.zeros((96, 96, 3), np.float32)
    image[:, 48:] = np.linspace(0.6, 0.7, 48, dtype=np.float32)[None, :, None]
    image[:, :48] = np.linspace(0.05, 0.1, 48, dtype=np.float32)[None, :, None]
    step = steps.PoissonNoise(scale=(1.0, 1.0), grey=0.0)
    noise = step.apply(image, (96, 96), generator_for(0, 0, 0)) - image
    levels = len(np.unique(np.rint(image * 255)))
    peak = 2 ** math.ceil(math.log2(levels))
    assert noise[:, 48:].var() == pytest.approx(0.65 / peak, rel=0.15)
    assert noise[:, :48].var() < 0.3 * noise[:, 48:].var()


def test_decimation_takes_the_centre_of_each_block() -> None:
    ramp = np.tile(np.arange(64, dtype=np.float32)[None, :, None] / 64, (64, 1, 3))
    small = steps.Decimate(factor=4, sigma=(1.0, 1.0)).apply(ramp, (64, 64), generator_for(0, 0, 0))
    assert small.shape == (16, 16, 3)
    np.testing.assert_allclose(small[8, 4:12, 0] * 64, np.arange(4, 12) * 4 + 1.5, atol=1e-3)


class Marker:
    """A step that writes its number behind the picture's values."""

    kind = "marker"

    def __init__(self, number: int) -> None:
        self.number = number

    def apply(self, image: np.ndarray, original: object, rng: object) -> np.ndarray:
        return np.append(image, np.float32(self.number))


def test_a_shuffle_does_every_step_once_and_keeps_a_pair_in_order() -> None:
    shuffle = Shuffle(tuple(Marker(number) for number in range(5)), in_order=(2, 3))
    seen = set()
    for index in range(60):
        order = shuffle.apply(np.zeros(0, np.float32), (1, 1), generator_for(0, 0, index)).tolist()
        assert sorted(order) == [0, 1, 2, 3, 4]
        assert order.index(2) < order.index(3)
        seen.add(tuple(order))
    assert len(seen) > 20


def test_one_of_follows_its_weights() -> None:
    choice = OneOf((3.0, 1.0), ((Marker(0),), (Marker(1),)))
    chosen = [
        choice.apply(np.zeros(0, np.float32), (1, 1), generator_for(0, 0, i))[0] for i in range(400)
    ]
    assert np.mean(chosen) == pytest.approx(0.25, abs=0.07)


# Recipes as data


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe.to_dict()))
    assert load_recipe(path) == recipe


def test_a_recipe_is_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nflip = 0.25\n\n'
        '[[steps]]\nkind = "blur"\nkinds = ["plateau_aniso"]\nweights = [1]\nsizes = [7, 21]\n\n'
        '[[steps]]\nkind = "one_of"\nweights = [1, 2]\n'
        'options = [[{kind = "jpeg", quality = [30, 40]}], []]\n'
    )
    recipe = load_recipe(path)
    assert (recipe.name, recipe.flip) == ("mine", 0.25)
    assert isinstance(recipe.steps[1], OneOf)
    assert recipe.steps[1].options == ((steps.Jpeg(quality=(30, 40)),), ())
    assert degrade(picture(), recipe, generator_for(0, 0, 0)).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": [{"kind": "solarise"}]}, "needs a kind"),
        ({"steps": "blur"}, "steps: expected a list"),
        ({"steps": [{"kind": "jpeg", "qualty": [1, 2]}]}, "found qualty; did you mean quality"),
        ({"steps": [{"kind": "jpeg", "quality": [90, 30]}]}, "smaller first"),
        ({"steps": [{"kind": "jpeg", "probability": 2}]}, "0..1"),
        ({"steps": [{"kind": "blur", "sizes": [4, 8]}]}, "odd"),
        ({"steps": [{"kind": "blur", "kinds": ["box"], "weights": [1]}]}, "one of 'iso'"),
        ({"steps": [{"kind": "blur", "kinds": ["iso"], "weights": [1, 1]}]}, "as many weights"),
        ({"steps": [{"kind": "rescale", "weights": [0, 0, 0]}]}, "not all 0"),
        ({"steps": [{"kind": "one_of", "weights": [1]}]}, "incomplete"),
        ({"steps": [{"kind": "shuffle", "steps": [], "in_order": [0]}]}, "places in steps"),
        ({"steps": [{"kind": "motion_blur", "length": [0.5, 9]}]}, "at least 1"),
        ({"steps": [{"kind": "motion_blur", "length": [9, 3]}]}, "the smaller first"),
        ({"steps": [{"kind": "sharpen", "sizes": [50, 50]}]}, "odd"),
        ({"flip": 1.5}, "0..1"),
        ({"name": "x", "blur": True}, "found blur"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(values: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        Recipe.from_dict(values)


def test_an_unknown_recipe_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=r"gfpgan, .*realesrgan, bsrgan"):
        load_recipe("gfgan")
    broken = tmp_path / "broken.toml"
    broken.write_text("steps = [")
    with pytest.raises(InvalidOptionError, match=r"broken\.toml unreadable"):
        load_recipe(broken)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.float32),
        np.zeros((8, 8, 4), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.float32),
    ],
)
def test_a_picture_of_another_kind_is_refused(image: np.ndarray) -> None:
    with pytest.raises(InvalidImageError, match="float32"):
        degrade(image, gfpgan(), generator_for(0, 0, 0))
