"""`backdrop export`: results as a shop takes them, on this machine."""

import io
import re
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import click
import PIL.Image
from botocore.exceptions import ClientError
from PIL import Image as Images
from PIL import ImageChops, ImageColor, ImageFilter, ImageOps
from PIL.PngImagePlugin import PngInfo

from backdrop.aws_errors import status_of
from backdrop.result_storage import RESULT_SUFFIX
from backdrop.results import MAX_RESULT_BYTES
from backdrop_cli.deployment import Deployment
from backdrop_cli.follow import below
from backdrop_cli.options import CliContext, common
from backdrop_cli.page import counted
from backdrop_cli.pixels import DECODING, MOST_PIXELS, in_srgb, srgb_profile, upright
from backdrop_cli.progress import bar, side_by_side
from backdrop_cli.shops import SHOPS, Shop
from backdrop_cli.uploads import prefix_of, seen

REVIEW_TAG, APPROVED = "backdrop-review", "approved"
DPI = 72
QUALITY = 90
MOST_SIDE = 16_383  # WebP's
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")
_SAVED_AS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
_BLIND_TO_CASE = ("win32", "darwin")
_LOWEST_QUALITY, _QUALITY_STEP = 30, 5
_WHITE_FROM = 240  # of 255, in each colour: what is called near-white
_CELLS = 256  # along the longer side: how finely --white looks for the border
_MOST_XMP_BYTES = 60_000  # what one segment of a JPEG holds, and a little less
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _INCHES = 0x011A, 0x011B, 0x0128, 2


class NotExported(Exception):
    """A result that can't be had in the form that was asked for; the message says why."""


@dataclass(frozen=True)
class Form:
    """What an exported picture is like. `size` is in pixels, None for the result's own; `most_bytes` 0 for any."""

    extension: str = "jpg"
    size: tuple[int, int] | None = None
    crops: bool = False
    background: tuple[int, int, int] = (255, 255, 255)
    quality: int = QUALITY
    most_bytes: int = 0
    whitens: bool = False


@dataclass(frozen=True)
class Result:
    """A result in the output bucket, the photo that it was made from, and its number if the photo has several."""

    key: str
    photo: str
    number: str


def exported(data: bytes, form: Form) -> bytes:
    """A result's bytes in another form. Raises NotExported."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            pixels = image.width * image.height
            with DECODING.for_pixels(max(pixels, form.size[0] * form.size[1] if form.size else 0)):
                image.load()
                xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
                picture = _fitted(_flat(in_srgb(upright(image)), form.background), form)
                if form.whitens:
                    picture = whitened(picture)
                return _saved(picture, form, xmp.encode() if isinstance(xmp, str) else xmp)
    except NotExported:
        raise
    except PIL.Image.DecompressionBombError:
        raise NotExported(f"it has more than {MOST_PIXELS // 1_000_000} million pixels") from None
    except Exception:  # Pillow doesn't say which
        raise NotExported("it is no picture that can be read") from None


def _flat(image: Images.Image, background: tuple[int, int, int]) -> Images.Image:
    if image.mode != "RGBA":
        return image
    flat = Images.new("RGB", image.size, background)
    flat.paste(image, mask=image)
    return flat


def _fitted(image: Images.Image, form: Form) -> Images.Image:
    if form.size is None:
        return image
    if form.crops:
        return ImageOps.fit(image, form.size, Images.Resampling.LANCZOS)
    return ImageOps.pad(image, form.size, Images.Resampling.LANCZOS, color=form.background)


def whitened(image: Images.Image) -> Images.Image:
    """What is nearly white and reaches from the border inwards, made entirely white; nothing else is touched."""
    red, green, blue = image.split()
    darkest = ImageChops.darker(ImageChops.darker(red, green), blue)
    near = darkest.point([0] * _WHITE_FROM + [255] * (256 - _WHITE_FROM))
    scale = max(image.size) / _CELLS
    cells = (max(1, round(image.width / scale)), max(1, round(image.height / scale)))
    # A cell belongs to the border's white when all of it is nearly white and a way of such cells leads there.
    all_white = near.resize(cells, Images.Resampling.BOX).point([0] * 255 + [255])
    reached = _from_border(all_white).filter(ImageFilter.MaxFilter(3))
    mask = ImageChops.darker(near, reached.resize(image.size, Images.Resampling.NEAREST))
    clean = image.copy()
    clean.paste((255, 255, 255), mask=mask)
    return clean


def _from_border(cells: Images.Image) -> Images.Image:
    width, height = cells.size
    is_white, reached = cells.tobytes(), bytearray(width * height)
    ways = [at for at in range(width * height) if at % width in (0, width - 1) or at // width in (0, height - 1)]
    while ways:
        at = ways.pop()
        if reached[at] or not is_white[at]:
            continue
        reached[at] = 255
        ways += [at - 1] * (at % width > 0) + [at + 1] * (at % width < width - 1)
        ways += [at - width] * (at >= width) + [at + width] * (at + width < width * height)
    return Images.frombytes("L", cells.size, bytes(reached))


def _saved(image: Images.Image, form: Form, xmp: bytes) -> bytes:
    """With as much of the quality as the bytes allow; the pixels stay. What the result's XMP says of it is kept."""
    xmp = xmp if len(xmp) <= _MOST_XMP_BYTES else b""
    clean = Images.frombytes("RGB", image.size, image.tobytes())  # without what else the result said of itself
    qualities = [form.quality]
    if form.most_bytes and form.extension != "png":
        qualities += range(form.quality - _QUALITY_STEP, _LOWEST_QUALITY - 1, -_QUALITY_STEP)
    smallest = 0
    for quality in qualities:
        file = io.BytesIO()
        clean.save(file, _SAVED_AS[form.extension], **_options(form.extension, quality, xmp))
        smallest = file.tell()
        if not form.most_bytes or smallest <= form.most_bytes:
            return file.getvalue()
    advice = "take --format jpg" if form.extension == "png" else "allow more, or take a smaller --size"
    raise NotExported(f"it has at least {smallest} bytes in this form; --max-bytes is {form.most_bytes}: {advice}")


