"""The processes of a local stack: they go on when the command that started them has ended, and are found again."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_STOP_SECONDS = 10.0


class Processes:
    """Those that were started with a home, where their logs are, too."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._children: list[subprocess.Popen[bytes]] = []

    def spawn(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        listener: socket.socket | None = None,
    ) -> None:
        """Run a module; `listener` is inherited, and its number is the command's last argument."""
        inherited = [listener.fileno()] if listener else []
        with (self._home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, *map(str, inherited)],
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=inherited,
            )
        self._children.append(process)
        self._file.write_text(json.dumps(self._started_here() | {name: [process.pid, _started(process.pid)]}))

    def stop(self) -> bool:
        """End them all; False when there was none."""
        pids = self.alive()
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, sign)  # each was started as the leader of a group: its workers end with it
            deadline = time.monotonic() + _STOP_SECONDS
            while self.alive() and time.monotonic() < deadline:
                time.sleep(0.05)
        while self._children:
            self._children.pop().wait(_STOP_SECONDS)
        self._file.unlink(missing_ok=True)
        return bool(pids)

    @property
    def _file(self) -> Path:
        return self._home / "processes.json"

    def _started_here(self) -> dict[str, tuple[int, str]]:
        """Process id and start by name, of all that were started with this home."""
        try:
            processes: dict[str, tuple[int, str]] = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return processes

    def alive(self) -> dict[str, int]:
        """Ids of those that still run; a stranger with the same id, say after a reboot, started at another time."""
        for child in self._children:
            child.poll()  # an ended child stays a process until somebody asks
        return {name: pid for name, (pid, started) in self._started_here().items() if _started(pid) == started}


def _started(pid: int) -> str:
    """When a process started, in whatever unit the system has; empty when there is none."""
    if Path("/proc/self/stat").exists():
        try:
            # The 22nd field, counted behind the name, which may have spaces in it; see proc(5).
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] == "Z" else fields[19]
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()
