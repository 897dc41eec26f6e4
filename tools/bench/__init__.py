"""Measurements; `make bench` runs them and writes docs/benchmarks.md."""

import sys
from pathlib import Path

# The simulation runs the application itself, which no environment has installed.
sys.path.insert(0, str(Path(__file__).parents[2] / "layers" / "backdrop" / "python"))