def _options(extension: str, quality: int, xmp: bytes) -> dict[str, Any]:
    options: dict[str, Any] = {"icc_profile": srgb_profile()}
    if extension == "png":
        texts = PngInfo()
        if xmp:
            texts.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
        return options | {"dpi": (DPI, DPI), "pnginfo": texts, "optimize": True}
    if xmp:
        options["xmp"] = xmp
    if extension == "webp":  # has no place of its own for the resolution
        exif = Images.Exif()
        exif[_X_RESOLUTION] = exif[_Y_RESOLUTION] = float(DPI)
        exif[_RESOLUTION_UNIT] = _INCHES
        return options | {"quality": quality, "method": 4, "exif": exif}
    return options | {"quality": quality, "dpi": (DPI, DPI), "optimize": True}


def names(results: list[Result], extension: str) -> list[str]:
    """What the files are called below the folder: as the photos, with the extension of the form.

    Photos that differ in nothing but their extension keep it, but for the one that has the form's.
    """
    stems = Counter((_without_extension(photo)) for photo in {result.photo for result in results})
    found = []
    for result in results:
        stem = _without_extension(result.photo)
        if stems[stem] > 1 and result.photo != f"{stem}.{extension}":
            stem = result.photo
        found.append(".".join(filter(None, (stem, result.number, extension))))
    return found


def _without_extension(key: str) -> str:
    suffix = PurePosixPath(key.rpartition("/")[2]).suffix
    return key.removesuffix(suffix) if re.fullmatch(r"\.(jpe?g|jfif|png|webp)", suffix, re.IGNORECASE) else key


def _results(setting: CliContext, prefix: str) -> list[Result]:
    found = []
    with bar(setting.aside, "Looking", None) as step:
        for upload in seen(setting.deployment, prefix):
            step(1)
            key = upload.listed.job.key
            for output in upload.record.stored if upload.record else ():
                suffix = re.fullmatch(RESULT_SUFFIX, str(output["key"]).removeprefix(key))
                if suffix:
                    found.append(Result(output["key"], key, (suffix[1] or "").removeprefix(".")))
    return found


def _is_approved(deployment: Deployment, key: str) -> bool:
    try:
        tags = deployment.s3.get_object_tagging(Bucket=deployment.settings.output_bucket, Key=key)["TagSet"]
    except ClientError as error:
        if status_of(error) == 404:
            return False
        raise
    return {"Key": REVIEW_TAG, "Value": APPROVED} in tags


def _write(deployment: Deployment, result: Result, path: Path, form: Form) -> None:
    """Raises NotExported, OSError when the file can't be written."""
    try:
        answer = deployment.s3.get_object(Bucket=deployment.settings.output_bucket, Key=result.key)
    except ClientError as error:
        if status_of(error) == 404:
            raise NotExported("it is not there any more") from None
        raise
    with answer["Body"] as body:
        if answer["ContentLength"] > MAX_RESULT_BYTES:
            raise NotExported(f"it has {answer['ContentLength']} bytes")
        data = exported(body.read(), form)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid4().hex[:8]}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _paths(results: list[Result], out: Path, extension: str) -> dict[Result, Path | str]:
    """Each result's file, or why it can't have one."""
    found: dict[Result, Path | str] = {}
    taken: dict[str, str] = {}
    for result, name in zip(results, names(results, extension), strict=True):
        try:
            path = below(out, name)
        except OSError as error:
            found[result] = str(error)
            continue
        name_there = str(path).casefold() if sys.platform in _BLIND_TO_CASE else str(path)
        other = taken.setdefault(name_there, result.key)
        found[result] = path if other == result.key else f"{path} is what {other} becomes"
    return found


