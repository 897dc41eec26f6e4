"""`python -m tools.bench.over_tls`: what TLS costs an upload, with connections that are kept and that are closed.

AWS and the gateway are a process on loopback. Its certificate is signed by an authority that is added to certifi's, so
that as many are loaded as on Lambda. *botocore's own contexts* is ours with AWS_CA_BUNDLE naming just those, with which
it leaves botocore as it is.
"""

import argparse
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from tools.bench.report import table
from tools.bench.tls_server import ALL, KEPT, S3_AND_EVENTS
from tools.bench.workers import ALTERNATIVE, FLOOR, OURS, Bench, Worker, benched, event_of
from tools.certificates import Authority
from tools.files import ROOT

EXPLAINED = """AWS and the gateway are a process on loopback that speaks TLS, and keeps connections or closes them
after each answer: how soon AWS closes idle ones nobody documents, and an upload's requests are seconds apart. CPU
milliseconds of the first upload of a worker and of later ones; *ours, botocore's own contexts* loads the root
certificates anew for each connection to AWS, as it was until 2026-11-30. The floor has our TLS context, so that what
is compared is the work."""
UNSHARED = "ours, botocore's own contexts"
CONNECTIONS = {"all kept": KEPT, "S3's and EventBridge's closed": S3_AND_EVENTS, "all closed": ALL}
PHOTO_BYTES = 100_000
_FUNCTIONS = (OURS, UNSHARED, FLOOR)


class Far:
    """What is reached over TLS; `trusted` is a certifi of which every worker's own is shadowed."""

    def __init__(self, bench: Bench, home: Path) -> None:
        self._bench = bench
        self._authority = Authority(home)
        self._certificate = self._authority.certificate("localhost")
        self._trusted = home / "trusted"
        shutil.copytree(Path(sysconfig.get_path("purelib"), "certifi"), self._trusted / "certifi")
        self._bundle = self._trusted / "certifi" / "cacert.pem"
        self._bundle.write_text(self._bundle.read_text() + self._authority.file.read_text())

    @contextmanager
    def server(self, closing: tuple[str, ...]) -> Iterator[str]:
        """Its address."""
        command = [sys.executable, "-m", "tools.bench.tls_server", str(self._certificate), *closing]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None  # noqa: S101 - for mypy
            try:
                yield f"https://localhost:{int(process.stdout.readline())}"
            finally:
                process.kill()

    def worker(self, function: str, url: str, is_compiled: bool = True) -> Worker:
        """A process of its own."""
        name = OURS if function == UNSHARED else function
        environment = self._bench.environment | {"AWS_ENDPOINT_URL": url, "GATEWAY_BASE_URL": f"{url}/v1"}
        if function == UNSHARED:
            environment["AWS_CA_BUNDLE"] = str(self._bundle)
        if function == ALTERNATIVE:
            environment["SSL_CERT_FILE"] = str(self._bundle)  # for urllib, which has no certifi
        return Worker([self._trusted, *self._bench.folders(name, is_compiled)], environment, "")


@contextmanager
def far(bench: Bench) -> Iterator[Far]:
    """Certificates for one measurement."""
    with TemporaryDirectory() as home:
        yield Far(bench, Path(home))


def warm(bench: Bench, samples: int) -> list[dict[str, Any]]:
    """CPU milliseconds of the first and of later uploads; the functions take turns."""
    rows = []
    for connections, closing in CONNECTIONS.items():
        first: dict[str, list[float]] = {name: [] for name in _FUNCTIONS}
        later: dict[str, list[float]] = {name: [] for name in _FUNCTIONS}
        with far(bench) as there, there.server(closing) as url:
            for _ in range(3):
                with ExitStack() as ended:
                    workers = {name: ended.enter_context(there.worker(name, url)) for name in _FUNCTIONS}
                    for turn in range(samples + 2):
                        for name, worker in workers.items():
                            answer = worker.upload(_event(bench))
                            if turn != 1:
                                (later if turn else first)[name].append(answer.cpu_seconds * 1000)
        rows += [
            {
                "connections": connections,
                "function": name,
                "first upload, cpu ms": round(median(first[name])),
                "later, cpu ms": round(median(later[name]), 1),
                "/ floor": round(median(a / b for a, b in zip(later[name], later[FLOOR], strict=True)), 2),
            }
            for name in _FUNCTIONS
        ]
    return rows


def cold(bench: Bench, samples: int) -> list[dict[str, Any]]:
    """From the start of a process to its first result; the functions take turns."""
    kinds: dict[str, tuple[str, bool]] = {
        "ours, with bytecode": (OURS, True),
        "ours, sources alone": (OURS, False),
        "ours, botocore's own contexts, with bytecode": (UNSHARED, True),
        "floor, with bytecode": (FLOOR, True),
        "alternative": (ALTERNATIVE, False),
        "alternative, with bytecode": (ALTERNATIVE, True),
    }
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in kinds}
    with far(bench) as there, there.server(KEPT) as url:
        for turn in range(samples + 1):
            for name, (function, is_compiled) in kinds.items():
                with there.worker(function, url, is_compiled) as worker:
                    answer = worker.upload(_event(bench))
                    if turn:  # the first reads files from disk
                        ms = (answer.at - worker.started_at) * 1000
                        found[name].append((worker.ready.cpu_at * 1000, answer.cpu_at * 1000, ms))
    return [
        {
            "function": name,
            "ready, cpu ms": round(median(one[0] for one in each)),
            "first result, cpu ms": round(median(one[1] for one in each)),
            "first result, ms": round(median(one[2] for one in each)),
            "cpu / alternative": _share(each, found["alternative"], 1),
            "ms / alternative": _share(each, found["alternative"], 2),
        }
        for name, each in found.items()
    ]


def memory(bench: Bench, uploads: int = 12) -> list[dict[str, Any]]:
    """MiB at the highest after a dozen uploads with all connections closed."""
    rows = []
    with far(bench) as there, there.server(ALL) as url:
        for name in _FUNCTIONS:
            with there.worker(name, url) as worker:
                for _ in range(uploads):
                    last = worker.upload(_event(bench))
            rows.append({"function": name, "MiB when ready": round(worker.ready.peak_mib), "MiB": round(last.peak_mib)})
    return rows


def _event(bench: Bench) -> dict[str, Any]:
    return event_of(bench.environment["INPUT_BUCKET"], PHOTO_BYTES)


def _share(some: list[tuple[float, ...]], others: list[tuple[float, ...]], at: int) -> float:
    return round(median(a[at] / b[at] for a, b in zip(some, others, strict=True)), 2)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.over_tls", description=__doc__)
    parser.add_argument("--samples", type=int, default=10)
    samples = parser.parse_args().samples
    with benched() as bench:
        for rows in (warm(bench, samples), cold(bench, samples), memory(bench)):
            print(table(rows), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
