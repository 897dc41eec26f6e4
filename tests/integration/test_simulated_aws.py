"""The simulation's AWS beside emulators: the same calls in the same order get the same answers.

DynamoDB's calls are those of simulated days, S3's and SQS's are drawn. docs/testing.md lists the differences.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tools.simulation.connection import Result
from tools.simulation.drawing import draw
from tools.simulation.play import Play
from tools.simulation.simulated_queue import Queue
from tools.simulation.simulated_s3 import Bucket, SimulatedS3
from tools.simulation.simulated_table import SimulatedTable
from tools.simulation.simulated_time import SimulatedTime

ROOT = Path(__file__).parents[2]
DYNALITE = "dynalite@4.0.0"
SEEDS = range(40, 44)
Asked = tuple[str, dict[str, Any], Any]
"""An operation, its arguments, and what was answered."""


def client(service: str, endpoint: str) -> Any:
    make: Any = boto3.client
    return make(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(parameter_validation=False, s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def answer_of(call: Callable[[], Any]) -> Any:
    """An answer's data, or the code of a refusal and the item that came with it."""
    try:
        answer = call()
    except ClientError as error:
        response: Any = error.response
        return response["Error"]["Code"], plain(response.get("Item", {}))
    return plain({name: answer[name] for name in ("Item", "Attributes") if answer and name in answer})


def plain(value: Any) -> Any:
    """Numbers by their value: DynamoDB gives them back in a form of its own."""
    if isinstance(value, dict) and set(value) == {"N"}:
        return Decimal(value["N"])
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def days() -> list[list[Asked]]:
    """What the workers of simulated days asked for, by table, in its order."""
    tables: dict[SimulatedTable, list[Asked]] = {}
    with pytest.MonkeyPatch.context() as patched:
        for operation in ("get_item", "put_item", "update_item"):
            patched.setattr(SimulatedTable, operation, recording(operation, tables))
        for seed in SEEDS:
            Play(draw(seed)).run()
    return list(tables.values())


def recording(operation: str, tables: dict[SimulatedTable, list[Asked]]) -> Callable[..., Any]:
    real = getattr(SimulatedTable, operation)

    def call(table: SimulatedTable, **arguments: Any) -> Any:
        answers: list[Any] = []

        def noted() -> Any:
            answers.append(real(table, **arguments))
            return answers[0]

        answer = answer_of(noted)
        if operation == "update_item" and answers and "ReturnValues" not in arguments:
            answer = {}  # nothing was asked for
        tables.setdefault(table, []).append((operation, arguments, answer))
        return answers[0] if answers else real(table, **arguments)  # a refusal changes nothing

    return call


def same_answers(dynamodb: Any, days: list[list[Asked]], *, shows_refused_item: bool = True) -> None:
    for asked in days:
        name = f"t{uuid4().hex}"
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )
        dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 0.05})
        for operation, arguments, expected in asked:
            found = answer_of(partial(getattr(dynamodb, operation), **{**arguments, "TableName": name}))
            if isinstance(expected, tuple) and not shows_refused_item:
                found, expected = found[0], expected[0]
            assert found == expected, (operation, arguments)


def test_moto_answers_a_simulated_days_dynamodb_calls_the_same(aws: str, days: list[list[Asked]]) -> None:
    assert sum(map(len, days)) > 100
    same_answers(client("dynamodb", aws), days)


@pytest.fixture(scope="module")
def dynalite() -> Iterator[str]:
    """A DynamoDB that is strict about expressions, from npm."""
    if not shutil.which("npm"):
        pytest.skip("needs Node.js: dynalite is a package of npm")
    folder = ROOT / ".local" / "dynalite"
    binary = folder / "node_modules" / ".bin" / "dynalite"
    if not binary.exists():
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), DYNALITE]
        if subprocess.run(command, capture_output=True, timeout=120).returncode:
            pytest.skip("npm could not install dynalite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [binary, "--host", "127.0.0.1", "--port", str(port), "--createTableMs", "0"], stdout=subprocess.DEVNULL
    )
    endpoint = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(BotoCoreError):
            client("dynamodb", endpoint).list_tables()
            break
    yield endpoint
    process.terminate()
    process.wait()


def test_a_strict_dynamodb_answers_a_simulated_days_calls_the_same(dynalite: str, days: list[list[Asked]]) -> None:
    # It is older than ReturnValuesOnConditionCheckFailure.
    same_answers(client("dynamodb", dynalite), days, shows_refused_item=False)


class Direct:
    """A connection on which nothing happens."""

    def now(self) -> float:
        return 1_800_000_000.0

    def call(self, _service: str, _operation: str, apply: Callable[[], Result], *_: object) -> Result:
        return apply()


