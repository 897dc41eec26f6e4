"""Events for integrations on the deployed local stack."""

from pathlib import Path
from typing import Any

from tests.e2e.deployed import Deployed, Mailbox, create, listening, subscribed
from tools.polling import until

ROOT = Path(__file__).parents[2]
PHOTO = (ROOT / "tools" / "samples" / "perfume.jpg").read_bytes()


def details(mailbox: Mailbox, count: int) -> dict[str, Any]:
    """`detail` by `detail-type` of the next events."""
    events: list[dict[str, Any]] = []

    def came() -> bool:
        events.extend(mailbox.take())
        return len(events) >= count

    until(f"{count} events", came)
    assert {event["source"] for event in events} == {"backdrop"}
    assert len(events) == count
    return {event["detail-type"]: event["detail"] for event in events}


def test_a_result_and_a_failure_are_published_with_the_fields_that_integrations_rely_on(deployed: Deployed) -> None:
    with listening(deployed.stack, {"source": ["backdrop"]}) as mailbox:
        good = deployed.put("good.jpg", PHOTO, prompt="a wooden table", n="2", tag="north")
        bad = deployed.put("bad.jpg", PHOTO, tag="south")
        events = details(mailbox, 2)

    record = until("its record", lambda: deployed.record("good.jpg"))
    seconds = events["Background Replaced"].pop("seconds")
    assert 0 < seconds < 60
    assert events["Background Replaced"] == {
        "job_id": record["id"],
        "input": {"bucket": deployed.input_bucket, "key": f"{deployed.folder}good.jpg", "version_id": good},
        "outputs": [
            {
                "bucket": deployed.output_bucket,
                "key": f"{deployed.folder}good.jpg.{number}.png",
                "content_type": "image/png",
                "bytes": len(deployed.result(f"good.jpg.{number}.png")["data"]),
            }
            for number in (1, 2)
        ],
        "model": "ideogram/ideogram-v3-replace-background",
        "images": 2,
        "cost_usd": 0.06,
        "attempts": 1,
        "tag": "north",
    }
    [dead_letter] = until("its dead letter", deployed.dead_letters)
    assert dead_letter["reason"]["code"] == "missing_prompt"
    assert events["Background Replacement Failed"] == {
        "job_id": dead_letter["job"]["id"],
        "input": {"bucket": deployed.input_bucket, "key": f"{deployed.folder}bad.jpg", "version_id": bad},
        "reason": dead_letter["reason"],
        "tag": "south",
    }


def test_a_malformed_message_is_published_as_a_failure_of_no_upload(deployed: Deployed) -> None:
    with listening(deployed.stack, {"source": ["backdrop"]}) as mailbox:
        deployed.sqs.send_message(QueueUrl=deployed.stack.outputs["RetryQueueUrl"], MessageBody="no upload")
        detail = details(mailbox, 1)["Background Replacement Failed"]

    assert (detail["job_id"], detail["input"], detail["tag"]) == (None, None, None)
    assert set(detail["reason"]) == {"code", "message", "http_status", "attempts", "billed"}
    assert detail["reason"]["code"] == "malformed_message"


def test_the_sample_integrations_deliver_results_to_a_queue_and_failures_to_a_topic(deployed: Deployed) -> None:
    samples = ROOT / "docs" / "integrations"
    queue = create(deployed.stack, "photos-ready", (samples / "queue.yaml").read_text())["QueueUrl"]
    topic = create(deployed.stack, "photos-failed", (samples / "topic.yaml").read_text())["TopicArn"]
    with subscribed(deployed.stack, topic) as failures:
        deployed.put("good.jpg", PHOTO, prompt="a wooden table")
        deployed.put("bad.jpg", PHOTO)
        [result] = until("a result", lambda: deployed.sqs.receive_message(QueueUrl=queue).get("Messages"))
        [failure] = until("a failure", failures.take)

    assert f"{deployed.folder}good.jpg.png" in result["Body"]
    assert f"{deployed.folder}bad.jpg" in failure["Message"]
