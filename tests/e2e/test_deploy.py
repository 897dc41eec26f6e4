"""Row 64: deploying again."""

from pathlib import Path

from tests.e2e.deployed import Deployed

PHOTO = (Path(__file__).parents[2] / "tools" / "samples" / "mug.jpg").read_bytes()


def test_after_a_second_deploy_uploads_are_still_noticed(deployed: Deployed) -> None:
    deployed.stack.deploy(RequestsPerMinute=600, ReconcileSchedule="off", DefaultPrompt="plain white")

    deployed.put("a.jpg", PHOTO)

    deployed.until_stored("a.jpg.png")
    assert deployed.gateway.charges()[0]["prompt"] == "plain white"
    deployed.stack.deploy(RequestsPerMinute=600, ReconcileSchedule="off", DefaultPrompt="")
