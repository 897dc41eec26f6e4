"""Which module uses which: no circle, and nothing that reaches from a lower package into one above it."""

import ast
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "backdrop": "layers/backdrop/python/backdrop",
    "functions": "functions",
    "backdrop_cli": "cli/backdrop_cli",
    "tools": "tools",
}
"""From the lowest to the highest."""


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = [package, *path.relative_to(ROOT / folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported(nodes: Iterable[ast.AST], known: set[str]) -> set[str]:
    """The modules of ours that are imported by statements among `nodes`."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names} | {node.module}
    return found & known


def at_the_top(path: Path) -> Iterator[ast.AST]:
    """The statements of a module, and those behind its conditions."""
    for statement in ast.parse(path.read_text()).body:
        yield from ast.walk(statement) if isinstance(statement, ast.If | ast.Try) else (statement,)


def test_imports_have_no_circle() -> None:
    """Of those at the top of modules, also for types alone; imports inside functions don't count."""
    paths = modules()
    uses = {name: imported(at_the_top(path), set(paths)) - {name} for name, path in paths.items()}
    assert sum(map(len, uses.values())) > 100

    TopologicalSorter(uses).prepare()  # raises CycleError, which names the circle


def test_no_import_goes_upwards() -> None:
    """Wherever it stands."""
    paths = modules()
    order = list(PACKAGES)
    upwards = [
        f"{name} imports {other}"
        for name, path in paths.items()
        for other in imported(ast.walk(ast.parse(path.read_text())), set(paths))
        if order.index(other.partition(".")[0]) > order.index(name.partition(".")[0])
    ]
    assert upwards == []
