"""`backdrop manifest init`: a table of a folder's photos, to be filled in."""

import csv
from pathlib import Path

import click

from backdrop_cli.csv_cells import protected
from backdrop_cli.finding import find
from backdrop_cli.manifest import FILE, OPTIONS, PROMPT, VARIANT
from backdrop_cli.options import CliContext, common, examples
from backdrop_cli.page import counted

COLUMNS = (FILE, PROMPT, VARIANT, *OPTIONS)


@click.group()
def manifest() -> None:
    """Make a table of photos, for `submit --manifest`."""


@examples("backdrop manifest init shoes", "backdrop manifest init shoes spring.csv")
@manifest.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("table", required=False, type=click.Path(dir_okay=False, path_type=Path), metavar="[FILE.csv]")
@common
@click.pass_obj
def init(context: CliContext, folder: Path, table: Path | None) -> None:
    """Write a table of FOLDER's photos to fill in: one row each, without prompts.

    It is FOLDER/manifest.csv, or FILE.csv, which can be in a folder above the photos. A table that is there stays.
    """
    table = table or folder / "manifest.csv"
    base = table.parent.resolve()
    photos = sorted(photo.path.resolve() for photo in find([folder], "", None, {}, prepares=True).photos)
    if not photos:
        raise click.UsageError(f"There is no photo in {folder}.")
    if not photos[0].is_relative_to(base):
        raise click.UsageError(f"{table} has to be in {folder} or in a folder above it: its paths begin there.")
    try:
        # The mark tells Excel that it is UTF-8.
        with table.open("x", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(
                [protected(photo.relative_to(base).as_posix()), *[""] * (len(COLUMNS) - 1)] for photo in photos
            )
    except FileExistsError:
        raise click.UsageError(f"{table} is there already. Name another file behind the folder.") from None
    context.answer(
        {"table": str(table), "photos": len(photos)},
        f"{table}: {counted(len(photos), 'photo')}. Fill in prompts, or say one: backdrop submit --manifest {table}",
    )