class _Size(click.ParamType[tuple[int, int]]):
    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([1-9]\d{0,4})[xX×]([1-9]\d{0,4})", str(value))
        if found is None:
            self.fail(f"{value!r} is not as in 2000x2000, in pixels.", param, ctx)
        size = int(found[1]), int(found[2])
        if max(size) > MOST_SIDE:
            self.fail(f"A side has at most {MOST_SIDE} pixels.", param, ctx)
        return size


class _Colour(click.ParamType[tuple[int, int, int]]):
    name = "COLOUR"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int]:
        if isinstance(value, tuple):
            return value
        try:
            return ImageColor.getrgb(str(value))[:3]
        except ValueError:
            return self.fail(f"{value!r} is no colour, as in white or #f5f5f5.", param, ctx)


def _form(
    shop: Shop | None,
    extension: str,
    size: tuple[int, int] | None,
    fit: str,
    background: tuple[int, int, int],
    quality: int | None,
    most_bytes: int | None,
    whitens: bool,
) -> Form:
    """The options, and where they say nothing the shop's numbers."""
    return Form(
        extension,
        size or (shop.size if shop else None),
        fit == "crop",
        background,
        quality or (shop.quality if shop else None) or QUALITY,
        most_bytes or (shop.most_bytes if shop else None) or 0,
        whitens,
    )


@click.command()
@click.argument("prefix", default="")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="FOLDER",
    help="Where to write the files.",
)
@click.option("--for", "shop_name", type=click.Choice(list(SHOPS)), help="The numbers that a shop publishes.")
@click.option("--size", type=_Size(), help="In pixels, exactly, as in 2000x2000.  [default: the result's own]")
@click.option(
    "--fit",
    type=click.Choice(["pad", "crop"]),
    default="pad",
    show_default=True,
    help="What to do where the sides' ratio is another: add background, or cut off.",
)
@click.option(
    "--background", type=_Colour(), default="white", show_default=True, help="Beside, and behind, the picture."
)
@click.option(
    "--format",
    "extension",
    type=click.Choice(list(_SAVED_AS)),
    default="jpg",
    show_default=True,
    help="Of the files.",
)
@click.option("--quality", type=click.IntRange(1, 100), help=f"Of jpg and webp.  [default: {QUALITY}, or the shop's]")
@click.option(
    "--max-bytes",
    "most_bytes",
    type=click.IntRange(1),
    metavar="N",
    help="Lower the quality until a file has at most N.",
)
@click.option("--white", "whitens", is_flag=True, help="Make what is nearly white at the border entirely white.")
@click.option("--approved", is_flag=True, help="Only what `backdrop review` approved.")
@common
@click.pass_obj
def export(
    setting: CliContext,
    prefix: str,
    out: Path,
    shop_name: str | None,
    size: tuple[int, int] | None,
    fit: str,
    background: tuple[int, int, int],
    extension: str,
    quality: int | None,
    most_bytes: int | None,
    whitens: bool,
    approved: bool,
) -> int:
    """Write the results of the uploads under PREFIX as a shop takes them: size, format, sRGB, named as the photos.

    \b
    backdrop export shoes/ --out shop --for shopify
    backdrop export --out shop --size 2000x2000 --fit crop --max-bytes 500000
    """
    deployment = setting.deployment
    prefix = prefix_of(deployment, prefix)
    shop = SHOPS[shop_name] if shop_name else None
    form = _form(shop, extension, size, fit, background, quality, most_bytes, whitens)
    if shop and shop.note:
        setting.remark(shop.note)
    results = _results(setting, prefix)
    if approved:
        with bar(setting.aside, "Looking at tags", len(results)) as step:
            are = side_by_side(lambda result: _is_approved(deployment, result.key), results, step)
        results = [result for result, is_approved in zip(results, are, strict=True) if is_approved]
    paths = _paths(results, out, extension)

    def written(result: Result) -> str:
        path = paths[result]
        if isinstance(path, str):
            return path
        try:
            _write(deployment, result, path, form)
        except (NotExported, OSError, ValueError) as error:  # the others can still be had
            return str(error)
        return ""

    with bar(setting.aside, "Exporting", len(results)) as step, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd pictures would get into the bar
        whys = side_by_side(written, results, step)
    wrong = {result.key: why for result, why in zip(results, whys, strict=True) if why}
    files = [str(paths[result]) for result, why in zip(results, whys, strict=True) if not why]
    setting.answer(
        {
            "files": [
                {"key": result.key, "photo": result.photo, "path": str(paths[result])}
                for result, why in zip(results, whys, strict=True)
                if not why
            ],
            "failed": wrong,
        },
        f"{counted(len(files), 'file')} in {out}."
        if results
        else f"Nothing {'approved' if approved else 'done'} is under {prefix or 'the bucket'}.",
        *(f"Not exported: {key}: {why}." for key, why in wrong.items()),
    )
    return 1 if wrong or not results else 0
