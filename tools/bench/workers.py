"""Functions to compare, each in fresh processes that hold what it would be deployed with, and nothing else."""

import compileall
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import distribution
from itertools import count
from pathlib import Path
from py_compile import PycInvalidationMode
from tempfile import TemporaryDirectory
from typing import Any, Self

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.files import ROOT, SAMPLE_EVENT, SAMPLE_PHOTO, SAMPLE_PROMPT
from tools.local_stack import CREDENTIALS, LocalStack

OURS, ALTERNATIVE, FLOOR, BARE = "ours", "alternative", "floor", "bare"
_SITE = Path(sysconfig.get_path("purelib"))
_MEASURED = Path(__file__).with_name("measured.py")
_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")
_LONGEST_SECONDS = 120.0
_UPLOAD_IDS = count()


@dataclass(frozen=True)
class Answer:
    """What a worker said when it was ready, or after an upload."""

    at: float
    """On the parent's monotonic clock."""
    cpu_at: float
    """CPU seconds since the process started."""
    peak_mib: float
    modules: int
    seconds: float = 0.0
    """Of the upload alone, as `cpu_seconds`."""
    cpu_seconds: float = 0.0
    away: Any = None
    said: Any = None


class Worker:
    """One process with one function in it. Raises RuntimeError when it ends or hangs."""

    def __init__(self, folders: list[Path], environment: dict[str, str], outside: str) -> None:
        path = os.pathsep.join(map(str, [*folders, *([ROOT] if outside else [])]))
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(
            # Nothing of this environment (-I -S), and no bytecode but what comes along: Lambda's folders are read-only.
            [sys.executable, "-I", "-S", "-B", str(_MEASURED), path, *filter(None, [outside])],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self._read()

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process."""
        self._process.communicate(timeout=_LONGEST_SECONDS)

    def upload(self, event: dict[str, Any]) -> Answer:
        """Let the function have an event."""
        assert self._process.stdin is not None  # noqa: S101 - for mypy
        self._process.stdin.write(json.dumps(event) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if answer.said and [upload["state"] for upload in answer.said["uploads"]] != ["DONE"]:
            raise RuntimeError(f"not done: {answer.said}")
        return answer

    def _read(self) -> Answer:
        assert self._process.stdout is not None  # noqa: S101 - for mypy
        hangs = threading.Timer(_LONGEST_SECONDS, self._process.kill)
        hangs.start()
        try:
            line = self._process.stdout.readline()
        finally:
            hangs.cancel()
        if not line:
            raise RuntimeError(f"the worker ended with {self._process.wait(_LONGEST_SECONDS)}")
        return Answer(**json.loads(line))


class Bench:
    """A deployed local stack whose functions are not called by it, but measured in workers of their own."""

    def __init__(self, stack: LocalStack, home: Path) -> None:
        self.gateway = stack.gateway
        self._home = home
        self._s3 = stack.client("s3")
        self._bucket = stack.outputs["InputBucketName"]
        self._s3.put_bucket_notification_configuration(Bucket=self._bucket, NotificationConfiguration={})
        self.gateway.settings(image_pixels=20_000, rate_limit=None, wallet_usd=10_000)
        deployed = stack.client("lambda").get_function_configuration(
            FunctionName=stack.outputs["ReplaceBackgroundFunctionName"]
        )
        self.environment: dict[str, str] = deployed["Environment"]["Variables"] | {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": stack.endpoint_url,
        }

    def worker(
        self, function: str, outside: str = "", environment: dict[str, str] | None = None, is_compiled: bool = False
    ) -> Worker:
        """Start one; `environment` changes what was deployed, and what is empty is left out."""
        changed = self.environment | (environment or {})
        given = {name: text for name, text in changed.items() if text}
        return Worker(self.folders(function, is_compiled), given, outside)

    @contextmanager
    def uploaded(self, size: int) -> Iterator[dict[str, Any]]:
        """A new photo of `size` bytes in the input bucket, as its event; gone after the block."""
        event = event_of(self._bucket, size)
        key = event["Records"][0]["s3"]["object"]["key"]
        # What follows a JPEG's end is nobody's business.
        photo = SAMPLE_PHOTO.read_bytes()
        photo += bytes(max(0, size - len(photo)))
        answer = self._s3.put_object(
            Bucket=self._bucket, Key=key, Body=photo, ContentType="image/jpeg", Metadata={"prompt": SAMPLE_PROMPT}
        )
        event["Records"][0]["s3"]["object"] |= {"versionId": answer["VersionId"], "eTag": answer["ETag"].strip('"')}
        try:
            yield event
        finally:
            self._s3.delete_object(Bucket=self._bucket, Key=key, VersionId=answer["VersionId"])

    def folders(self, function: str, is_compiled: bool) -> list[Path]:
        """The function, its layers and the runtime, as they would be in a worker's path."""
        source = {OURS: ROOT / "functions" / "replace_background"}.get(function, Path(__file__).parent / function)
        app = self._home / function
        app.mkdir(exist_ok=True)
        shutil.copy(source / "app.py", app)  # without the bytecode beside it
        layers = {
            OURS: ["DependenciesLayer", "BackdropLayer"],
            FLOOR: ["DependenciesLayer", "BackdropLayer"],
            ALTERNATIVE: ["AlternativeLayer"],
            BARE: [],
        }[function]
        kept = self._compiled if is_compiled else self._layers
        return [app, *(kept / name / "python" for name in layers), self._runtime]

    @cached_property
    def _layers(self) -> Path:
        """The layers without bytecode: pip may have left some, of whichever Python built them."""
        folder = self._home / "layers"
        for name in ("DependenciesLayer", "BackdropLayer"):
            _copy(self._home / "build" / name, folder / name)
        python = folder / "AlternativeLayer" / "python"
        python.mkdir(parents=True)
        for name in _with_requirements("openai"):
            for part in {file.parts[0] for file in distribution(name).files or []} - {"..", "__pycache__"}:
                _copy(_SITE / part, python / part)
        return folder

    @cached_property
    def _compiled(self) -> Path:
        """The layers with bytecode that is taken as it is, whatever times an archive gives the sources."""
        folder = self._home / "compiled"
        shutil.copytree(self._layers, folder)
        compileall.compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
        return folder

    @cached_property
    def _runtime(self) -> Path:
        """What the Lambda runtime brings, with its bytecode."""
        folder = self._home / "runtime"
        folder.mkdir()
        for name in _RUNTIME:
            (folder / name).symlink_to(_SITE / name)
            if name.endswith(".py"):
                compileall.compile_file(_SITE / name, quiet=2)
            else:
                compileall.compile_dir(_SITE / name, quiet=2)
        return folder


@contextmanager
def benched() -> Iterator[Bench]:
    """A local stack of its own for measuring, deployed from the template; stopped at the block's end."""
    with TemporaryDirectory() as home:
        stack = LocalStack(Path(home))
        stack.start()
        try:
            # Far from where an upload would have to wait.
            stack.deploy(RequestsPerMinute=30_000, DailyImageLimit=1_000_000, ReconcileSchedule="off")
            yield Bench(stack, Path(home))
        finally:
            stack.stop()


def event_of(bucket: str, size: int) -> dict[str, Any]:
    """The S3 event of a photo that is not there."""
    event: dict[str, Any] = json.loads(SAMPLE_EVENT.read_text())
    event["Records"][0]["s3"]["bucket"]["name"] = bucket
    event["Records"][0]["s3"]["object"] |= {
        "key": f"photo-{size}-{next(_UPLOAD_IDS)}.jpg",
        "size": size,
        "versionId": "1",
        "eTag": "etag",
    }
    return event


def _with_requirements(name: str) -> set[str]:
    """A distribution and everything that it needs here."""
    found: set[str] = set()
    wanted = {name}
    while wanted:
        found.add(name := wanted.pop())
        needs = map(Requirement, distribution(name).requires or [])
        here = (need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""}))
        wanted |= {canonicalize_name(need) for need in here} - found
    return found


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
