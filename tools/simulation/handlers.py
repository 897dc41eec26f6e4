"""The functions' own code, loaded for simulated workers."""

from collections.abc import Callable
from functools import cache
from importlib import util
from types import ModuleType
from unittest.mock import patch

from backdrop import bootstrap
from backdrop.services import Services
from tools.files import ROOT


@cache
def handler(folder: str, services: Callable[[], Services]) -> ModuleType:
    """The app.py below `functions/`, working with the services of whichever worker runs it."""
    spec = util.spec_from_file_location(f"simulated_{folder}", ROOT / "functions" / folder / "app.py")
    if spec is None or spec.loader is None:
        raise ImportError(folder)
    module = util.module_from_spec(spec)
    with patch.object(bootstrap, "prepare"):  # a worker here builds its services itself
        spec.loader.exec_module(module)
    vars(module)["get_services"] = services
    return module
