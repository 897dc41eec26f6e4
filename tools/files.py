"""Where the project's own files are that tools and tests use."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "template.yaml"
SAMPLE_EVENT = ROOT / "events" / "s3_object_created.json"
SAMPLES = sorted(path for path in (ROOT / "tools" / "samples").iterdir() if path.suffix in (".jpg", ".png", ".webp"))
SAMPLE_PHOTO = ROOT / "tools" / "samples" / "mug.jpg"
SAMPLE_PROMPT = "a marble kitchen counter in soft morning light"
