"""`backdrop submit`: photos up, with a quote before; with --wait, results down."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import click

from backdrop.request import MAX_IMAGES
from backdrop.upload import Record
from backdrop_cli.batch import ROOM, begin_batch, end_batch
from backdrop_cli.deployment import THREADS, Deployment
from backdrop_cli.finding import find, with_plans
from backdrop_cli.follow import below, fetch, follow
from backdrop_cli.forecast import PaceNow, in_words, offer
from backdrop_cli.headers import MAX_SIDE
from backdrop_cli.manifest import read_manifest
from backdrop_cli.mistakes import MOST_NAMED, mistakes_in, refuse
from backdrop_cli.options import CliContext, common, examples, spending
from backdrop_cli.page import counted
from backdrop_cli.pixels import without_remarks
from backdrop_cli.progress import bar, side_by_side
from backdrop_cli.sending import send
from backdrop_cli.submission import Submitted, free_keys, looked, with_records
from backdrop_cli.submit_report import (
    report,
    say_what_is_there,
    say_what_it_replaces,
    ways_to_the_rest,
)
from backdrop_cli.uploads import still_to_buy


@examples(
    "backdrop submit shoes --prompt 'a marble counter in morning light' --wait",
    "backdrop submit --manifest shop.csv --to spring/",
)
@click.command()
@click.argument("photos", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--manifest",
    "table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Instead of PHOTOS: a table, a row for each result. Its columns are file and, as needed, prompt, variant, n,"
    " size, tag; {…} in a prompt names any other.",
)
@click.option(
    "--prompt",
    "-p",
    metavar="TEXT",
    help="The background; {stem} and {folder} are the photo's. Without it: the prompt.txt nearest to a photo.",
)
@click.option("--n", type=click.IntRange(1, MAX_IMAGES), help=f"Images of each photo, 1 to {MAX_IMAGES}.")
@click.option("--size", metavar="WxH", help="Of the results, in pixels, as in 1024x1024.")
@click.option("--tag", metavar="TEXT", help="Whom they are for: told to the gateway, in events and in the receipt.")
@click.option("--to", default="", metavar="PREFIX", help="Put into the keys before the photos' names, as in spring/.")
@click.option(
    "--max-side",
    type=click.IntRange(64, 65_000),
    default=MAX_SIDE,
    show_default=True,
    metavar="PIXELS",
    help="Make photos smaller whose longer side is above this.",
)
@click.option(
    "--prepare/--no-prepare",
    "prepares",
    default=True,
    help="Whether to turn photos upright, and to convert HEIC, TIFF, BMP, GIF, AVIF, CMYK and 16 bit, and what is too"
    " large, to sRGB JPEG (PNG with transparency).  [default: prepare]",
)
@click.option("--again", is_flag=True, help="Upload, and buy, also what was submitted before just like this.")
@click.option("--wait", is_flag=True, help="Wait for the end and download the results, next to the photos.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Download to this folder instead."
)
@click.option(
    "--notify",
    is_flag=True,
    help="Have one event published, Background Batch Finished, when all that this command uploads has ended.",
)
@spending
@common
@click.pass_obj
@without_remarks()
def submit(
    context: CliContext,
    photos: tuple[Path, ...],
    table: Path | None,
    prompt: str | None,
    n: int | None,
    size: str | None,
    tag: str | None,
    to: str,
    max_side: int,
    prepares: bool,
    again: bool,
    wait: bool,
    out: Path | None,
    notify: bool,
) -> int:
    """Upload PHOTOS, files or whole folders, for a new background.

    A folder keeps its tree. What was submitted before with the same prompt is not uploaded, and not bought, again;
    so after an interruption the same command goes on.
    """
    deployment = context.deployment
    options = ({"n": str(n)} if n and n > 1 else {}) | ({"size": size} if size else {})
    options |= ({"tag": tag} if tag else {}) | (ROOM if notify else {})
    if again:
        options["again"] = uuid4().hex[:16]  # without it, the result that is there would do
    if bool(photos) == (table is not None):
        raise click.UsageError("Name photos or folders, or a table with --manifest; one of the two.")
    if table:
        with bar(context.stderr, f"Reading {table.name}", None) as step:
            found = read_manifest(table, to, prompt, options, prepares, step)
    else:
        found = find(photos, to, prompt, options, out, prepares)
    if prepares:
        with bar(context.stderr, "Reading", len(found.photos)) as step:
            found = with_plans(found, max_side, step)
    for why, paths in found.left_alone.items():
        names = ", ".join(map(str, paths[:MOST_NAMED])) + " …" * (len(paths) > MOST_NAMED)
        context.remark(f"Left alone: {counted(len(paths), 'file')}, {why}: {names}")
    refuse(found.mistakes + mistakes_in(deployment, found.photos), table)
    if not found.photos and not found.unreadable:
        raise click.UsageError("There is no photo among these.")

    with bar(context.stderr, "Looking", len(found.photos)) as step:
        free = free_keys(deployment, [photo.key for photo in found.photos])
        submitted = side_by_side(
            lambda photo: Submitted(photo) if photo.key in free else looked(deployment, photo), found.photos, step
        )
    say_what_it_replaces(context, submitted)
    if again:
        submitted = [Submitted(each.photo, there=each.there) for each in submitted]
    submitted = with_records(deployment, submitted)
    missing = [each for each in submitted if each.is_missing]
    say_what_is_there(context, submitted)

    if missing:
        unpaid = [each for each in missing if still_to_buy(each.record)]
        cost = offer(deployment, len(unpaid), sum(each.photo.images for each in unpaid))
        context.remark(f"To buy: {in_words(cost)}.")
        if not context.agreed(cost):
            context.remark("Nothing was uploaded.")
            return 2
    begun: dict[str, Submitted] = {}
    batch = begin_batch(context, missing, table) if notify else None
    try:
        send(context, deployment, batch.uploads if batch else missing, begun)
    except BaseException:
        if again:
            context.remark(f"{len(begun)} of {len(missing)} were submitted again.")
            for way in ways_to_the_rest([each.photo for each in missing if each.photo.key not in begun], table):
                context.remark(f"For the rest, with your other options: {way}")
        raise
    finally:
        if batch:
            end_batch(context, batch, begun)
    submitted = [begun.get(each.photo.key, each) for each in submitted]
    if wait:
        submitted = _waited(context, deployment, submitted, out)
    return report(context, submitted, found, out if wait else None, wait, batch.id if batch else None)


def _waited(
    context: CliContext, deployment: Deployment, submitted: list[Submitted], out: Path | None
) -> list[Submitted]:
    """Everything to its end, with the results downloaded as they come."""
    by_id = {each.job.id: each for each in submitted if each.job}
    with bar(context.stderr, "Waiting", len(by_id)) as step, ThreadPoolExecutor(THREADS) as pool:

        def fetched(record: Record) -> None:
            each = replace(by_id[record.id], record=record)
            try:
                beside = below(out, each.photo.key) if out else each.photo.beside
                by_id[record.id] = replace(each, results=tuple(fetch(deployment, record, beside)))
            except OSError as error:  # the others' results can still be had
                by_id[record.id] = replace(each, trouble=str(error))
            step(1)

        def tell(ended: list[Record], pace: PaceNow) -> None:
            list(pool.map(fetched, ended))
            if pace.is_blocked:
                since = pace.since_in_words(deployment.clock.now())  # not for how long: that would be new each second
                step(0, f"Waiting: calls fail since {since}: {pace.refusal_in_words}")
            elif 0 < deployment.settings.daily_image_limit <= pace.bought_today:
                step(0, "Until tomorrow (DailyImageLimit)")
            else:
                step(0, "Waiting")

        for job_id in follow(deployment, [each.job for each in submitted if each.job], tell):
            by_id[job_id] = replace(by_id[job_id], is_gone=True)
    return [by_id.get(each.job.id, each) if each.job else each for each in submitted]
