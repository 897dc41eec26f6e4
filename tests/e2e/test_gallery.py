"""The page of `backdrop gallery`, from uploads on the deployed local stack to a browser's screen."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageStat

from backdrop_cli.page import Pair, before_after, embedded, side_for
from tests.e2e.deployed import Deployed
from tests.unit.test_page import Parsed
from tools.files import SAMPLE_PHOTO, SAMPLES
from tools.local_stack import CREDENTIALS

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def gallery(deployed: Deployed, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the installed console script."""
    return subprocess.run(
        [
            *(str(Path(sys.executable).with_name("backdrop")), "gallery", *arguments),
            *("--endpoint-url", deployed.stack.endpoint_url, "--stack", "backdrop"),
        ],
        cwd=folder,
        env=os.environ | CREDENTIALS,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def picture(source: str | None) -> Image.Image:
    """The picture behind a `data:` URI."""
    return Image.open(io.BytesIO(base64.b64decode((source or "").partition(",")[2]))).convert("RGB")


def test_page_shows_results_prompts_costs_and_failures_by_key(deployed: Deployed, tmp_path: Path) -> None:
    deployed.gateway.faults([{"kind": "status", "status": 422, "match": "nothing decent"}])
    mug = SAMPLE_PHOTO.read_bytes()
    deployed.put(
        "été/three.jpg", mug, **{"prompt-b64": base64.b64encode("شاطئ, <b>à midi</b>".encode()).decode()}, n="3"
    )
    deployed.put("refused.jpg", mug, prompt="nothing decent")
    deployed.put("no photo.jpg", b"%PDF-1.7", prompt="wood")
    deployed.put("lost.jpg", mug, prompt="moss")
    deployed.until_finished(4, 60)
    deployed.s3.delete_object(Bucket=deployed.output_bucket, Key=f"{deployed.folder}lost.jpg.png")

    done = gallery(deployed, tmp_path, deployed.folder)

    assert (done.returncode, done.stdout) == (0, "backdrop-gallery.html: 4 photos, 2 failed, $0.12.\n"), done.stderr
    parsed = Parsed((tmp_path / "backdrop-gallery.html").read_text(encoding="utf-8"))
    keys = [deployed.folder + name for name in ("lost.jpg", "no photo.jpg", "refused.jpg", "été/three.jpg")]
    assert [image["alt"] for image in parsed.images()] == [
        f"Before: {keys[0]}",
        f"Before: {keys[2]}",
        f"Before: {keys[3]}",
        *(f"After {number}: {keys[3]}.{number}.png" for number in (1, 2, 3)),
    ]
    assert all(
        picture(image["src"]).size == (int(image["width"] or 0), int(image["height"] or 0)) for image in parsed.images()
    )
    for text in (
        "4 photos · 4 new images · $0.12 · 2 failed",
        "شاطئ, <b>à midi</b>",
        "It is not there any more.",
        "It is no picture that can be shown here.",
        "unsupported_media_type: ",
        "rejected_by_gateway: ",
        "(not billed)",
        f"s3://{deployed.input_bucket}/{deployed.folder} on ",
    ):
        assert text in parsed.text, text
    assert [attributes["href"] for tag, attributes in parsed.tags if tag == "a"] == ["#pair-2", "#pair-3"]


def test_script_gets_numbers_and_an_empty_folder_no_page(deployed: Deployed, tmp_path: Path) -> None:
    deployed.put("a.jpg", SAMPLE_PHOTO.read_bytes(), prompt="moss")
    deployed.until_finished(1, 60)
    page = tmp_path / "pages" / "of today.html"

    done = gallery(deployed, tmp_path, deployed.folder, "--out", str(page), "--json")
    empty = gallery(deployed, tmp_path, f"{deployed.folder}nosuch/")

    assert json.loads(done.stdout) == {"page": str(page), "pairs": 1, "failed": 0, "cost_usd": 0.03}
    assert page.is_file()
    assert (empty.returncode, empty.stdout) == (1, "")
    assert f"Nothing is under s3://{deployed.input_bucket}/{deployed.folder}nosuch/." in empty.stderr
    assert list(tmp_path.iterdir()) == [page.parent]


COLOURS = {"a.png": (255, 0, 255), "b.png": (0, 255, 0), "c.png": (0, 255, 255)}


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium or google-chrome to look at the page with")
@pytest.mark.parametrize("width", [1280, 400])
def test_browser_shows_every_picture_beside_its_result(deployed: Deployed, tmp_path: Path, width: int) -> None:
    for name, colour in COLOURS.items():
        deployed.put(name, framed(colour), prompt="a sandy beach at sunset")
    deployed.until_finished(len(COLOURS), 60)
    done = gallery(deployed, tmp_path, deployed.folder)
    assert done.returncode == 0, done.stderr
    images = Parsed((tmp_path / "backdrop-gallery.html").read_text(encoding="utf-8")).images()

    screen = screenshot(tmp_path / "backdrop-gallery.html", width, 1600)

    assert screen.size == (width, 1600)
    for colour, result in zip(COLOURS.values(), images[1::2], strict=True):
        left, top, right, bottom = area(screen, colour)
        assert right - left > width / 5
        gap = 12  # of .pictures
        shown = screen.crop((right + gap, top, right + gap + right - left, bottom))
        assert difference(shown, picture(result["src"])) < 8
        assert difference(shown, Image.new("RGB", shown.size, shown.getpixel((5, 5)))) > 8, "one colour only"


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium or google-chrome to look at the page with")
def test_page_of_a_thousand_pairs_opens_within_seconds(tmp_path: Path) -> None:
    side = side_for(2000)
    pictures = [embedded(file.read_bytes(), file.name, side) for file in SAMPLES]
    befores, afters = cycle(pictures), cycle(reversed(pictures))
    page = tmp_path / "page.html"
    with page.open("w", encoding="utf-8") as file:
        before_after(file, "", "", (Pair(next(befores), (next(afters),), f"number {n}") for n in range(1000)))

    began = time.monotonic()
    screen = screenshot(page, 1280, 1600)

    assert page.stat().st_size < 40e6
    assert time.monotonic() - began < 20  # it takes two
    assert len(screen.getcolors(2**24) or ()) > 10_000, "no picture is on the screen"


def framed(colour: tuple[int, int, int]) -> bytes:
    """A photo of something dark in front of one colour."""
    photo = Image.new("RGB", (600, 450), colour)
    ImageDraw.Draw(photo).rectangle((220, 150, 380, 300), fill=(40, 30, 20))
    file = io.BytesIO()
    photo.save(file, "PNG")
    return file.getvalue()


def screenshot(page: Path, width: int, height: int) -> Image.Image:
    """What a window of this size shows of a page."""
    file = page.with_suffix(".png")
    subprocess.run(
        [
            *(str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            "--disable-checker-imaging",  # otherwise it doesn't wait until the pictures are decoded
            *(f"--user-data-dir={page.parent / 'profile'}", f"--window-size={width},{height}"),
            *(f"--screenshot={file}", page.as_uri()),
        ],
        capture_output=True,
        timeout=60,
        check=True,
    )
    return Image.open(file).convert("RGB")


def area(screen: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Where a photo of this colour is on the screen; the stand-in's result to its right shows it once more, smaller."""
    off = ImageChops.difference(screen, Image.new("RGB", screen.size, colour)).split()
    near = ImageChops.lighter(ImageChops.lighter(off[0], off[1]), off[2]).point(lambda value: 255 * (value < 40))
    near = near.filter(ImageFilter.MinFilter(5))  # without what shimmers at edges elsewhere
    box = near.getbbox()
    assert box, f"nothing on the screen is {colour}"
    left, top, right, bottom = box
    right = next(x for x in range(left, right) if near.crop((x, top, x + 1, bottom)).getbbox() is None)
    return left - 2, top - 2, right + 2, bottom + 2


def difference(one: Image.Image, other: Image.Image) -> float:
    """Of two pictures of the same shape, from 0 to 255."""
    return max(ImageStat.Stat(ImageChops.difference(one, other.resize(one.size))).mean)
