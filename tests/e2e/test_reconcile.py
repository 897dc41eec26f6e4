"""A lost notification on the deployed local stack."""

from tests.e2e.conftest import LOST_KEY, LOST_PROMPT
from tests.e2e.deployed import Deployed
from tools.polling import until


def test_an_upload_whose_notification_was_lost_is_found_and_a_second_run_buys_nothing(deployed: Deployed) -> None:
    """Other tests' uploads may be found, too, so this looks at its own."""
    deployed.folder, name = LOST_KEY.split("/")[0] + "/", LOST_KEY.split("/")[1]
    until(
        "the lost upload, two minutes after it came",
        lambda: deployed.reconcile()["complete"] and deployed.records(),
        seconds=180,
        every=5,
    )

    deployed.until_stored(f"{name}.png")
    deployed.until_finished(1, seconds=30)

    assert deployed.reconcile()["complete"]
    found = deployed.record(name)
    assert found
    assert (found["state"], found["attempts"]) == ("DONE", "1")
    # None, when an earlier test's reconciling found it: the gateway forgets with each test.
    assert [charge["prompt"] for charge in deployed.gateway.charges()].count(LOST_PROMPT) <= 1
    [job_id] = [item["id"] for item in deployed.records()]
    [line] = [line for line in deployed.logs("-reconcile") if LOST_KEY in line]
    assert f'"correlation_id":"{job_id}"' in line
