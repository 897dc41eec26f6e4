"""A second stack that takes its uploads from a bucket that was there before, beside the deployed one."""

import json
from pathlib import Path
from typing import Any

from backdrop.job import Job
from tests.aws_events import eventbridge_event
from tests.e2e.deployed import Deployed, Mailbox, another
from tools.polling import until

PHOTO = (Path(__file__).parents[2] / "tools" / "samples" / "headphones.jpg").read_bytes()
BUCKET = "photos-of-a-shop"


def test_uploads_to_an_existing_bucket_are_stored_and_the_bucket_stays_as_it_is(deployed: Deployed) -> None:
    notes = Mailbox(deployed.stack)
    notes.let_in("s3.amazonaws.com", f"arn:aws:s3:::{BUCKET}")
    deployed.s3.create_bucket(Bucket=BUCKET)
    deployed.s3.put_bucket_notification_configuration(
        Bucket=BUCKET,
        NotificationConfiguration={
            "EventBridgeConfiguration": {},
            "QueueConfigurations": [
                {
                    "Id": "notes",
                    "QueueArn": notes.arn,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "suffix", "Value": ".txt"}]}},
                }
            ],
        },
    )
    notes.take()  # S3 says that it may deliver

    def as_it_is() -> Any:
        answers = (
            deployed.s3.get_bucket_notification_configuration(Bucket=BUCKET),
            deployed.s3.get_bucket_versioning(Bucket=BUCKET),
        )
        return [{name: value for name, value in answer.items() if name != "ResponseMetadata"} for answer in answers]

    before = as_it_is()
    shop = another(deployed.stack, "shop", ExistingInputBucket=BUCKET)
    shop.s3.put_object(
        Bucket=BUCKET, Key=f"{shop.folder}red shoe+1 %20é.jpg", Body=PHOTO, Metadata={"prompt": "a shop window"}
    )
    shop.s3.put_object(Bucket=BUCKET, Key=f"{shop.folder}note.txt", Body=b"size 42")

    shop.until_stored("red shoe+1 %20é.jpg.png")
    [dead_letter] = until("a dead letter", shop.dead_letters)
    [note] = until("a note", notes.take)
    assert dead_letter["reason"]["code"] == "unsupported_media_type"
    assert note["Records"][0]["s3"]["object"]["key"] == f"{shop.folder}note.txt"
    assert [charge["prompt"] for charge in shop.gateway.charges()] == ["a shop window"]
    assert shop.reconcile()["listed"] == 2
    assert shop.input_bucket == BUCKET
    assert as_it_is() == before


def test_a_stack_whose_input_is_its_own_output_buys_nothing_says_so_and_loses_nothing(deployed: Deployed) -> None:
    account = deployed.output_bucket.rpartition("-")[2]
    bucket = f"mistake-output-{account}"
    mistake = another(deployed.stack, "mistake", ExistingInputBucket=bucket)
    assert mistake.input_bucket == mistake.output_bucket == bucket
    mistake.s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    key = f"{mistake.folder}a.jpg"
    mistake.s3.put_object(Bucket=bucket, Key=key, Body=PHOTO, Metadata={"prompt": "wood"})

    def says_so() -> bool:
        lines = mistake.logs("/mistake-replace-background")
        return any("INPUT_BUCKET and OUTPUT_BUCKET are the same" in line for line in lines)

    until("a log line", says_so)
    # The emulator's EventBridge doesn't invoke functions the asynchronous way, with OnFailure: once more by hand.
    mistake.functions.invoke(
        FunctionName=mistake.stack.outputs["ReplaceBackgroundFunctionName"],
        InvocationType="Event",
        Payload=json.dumps(eventbridge_event(Job(bucket, key, etag="etag", size=len(PHOTO)))),
    )
    until("the event in the retry queue", lambda: mistake.waiting() == 1)
    until("a try", lambda: any("are the same" in line for line in mistake.logs("/mistake-retry")))
    assert mistake.waiting() == 1
    assert mistake.gateway.calls() == []
    assert list(mistake.results()) == ["a.jpg"]
