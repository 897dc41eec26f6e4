"""Row 63: what all functions logged while the end-to-end tests ran; runs last, by its name."""

from pathlib import Path

from tests.e2e.deployed import Deployed
from tools.local_stack import until

PHOTO = (Path(__file__).parents[2] / "tools" / "samples" / "mug.jpg").read_bytes()
PROMPT = "an unmistakable backdrop, mine alone"


def test_no_log_holds_a_key_a_link_a_signature_or_a_prompt(deployed: Deployed) -> None:
    deployed.gateway.faults(
        [
            {
                "kind": "status",
                "status": 500,
                "match": "first",
                "body": f'{{"error": {{"message": "{PROMPT} first"}}}}',
            },
            {"kind": "status", "status": 400, "match": "second"},
            {"kind": "drop_after_charge", "match": "third"},
        ]
    )
    for name in ("first", "second", "third"):
        deployed.put(f"{name}.jpg", PHOTO, prompt=f"{PROMPT} {name}")
    deployed.until_finished(3, seconds=60)
    logs = deployed.logs()
    assert any("dead-lettered" in line for line in logs)

    secrets = (PROMPT, deployed.gateway.key, "sk-aig", "X-Amz-", "/media/", "Bearer", "AWSAccessKeyId")
    found = [line for line in logs if any(secret in line for secret in secrets)]

    assert found == []


def test_every_line_about_an_upload_carries_its_job_id(deployed: Deployed) -> None:
    deployed.put("a.jpg", PHOTO, prompt="wood")
    deployed.until_stored("a.jpg.png")
    record = until("its record", lambda: deployed.record("a.jpg"))

    lines = until("its lines", lambda: [line for line in deployed.logs() if f"{deployed.folder}a.jpg" in line])

    assert all(f'"correlation_id":"{record["id"]}"' in line for line in lines)
