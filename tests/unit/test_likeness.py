"""A result whose gateway ignored the photo is told from one that shows the product, on every sample."""

import io
from pathlib import Path

import pytest
from PIL import Image

from backdrop_cli.doctor import PROMPT, photo_used
from backdrop_cli.likeness import ENOUGH, NOTHING, likeness
from tools.files import SAMPLES
from tools.stand_in_gateway.picture import draw


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_the_product_is_found_in_a_result_and_not_in_an_unrelated_picture(sample: Path, tmp_path: Path) -> None:
    photo = sample.read_bytes()
    result, unrelated = (tmp_path / name for name in ("result.png", "unrelated.png"))
    result.write_bytes(draw(photo, PROMPT, 20_000, "png", 1)[0].data)
    unrelated.write_bytes(draw(None, PROMPT, 20_000, "png", 1)[0].data)

    assert photo_used(photo, result).state == "ok"
    assert photo_used(photo, unrelated).state == "fault"
    assert likeness(photo, result.read_bytes()) >= ENOUGH
    assert likeness(photo, unrelated.read_bytes()) < NOTHING


def test_a_smaller_and_moved_product_is_found() -> None:
    sample = next(path for path in SAMPLES if path.stem == "mug").read_bytes()
    with Image.open(io.BytesIO(sample)) as photo:
        small = photo.convert("RGB").resize((photo.width // 4, photo.height // 4))
    canvas = Image.new("RGB", (round(small.width / 0.8), round(small.height / 0.8)), "#c8c0b4")
    canvas.paste(small, ((canvas.width - small.width) // 2 + 5, (canvas.height - small.height) // 2 - 5))
    data = io.BytesIO()
    canvas.save(data, "JPEG", quality=80)
    assert likeness(sample, data.getvalue()) >= ENOUGH


def test_what_is_no_image_can_not_be_compared(tmp_path: Path) -> None:
    result = tmp_path / "result.avif"
    result.write_bytes(b"no image")
    assert photo_used(SAMPLES[0].read_bytes(), result).state == "doubt"
