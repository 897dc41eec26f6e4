"""For as long as a plan is played: time, chance and the network are the simulation's, for the code as it is."""

import gc
import logging
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache
from types import ModuleType
from typing import Any
from unittest import mock

import httpx

from backdrop import batches, http_client
from backdrop.metrics import Metrics
from tools.simulation.drawing import UPLOADS_OF_A_SHARD

real_monotonic = time.monotonic


@dataclass(frozen=True)
class Outside:
    """What code that runs in the simulation sees of what is around it."""

    transport: httpx.BaseTransport
    """The network."""
    clock: Callable[[], float]
    """The time of the machine that it runs on, in epoch seconds."""
    elapsed: Callable[[], float]
    """Seconds since some moment."""
    pause: Callable[[float], None]
    """Wait."""
    measured: Callable[[dict[str, float]], None]
    """Metrics were written."""
    logged: Callable[[str], None]
    """A log line was written."""


class _Client(httpx.Client):
    """One for all workers; nobody closes it."""

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _NoTimer(threading.Timer):
    """The simulated network keeps deadlines itself."""

    def start(self) -> None:
        """Nothing."""


class _Stream:
    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write

    def flush(self) -> None:
        """Nothing."""


@contextmanager
def simulated(outside: Outside, seed: int) -> Iterator[None]:
    """Replace what is of this machine; everything is as before afterwards."""
    chance = random.Random(seed)
    client = _Client(transport=outside.transport, trust_env=False, event_hooks=_HOOKS, headers=_HEADERS)

    class SimulatedDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "SimulatedDatetime":
            return cls.fromtimestamp(outside.clock(), tz or UTC)

    logger = logging.getLogger("backdrop")
    handler: Any = logger.handlers[0]
    stream = handler.stream
    state = random.getstate()
    with ExitStack() as stack:
        replace = mock.patch.object
        for owner, name, new in (
            (time, "time", outside.clock),
            (time, "monotonic", outside.elapsed),
            (time, "sleep", outside.pause),
            (os, "urandom", chance.randbytes),
            (socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("93.184.216.34", 443))]),
            (threading, "Timer", _NoTimer),
            (http_client, "new_client", lambda *_, **__: client),
            (logger, "propagate", False),
            (batches, "UPLOADS_OF_A_SHARD", UPLOADS_OF_A_SHARD),
            (Metrics, "_publish", lambda _, values, *__, **___: outside.measured(values)),
        ):
            stack.enter_context(replace(owner, name, new))
        for module in _modules_with_datetime():
            stack.enter_context(replace(module, "datetime", SimulatedDatetime))
        random.seed(seed)
        handler.stream = _Stream(outside.logged)
        was_enabled = gc.isenabled()
        gc.disable()  # a collection of the code's own, before a file upload, would take longer than all the rest
        try:
            with mock.patch.object(gc, "collect", return_value=0):
                yield
        finally:
            handler.stream = stream
            random.setstate(state)
            if was_enabled:
                gc.enable()
                gc.collect(0)


@cache
def _modules_with_datetime() -> list[ModuleType]:
    return [
        module
        for name, module in sys.modules.items()
        if name.startswith("backdrop.") and getattr(module, "datetime", None) is datetime
    ]


_REAL = http_client.new_client()
_HOOKS: Any = _REAL.event_hooks
_HEADERS = dict(_REAL.headers)
