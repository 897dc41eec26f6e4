"""`python -m tools.bench.review_page`: the page of `backdrop review` with a thousand pairs, measured by the browser.

Wants Chromium or Chrome. moto stands in for AWS, in this process.
"""

import argparse
import io
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from moto import mock_aws
from PIL import Image
from playwright.sync_api import CDPSession, Page, sync_playwright

from backdrop.job import Job
from backdrop.ledger_items import item_of
from backdrop.states import State
from backdrop.upload import Record
from backdrop_cli.deployment import Deployment
from backdrop_cli.review.pairs import Picture
from backdrop_cli.review.pictures import SIDES, Cache
from backdrop_cli.review.serving import server
from backdrop_cli.thumbnails import thumbnail
from tools.bench.report import table
from tools.default_settings import DEFAULT_SETTINGS
from tools.files import SAMPLES
from tools.local_stack import CREDENTIALS

INPUT, OUTPUT, TABLE = "bench-input", "bench-output", "bench-ledger"
SCROLL_SECONDS = 10.0
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EXPLAINED = (
    "Its small pictures on disk; each load in a new browser without a graphics card, as the browser tells it. Scrolled"
    f" from the first pair to the last in {SCROLL_SECONDS:g} seconds. moto stands in for AWS, on the same cores."
)
_FRAMES = """async (seconds) => {
  const frames = [], height = document.documentElement.scrollHeight - innerHeight;
  await new Promise((done) => {
    const began = performance.now();
    let last = began;
    const step = (now) => {
      frames.push(now - last);
      last = now;
      scrollTo(0, height * Math.min((now - began) / 1000 / seconds, 1));
      if (now - began < seconds * 1000) requestAnimationFrame(step); else done();
    };
    requestAnimationFrame(step);
  });
  return frames.slice(1);
}"""
_PAINTS = """async () => ({
  paint: await new Promise((done) => {
    new PerformanceObserver((list) => {
      for (const each of list.getEntries()) if (each.name === "first-contentful-paint") done(each.startTime);
    }).observe({ type: "paint", buffered: true });
  }),
  ready: performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd,
})"""
_SHOWN = """() => [...document.images].filter((each) => {
  const box = each.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
}).every((each) => each.complete && each.naturalWidth)"""


SETTINGS = replace(DEFAULT_SETTINGS, input_bucket=INPUT, output_bucket=OUTPUT, ledger_table=TABLE)


def fill(deployment: Deployment, pairs: int) -> None:
    """So many photos with their results, a few megapixels each, and their records."""
    s3 = deployment.s3
    for bucket in (INPUT, OUTPUT):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    deployment.dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    photos = [path.read_bytes() for path in SAMPLES]
    file = io.BytesIO()
    Image.open(SAMPLES[0]).convert("RGB").rotate(180).save(file, "JPEG")
    for number in range(pairs):
        key, photo = f"shop-{number % 10}/{number:05}.jpg", photos[number % len(photos)]
        put = s3.put_object(Bucket=INPUT, Key=key, Body=photo, Metadata={"prompt": f"a wall, number {number}"})
        job = Job(INPUT, key, put["VersionId"], put["ETag"].strip('"'))
        s3.put_object(Bucket=OUTPUT, Key=f"{key}.jpg", Body=file.getvalue(), Metadata={"job-id": job.id})
        output = {"bucket": OUTPUT, "key": f"{key}.jpg", "content_type": "image/jpeg", "bytes": file.tell()}
        now = time.time()
        record = Record(
            job.id, INPUT, key, job.version_id, job.etag, State.DONE, "", 0.0, now, now, 0, outputs=(output,),
            cost_usd="0.03",
        )  # fmt: skip
        deployment.dynamodb.put_item(TableName=TABLE, Item=item_of(record))


@contextmanager
def serving(deployment: Deployment, folder: Path) -> Iterator[str]:
    """The review's server in a thread of its own; its address."""
    started, addresses = threading.Event(), []

    def tell(address: str) -> None:
        addresses.append(address)
        started.set()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        running = server(deployment, "", folder, listener, tell)
        thread = threading.Thread(target=running.run, args=([listener],))
        thread.start()
        try:
            started.wait(30)
            yield addresses[0]
        finally:
            running.should_exit = True
            thread.join()


def _resident_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


