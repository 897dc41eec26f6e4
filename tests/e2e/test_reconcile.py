"""A lost notification on the deployed local stack."""

from tests.e2e.command_line import Cli, cli
from tests.e2e.conftest import LOST_KEY, LOST_PROMPT
from tools.polling import until

__all__ = ["cli"]


def test_an_upload_whose_notification_was_lost_is_found_and_a_second_run_buys_nothing(cli: Cli) -> None:
    """The only test that looks through this stack's bucket: others set faults that a found upload would meet."""
    deployed = cli.deployed
    deployed.folder, name = LOST_KEY.split("/")[0] + "/", LOST_KEY.split("/")[1]
    until(
        "the lost upload, two minutes after it came",
        lambda: cli.json("reconcile")["complete"] and deployed.records(),
        seconds=180,
        every=5,
    )

    deployed.until_stored(f"{name}.png")
    deployed.until_finished(1, seconds=30)

    assert cli.json("reconcile")["complete"]
    found = deployed.record(name)
    assert found
    assert (found["state"], found["attempts"]) == ("DONE", "1")
    assert [charge["prompt"] for charge in deployed.gateway.charges()].count(LOST_PROMPT) == 1
    [job_id] = [item["id"] for item in deployed.records()]
    [line] = [line for line in deployed.logs("-reconcile") if LOST_KEY in line]
    assert f'"correlation_id":"{job_id}"' in line