@pytest.mark.parametrize("is_versioned", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_moto_answers_s3_calls_the_same(aws: str, seed: int, is_versioned: bool) -> None:
    chance, name = Random(seed), f"b{uuid4().hex}"
    bucket = Bucket(is_versioned=is_versioned)
    ours: Any = SimulatedS3({name: bucket}, Direct())
    theirs = client("s3", aws)
    theirs.create_bucket(Bucket=name)
    if is_versioned:
        theirs.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    etags, versions = ['"none"'], list[tuple[str, str, str]]()
    for _ in range(60):
        key = chance.choice(["a.jpg", "a.jpg.png", "b/c.jpg"])
        what = chance.choice(["put", "put", "put if none", "put if same", "delete", "head", "get", "get same", "list"])
        arguments: dict[str, Any] = {"Bucket": name, "Key": key}
        if what == "delete":
            theirs.delete_object(**arguments)
            bucket.delete(key, 0.0)
            continue
        if what == "list":
            assert listed(ours, name, key[:1]) == listed(theirs, name, key[:1])
            continue
        if what.startswith("put"):
            arguments |= {"Body": str(chance.randint(0, 3)).encode(), "ContentType": "image/png"}
            arguments["Metadata"] = {"prompt": str(chance.random())}
            arguments |= {"put if none": {"IfNoneMatch": "*"}, "put if same": {"IfMatch": chance.choice(etags)}}.get(
                what, {}
            )
        elif what.startswith("get"):
            arguments |= {"Range": "bytes=0-31"} if what == "get" else {"IfMatch": chance.choice(etags)}
            if versions and chance.random() < 0.5:
                arguments["Key"], arguments["VersionId"], _ = chance.choice(versions)
        operation = {"put": "put_object", "head": "head_object", "get": "get_object"}[what.split(" ")[0]]
        expected = seen(operation, partial(getattr(ours, operation), **arguments))
        other = next((new for of, old, new in versions if old == arguments.get("VersionId")), None)
        given = arguments | ({"VersionId": other} if other else {})
        found = seen(operation, partial(getattr(theirs, operation), **given))
        assert found == expected, (what, arguments)
        if operation == "put_object" and "ETag" in found:
            etags.append(found["ETag"])
            current = bucket.current(key)
            if is_versioned and current:
                versions.append((key, current.version_id, theirs.head_object(Bucket=name, Key=key)["VersionId"]))


def seen(operation: str, call: Callable[[], Any]) -> dict[str, Any]:
    """Of an answer what Backdrop reads, versions and times left out; of a refusal its status."""
    try:
        answer = call()
    except ClientError as error:
        return {"status": error.response["ResponseMetadata"]["HTTPStatusCode"]}
    found = {name: answer[name] for name in ("ETag", "ContentRange", "Metadata", "ContentType") if name in answer}
    if operation == "get_object":
        found["Body"] = answer["Body"].read()
    return found if operation != "put_object" else {"ETag": found["ETag"]}


def listed(s3: Any, bucket: str, prefix: str) -> Any:
    current = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    versions = s3.list_object_versions(Bucket=bucket, Prefix=prefix).get("Versions", [])
    return (
        [(entry["Key"], entry["ETag"], entry["Size"]) for entry in current],
        [(entry["Key"], entry["ETag"], entry["Size"], entry["IsLatest"]) for entry in versions],
    )


@pytest.mark.parametrize("seed", range(2))
def test_moto_hands_out_and_keeps_the_same_messages(aws: str, seed: int) -> None:
    chance = Random(seed)
    sqs = client("sqs", aws)
    url = sqs.create_queue(QueueName=f"q{uuid4().hex}", Attributes={"VisibilityTimeout": "900"})["QueueUrl"]
    simulated_time = SimulatedTime()
    queue = Queue(simulated_time)
    bodies, handles = set[str](), dict[str, tuple[str, str]]()

    def passed() -> None:
        simulated_time.run_for(2.0)

    for number in range(25):
        what = chance.choice(["send", "receive", "hide", "show", "delete"])
        if what == "send":
            bodies.add(str(number))
            sqs.send_message(QueueUrl=url, MessageBody=str(number))
            queue.send(str(number), 0)
        elif what == "receive" and queue.has_due:
            message = queue.receive(str(number), 900)
            # Neither keeps an order: of all of theirs the same one.
            received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
            for other in received:
                if other["Body"] == message.body:
                    handle = other["ReceiptHandle"]
                else:
                    sqs.change_message_visibility(
                        QueueUrl=url, ReceiptHandle=other["ReceiptHandle"], VisibilityTimeout=0
                    )
            handles[message.body] = (str(number), handle)
        elif handles and what in ("hide", "show", "delete"):
            body = chance.choice(sorted(handles))
            ours, theirs = handles.pop(body)
            if what == "delete":
                queue.delete(ours)
                sqs.delete_message(QueueUrl=url, ReceiptHandle=theirs)
                bodies.discard(body)
            else:
                seconds = 0 if what == "show" else 800
                queue.hide(ours, seconds)
                sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=theirs, VisibilityTimeout=seconds)
        passed()
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert queue.waiting == len(bodies)
    assert queue.in_flight == int(counts["ApproximateNumberOfMessagesNotVisible"])
    assert queue.waiting - queue.in_flight == int(counts["ApproximateNumberOfMessages"])
