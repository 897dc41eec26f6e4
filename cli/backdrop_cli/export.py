"""`backdrop export`: results as a shop takes them, on this machine."""

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from botocore.exceptions import ClientError
from PIL import ImageColor

from backdrop.aws_errors import status_of
from backdrop.result_storage import RESULT_SUFFIX
from backdrop.results import MAX_RESULT_BYTES
from backdrop_cli import decisions
from backdrop_cli.deployment import Deployment
from backdrop_cli.export_form import QUALITY, SAVED_AS, Form, NotExported, exported
from backdrop_cli.export_names import Result, paths_of
from backdrop_cli.options import CliContext, common, examples
from backdrop_cli.page import counted
from backdrop_cli.pixels import without_remarks
from backdrop_cli.progress import bar, side_by_side
from backdrop_cli.shops import SHOPS, Shop
from backdrop_cli.uploads import prefix_of, seen

MOST_SIDE = 16_383  # WebP's


def _results(context: CliContext, prefix: str) -> list[Result]:
    found = []
    with bar(context.stderr, "Looking", None) as step:
        for upload in seen(context.deployment, prefix):
            step(1)
            key = upload.listed.job.key
            for output in upload.record.stored if upload.record else ():
                suffix = re.fullmatch(RESULT_SUFFIX, str(output["key"]).removeprefix(key))
                if suffix:
                    found.append(Result(output["key"], key, (suffix[1] or "").removeprefix(".")))
    return found


def _is_approved(deployment: Deployment, key: str) -> bool:
    tagged = decisions.read(deployment, key)
    return tagged is not None and decisions.verdict_of([tagged.decision]) == decisions.APPROVED


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


@examples(
    "backdrop export shoes/ --out shop --for shopify",
    "backdrop export --out shop --size 2000x2000 --fit crop --max-bytes 500000",
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
    type=click.Choice(list(SAVED_AS)),
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
    context: CliContext,
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
    """Write the results of the uploads under PREFIX as a shop takes them: size, format, sRGB, named as the photos."""
    deployment = context.deployment
    prefix = prefix_of(deployment, prefix)
    shop = SHOPS[shop_name] if shop_name else None
    form = _form(shop, extension, size, fit, background, quality, most_bytes, whitens)
    if shop and shop.note:
        context.remark(shop.note)
    results = _results(context, prefix)
    if approved:
        with bar(context.stderr, "Looking at tags", len(results)) as step:
            are = side_by_side(lambda result: _is_approved(deployment, result.key), results, step)
        results = [result for result, is_approved in zip(results, are, strict=True) if is_approved]
    paths = paths_of(results, out, extension)

    def written(result: Result) -> str:
        path = paths[result]
        if isinstance(path, str):
            return path
        try:
            _write(deployment, result, path, form)
        except (NotExported, OSError, ValueError) as error:  # the others can still be had
            return str(error)
        return ""

    with bar(context.stderr, "Exporting", len(results)) as step, without_remarks():
        whys = side_by_side(written, results, step)
    wrong = {result.key: why for result, why in zip(results, whys, strict=True) if why}
    files = [str(paths[result]) for result, why in zip(results, whys, strict=True) if not why]
    context.answer(
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
