"""Work on many things side by side, with a bar that shows how far it is."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from backdrop_cli.deployment import THREADS

Item = TypeVar("Item")
Result = TypeVar("Result")


class Step(Protocol):
    """Moves a bar on by `done`, and changes its title when there is a new one."""

    def __call__(self, done: int, title: str = "", /) -> None:
        """As the class says."""


def no_step(_done: int, _title: str = "") -> None:
    """The step of work that shows no bar."""


@contextmanager
def bar(console: Console, title: str, total: int | None) -> Iterator[Step]:
    """A bar in a terminal, one line elsewhere; without `total` it counts only."""
    if not console.is_terminal:
        console.print(f"{title} …" if total is None else f"{title} ({total}) …")
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)

        said = title

        def step(done: int, title: str = "") -> None:
            nonlocal said
            if title and title != said and not console.is_terminal:
                console.print(title, soft_wrap=True)
            said = title or said
            progress.update(task, advance=done, description=title or None)

        yield step
        progress.update(task, total=progress.tasks[task].completed)


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item], step: Step) -> list[Result]:
    """`work` for each item, in their order. After an interruption what runs ends and nothing new begins."""
    pool = ThreadPoolExecutor(THREADS)
    try:
        futures = [pool.submit(work, item) for item in items]
        for done in as_completed(futures):
            done.result()  # the first error ends it
            step(1)
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


def streamed(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`work` for each item, in their order, with only a few of them in memory."""
    pool = ThreadPoolExecutor(THREADS)
    running: deque[Future[Result]] = deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) >= 4 * THREADS:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
