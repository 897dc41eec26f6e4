"""The built layers alone, with what Lambda brings, are enough to import every handler."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))
MAX_MIB = 6
MAX_MIB_WITH_BYTECODE = 12
MAX_FUNCTION_BYTES = 20_000  # of one function, which has its handler and nothing else
MAX_FILES = 600  # Lambda opens what is imported one by one


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both layers, built by the Makefiles that `sam build` calls."""
    folder = tmp_path_factory.mktemp("layers")
    for name, target in {"dependencies": "DependenciesLayer", "backdrop": "BackdropLayer"}.items():
        subprocess.run(
            ["make", "-C", str(ROOT / "layers" / name), f"build-{target}"],
            env=os.environ | {"ARTIFACTS_DIR": str(folder)},
            check=True,
            capture_output=True,
        )
    return folder / "python"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Lambda runtime brings: boto3 and what it needs, and nothing else of this environment."""
    folder = tmp_path_factory.mktemp("runtime")
    site = Path(sys.prefix) / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    for package in ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py"):
        (folder / package).symlink_to(site / package)
    return folder


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_handler_imports_with_the_layers_alone(layers: Path, runtime: Path, function: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-S", "-c"),
            "import sys; sys.path[:0] = sys.argv[1:]; import app; app.lambda_handler",
            *(str(ROOT / "functions" / function), str(layers), str(runtime)),
        ],
        env={},  # nothing is configured yet
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_layers_are_pure_python_and_small(layers: Path) -> None:
    compiled = [path for path in layers.rglob("*") if path.suffix in (".so", ".pyd", ".dylib")]
    assert compiled == [], "one build has to fit both architectures"
    files = [path for path in layers.rglob("*") if path.is_file()]
    sources = [path for path in files if path.suffix != ".pyc"]
    assert len(sources) < MAX_FILES
    assert mib(sources) < MAX_MIB
    assert mib(files) < MAX_MIB_WITH_BYTECODE


def mib(files: list[Path]) -> float:
    return sum(path.stat().st_size for path in files) / 2**20


def test_the_layers_have_bytecode_for_lambda_where_a_python_3_13_is_at_hand(layers: Path) -> None:
    if not python_3_13():
        pytest.skip("no Python 3.13 is here")
    for source in layers.rglob("*.py"):
        bytecode = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        # PEP 552: a hash, which is not checked, whatever time the archive gives the source.
        assert bytecode.read_bytes()[4:8] == b"\1\0\0\0"


def python_3_13() -> str:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    some = ["python3.13", "python3", *map(str, pyenv.glob("versions/3.13.*/bin/python3"))]
    code = "import sys; sys.exit(sys.version_info[:2] != (3, 13))"
    return next((name for name in some if subprocess.run([name, "-c", code], capture_output=True).returncode == 0), "")


def test_the_layers_are_sources_alone_where_no_python_3_13_is_at_hand(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("cp", "mkdir"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or "")
    subprocess.run(
        [shutil.which("make") or "make", "-C", str(ROOT / "layers" / "backdrop"), "build-BackdropLayer"],
        env={"PATH": f"{tmp_path}/bin", "HOME": str(tmp_path), "ARTIFACTS_DIR": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    built = [path.name for path in (tmp_path / "python").rglob("*") if path.is_file()]
    assert sorted(built) == sorted(path.name for path in ROOT.glob("layers/backdrop/python/backdrop/*.py"))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_its_handler_alone(function: str) -> None:
    files = [path for path in (ROOT / "functions" / function).rglob("*") if path.suffix != ".pyc" and path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_FUNCTION_BYTES


def system_python() -> str:
    return shutil.which("python3", path=os.defpath) or sys.executable


def old_python() -> str:
    """One from 3.8 to 3.10, which many systems still have."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    names = ("python3.8", "python3.9", "python3.10")
    found = [str(path) for name in names for path in sorted(pyenv.glob(f"versions/*/bin/{name}"))]
    return next(iter([*found, *filter(None, map(shutil.which, names))]), "")


@pytest.mark.parametrize("python", [system_python, old_python])
def test_pip_builds_the_same_layer_where_there_is_no_uv(
    layers: Path, tmp_path: Path, python: Callable[[], str]
) -> None:
    """`sam build` from a clean checkout needs no tool but python3 and make."""
    pip_python = python()
    if not pip_python or subprocess.run([pip_python, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("no such python3 with pip is here")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(pip_python)
    subprocess.run(
        ["make", "-C", str(ROOT / "layers" / "dependencies"), "build-DependenciesLayer"],
        env={"PATH": f"{tmp_path}/bin:{os.defpath}", "ARTIFACTS_DIR": str(tmp_path)}
        | {name: value for name, value in os.environ.items() if name.startswith("PIP_")},
        check=True,
        capture_output=True,
    )
    built = {path.name for path in (tmp_path / "python").iterdir()}
    assert {path.name for path in layers.iterdir()} - {"backdrop"} | {"__pycache__"} == built | {"__pycache__"}