def _renderers(profile: str) -> list[int]:
    """Process ids of the browser's renderers; the page's is the busiest."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in found.splitlines() if "--type=renderer" in line and profile in line]


def _renderer_mb(profile: str) -> float:
    return max(map(_resident_mb, _renderers(profile)), default=0.0)


def _renderer_cpu_seconds(profile: str) -> float:
    ticks = 0
    for pid in _renderers(profile):
        ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def at_rest(deployment: Deployment, page: Page, seconds: float = 120.0) -> dict[str, Any]:
    """Requests a minute of an open page while nothing happens, from one minute on."""
    counts = {"dynamodb": 0, "s3": 0}

    def count(service: str) -> Callable[..., None]:
        def one(**_: object) -> None:
            counts[service] += 1

        return one

    page.wait_for_timeout(60_000)
    for service, client in (("dynamodb", deployment.dynamodb), ("s3", deployment.s3)):
        client.meta.events.register("before-call", count(service))
    page.wait_for_timeout(seconds * 1000)
    minutes = seconds / 60
    return {"ledger requests a minute": counts["dynamodb"] / minutes, "listings a minute": counts["s3"] / minutes}


def _metric(session: CDPSession, name: str) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == name))


def _until_shown(page: Page) -> float:
    began = time.monotonic()
    while not page.evaluate(_SHOWN):
        time.sleep(0.02)
    return time.monotonic() - began


def measured(page: Page, address: str, profile: str, pairs: int) -> dict[str, Any]:
    """Load the page, and scroll through all of it."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.goto(address)
    pictures = _until_shown(page) * 1000
    paints = page.evaluate(_PAINTS)
    cpu = _renderer_cpu_seconds(profile)
    frames = sorted(page.evaluate(_FRAMES, SCROLL_SECONDS))
    cpu = _renderer_cpu_seconds(profile) - cpu
    row = {
        "pairs": pairs,
        "first paint ms": round(paints["paint"]),
        "page ready ms": round(paints["ready"]),
        "pictures on the screen ms": round(paints["ready"] + pictures),
        "frames a second": round(len(frames) / SCROLL_SECONDS, 1),
        "frame ms, median": round(statistics.median(frames), 1),
        "95 %": round(frames[int(len(frames) * 0.95)], 1),
        "longest": round(frames[-1], 1),
        "renderer cpu ms a frame": round(1000 * cpu / len(frames), 1),
        "script memory MB": round(_metric(session, "JSHeapUsedSize") / 2**20, 1),
        "renderer MB": round(_renderer_mb(profile)),
    }
    session.detach()
    return row


def keep_pictures(deployment: Deployment, cache: Cache) -> None:
    """What the server would have made and kept, had somebody looked at everything before."""
    made: dict[str, bytes] = {}
    for bucket in (INPUT, OUTPUT):
        for page in deployment.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for each in page["Versions"]:
                etag = each["ETag"].strip('"')
                picture = Picture(bucket, each["Key"], each["VersionId"])
                found = deployment.s3.get_object(Bucket=bucket, Key=each["Key"])
                data = found["Body"].read()
                if etag not in made:
                    made[etag] = thumbnail(data, SIDES["small"]).data
                job_id = found["Metadata"].get("job-id", "")
                token = replace(picture, job_id=job_id).token if job_id else replace(picture, etag=etag).token
                cache.keep(f"{token}-small.webp", made[etag])


def rows(pairs: int, loads: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The page with its pictures on disk, in `loads` new browsers; and what is asked at rest."""
    os.environ.update(CREDENTIALS)
    with mock_aws(), tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        deployment = Deployment("backdrop")
        vars(deployment)["settings"] = SETTINGS
        fill(deployment, pairs)
        keep_pictures(deployment, Cache(Path(folder) / "cache"))
        found = []
        with serving(deployment, Path(folder) / "cache") as address:
            for load in range(loads):
                profile = f"{folder}/profile-{load}"
                context = playwright.chromium.launch_persistent_context(
                    profile, executable_path=BROWSER, args=["--no-sandbox"], viewport={"width": 1280, "height": 900}
                )
                page = context.pages[0]
                page.goto(address)
                while "Looking" in page.locator("#top").inner_text():
                    time.sleep(0.5)
                found.append(measured(page, address, profile, pairs))
                if load == loads - 1:
                    rest = at_rest(deployment, page)
                context.close()
        return found, rest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--loads", type=int, default=3)
    arguments = parser.parse_args()
    found, rest = rows(arguments.pairs, arguments.loads)
    print(table(found), table([rest]), sep="\n\n")
