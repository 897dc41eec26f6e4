"""A deployed stack as the commands see it: its outputs, the settings its functions run with, and clients."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError

from backdrop.batches import Batches
from backdrop.clock import Clock
from backdrop.errors import NotConfigured
from backdrop.ledger import Ledger
from backdrop.prompts import FolderPrompts
from backdrop.queues import Queues
from backdrop.records import Records
from backdrop.result_storage import ResultStorage
from backdrop.settings import Settings
from backdrop.storage import Storage

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

THREADS = 16
"""Requests to AWS at the same time."""
FUNCTION_SECONDS = 900
"""Lambda lets none run longer."""

_LOCAL = (
    "For the local stack of `make up`: export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test"
    " AWS_DEFAULT_REGION=us-east-1, and --endpoint-url http://127.0.0.1:4566"
)


class Unreachable(Exception):
    """AWS, or the stack in it, can't be used; the message says what to do."""


@dataclass(frozen=True)
class Deployment:
    """The stack called `stack`; `profile`, `region` and `endpoint_url` as the AWS CLI takes them."""

    stack: str
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs. Raises Unreachable when there is no such stack."""
        if not self.stack:
            raise Unreachable("--stack is empty.")
        try:
            [found] = self.cloudformation.describe_stacks(StackName=self.stack)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            meta = self.cloudformation.meta
            where = meta.endpoint_url if self._is_elsewhere else meta.region_name
            raise Unreachable(
                f"There is no stack {self.stack!r} in {where}. Deploy it (docs/deploy.md; locally `make up`), or"
                " name another with --stack, --region or --profile."
            ) from None
        outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
        if "LedgerTableName" not in outputs:
            raise Unreachable(
                f"The stack {self.stack!r} is {found['StackStatus']}: it is no Backdrop that is deployed."
            )
        return outputs

    @cached_property
    def settings(self) -> Settings:
        """What the functions run with, from the configuration of ReplaceBackgroundFunction."""
        found = self.functions.get_function_configuration(FunctionName=self.outputs["ReplaceBackgroundFunctionName"])
        try:
            return Settings.from_environment(found["Environment"]["Variables"])
        except NotConfigured as error:
            raise Unreachable(f"The stack {self.stack!r} is not configured as its functions need it: {error}") from None

    @cached_property
    def clock(self) -> Clock:
        """The time, as this machine and AWS see it."""
        return Clock()

    @cached_property
    def storage(self) -> Storage:
        """The input bucket."""
        return Storage(self.s3)

    @cached_property
    def result_storage(self) -> ResultStorage:
        """The output bucket."""
        return ResultStorage(self.s3, self.settings.output_bucket)

    @cached_property
    def prompts(self) -> FolderPrompts:
        """What the bucket's prompt.txt say."""
        return FolderPrompts(self.storage, self.clock)

    @cached_property
    def ledger(self) -> Ledger:
        """One upload's record at a time."""
        return Ledger(self.dynamodb, self.settings.ledger_table, self.clock)

    @cached_property
    def records(self) -> Records:
        """Many uploads' records at once."""
        return Records(self.dynamodb, self.settings.ledger_table, self.clock)

    @cached_property
    def batches(self) -> Batches:
        """What was submitted together."""
        return Batches(self.dynamodb, self.settings.ledger_table, self.clock)

    @cached_property
    def queues(self) -> Queues:
        """What waits and what failed."""
        return Queues(self.sqs, self.settings.retry_queue_url, self.settings.dead_letter_queue_url)

    @cached_property
    def s3(self) -> "S3Client":
        """For photos and results."""
        return self._session.client("s3", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def s3_once(self) -> "S3Client":
        """For photos and results; sends nothing a second time by itself."""
        once = self._config.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
        return self._session.client("s3", endpoint_url=self.endpoint_url, config=once)

    @cached_property
    def sqs(self) -> "SQSClient":
        """For the queues."""
        return self._session.client("sqs", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """For the ledger; its answers set the clock."""
        client = self._session.client("dynamodb", endpoint_url=self.endpoint_url, config=self._config)
        client.meta.events.register(
            "after-call.dynamodb", lambda http_response, **_: self.clock.observe(http_response.headers.get("date"))
        )
        return client

    @cached_property
    def ssm(self) -> "SSMClient":
        """For the gateway's key."""
        return self._session.client("ssm", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def sts(self) -> "STSClient":
        """For `caller`."""
        return self._session.client("sts", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def caller(self) -> str:
        """The ARN of whoever works with the stack. Takes no permission."""
        return self.sts.get_caller_identity()["Arn"]

    @cached_property
    def functions(self) -> "LambdaClient":
        """For the functions and their settings."""
        return self._session.client("lambda", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def functions_once(self) -> "LambdaClient":
        """Waits for a function as long as one may take, and invokes it once."""
        once = self._config.merge(
            Config(read_timeout=FUNCTION_SECONDS, retries={"mode": "standard", "total_max_attempts": 1})
        )
        return self._session.client("lambda", endpoint_url=self.endpoint_url, config=once)

    @cached_property
    def logs(self) -> "CloudWatchLogsClient":
        """For what the functions logged."""
        return self._session.client("logs", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def cloudformation(self) -> "CloudFormationClient":
        """For the stack's outputs."""
        return self._session.client("cloudformation", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session(profile_name=self.profile, region_name=self.region)

    @property
    def _is_elsewhere(self) -> bool:
        """Whether an emulator answers in place of AWS; boto3 reads the environment by itself."""
        return bool(self.endpoint_url or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3"))

    @cached_property
    def _config(self) -> Config:
        return Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 5},
            max_pool_connections=THREADS,
            s3={"addressing_style": "path" if self._is_elsewhere else "auto"},  # an emulator knows path style only
        )


@contextmanager
def explained() -> Iterator[None]:
    """What AWS refuses, in words that say what to do: raised as Unreachable."""
    try:
        yield
    except NoCredentialsError:
        raise Unreachable(
            f"There are no AWS credentials. Log in as for the AWS CLI, or use --profile.\n{_LOCAL}"
        ) from None
    except NoRegionError:
        raise Unreachable(f"There is no AWS region. Set AWS_DEFAULT_REGION, or use --region.\n{_LOCAL}") from None
    except ProfileNotFound as error:
        raise Unreachable(f"{error}. `aws configure list-profiles` shows those that there are.") from None
    except ConnectionError as error:
        raise Unreachable(f"{error}\nIs the network there? Locally: does the stack of `make up` run?") from None
    except ClientError as error:
        said = error.response["Error"]
        raise Unreachable(f"AWS refuses {error.operation_name}: {said['Code']}: {said.get('Message', '')}") from None
    except BotoCoreError as error:
        raise Unreachable(str(error)) from None
    except ResponseParserError:
        raise Unreachable("What answers there is not AWS. Is --endpoint-url right? Is a proxy in between?") from None
    except ValueError as error:
        if not re.search("Invalid endpoint|Port out of range", str(error)):
            raise
        raise Unreachable(f"{error}. It has to be a URL, as in http://127.0.0.1:4566.") from None
