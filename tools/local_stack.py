"""The local stack: the real template on an AWS emulator, with a stand-in gateway beside it.

MiniStack runs the functions; the SAM CLI deploys into it as it does into AWS.
"""

import contextlib
import functools
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session

from tools.files import ROOT, SAMPLE_EVENT, SAMPLE_PHOTO, SAMPLE_PROMPT, TEMPLATE
from tools.processes import Processes
from tools.stand_in_gateway.server import KEY, GatewayControl

STACK_NAME = "backdrop"
KEY_PARAMETER = "/backdrop/gateway-api-key"

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
}
"""Of the local stack: presigned links are good with these only."""
# Every cold start costs about 0.6 CPU seconds here: without a cap, a burst of uploads would start as many workers.
_TRIGGER_WORKERS = 4
_RETRY_WORKERS = 8
_START_SECONDS = 60.0


class LocalStackError(Exception):
    """Something outside is in the way; the message says what and what to do."""


class LocalStack:
    """One emulator with one gateway; everything that it writes is under `home`.

    A port of 0 is any that is free when the stack is started.
    """

    def __init__(
        self,
        home: Path,
        emulator_port: int = 0,
        gateway_port: int = 0,
        build_folder: Path | None = None,
        template: Path = TEMPLATE,
    ) -> None:
        self.home = home
        self._template = template
        self._build_folder = build_folder or home / "build"
        self._ports = {"emulator": emulator_port, "gateway": gateway_port}
        self._processes = Processes(home)

    @property
    def endpoint_url(self) -> str:
        """The emulator's address."""
        return f"http://127.0.0.1:{self._ports['emulator']}"

    @property
    def gateway(self) -> GatewayControl:
        """The stand-in gateway."""
        return GatewayControl(f"http://127.0.0.1:{self._ports['gateway']}/v1")

    # Running

    @property
    def is_running(self) -> bool:
        """Whether a stack that was started with this home is alive."""
        return bool(self._processes.alive())

    def start(self, variables: dict[str, str] | None = None) -> None:
        """Start emulator and gateway and wait until both answer.

        `variables` are added to the emulator's environment. Raises LocalStackError when a port is in use or one of
        them doesn't come up.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        spawn = self._processes.spawn
        has_fixed_ports = all(self._ports.values())
        # The children inherit sockets that listen already: between choosing a port and using it, nobody can take it.
        # On loopback only: whoever reaches an emulator can run code in it.
        with contextlib.ExitStack() as held:
            listeners = {name: held.enter_context(_listener(name, port)) for name, port in self._ports.items()}
            self._ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
            emulator = self._emulator_variables() | (variables or {})
            spawn("emulator", ["tools.emulator"], environment(**emulator), listeners["emulator"])
            spawn("gateway", ["tools.stand_in_gateway", "--fd"], environment(), listeners["gateway"])
        if has_fixed_ports:  # which events/local_env.json names to containers
            spawn("bridge", ["tools.container_bridge", *map(str, self._ports.values())], environment())
        self._await("emulator", f"{self.endpoint_url}/_ministack/health")
        self._await("gateway", f"{self.gateway.base_url}/models")

    def _emulator_variables(self) -> dict[str, str]:
        return {
            "GATEWAY_PORT": str(self._ports["emulator"]),  # for the addresses that it hands out
            "LOG_LEVEL": "INFO",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "S3_DATA_DIR": str(self.home / "s3"),
            "TMPDIR": str(self._fresh_folder("tmp")),
        }

    def stop(self) -> bool:
        """End every process of the stack; False when there was none."""
        were_there = self._processes.stop()
        shutil.rmtree(self.home / "tmp", ignore_errors=True)
        return were_there

    def _await(self, name: str, url: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and name in self._processes.alive():
            try:
                with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own loopback address
                    return
            except urllib.error.HTTPError:
                return  # it answers
            except OSError:
                time.sleep(0.05)
        log = (self.home / f"{name}.log").read_text(errors="replace")
        self.stop()
        raise LocalStackError(f"The {name} did not come up. The end of its log:\n{log[-2000:]}")

    def _fresh_folder(self, name: str) -> Path:
        folder = self.home / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    # Deploying

    def deploy(self, **parameters: object) -> None:
        """Build and deploy the template with the SAM CLI, and put the gateway's key where it is looked for.

        Raises LocalStackError with the CLI's words when it fails.
        """
        self.client("ssm").put_parameter(Name=KEY_PARAMETER, Value=KEY, Type="SecureString", Overwrite=True)
        overrides = {"GatewayBaseUrl": self.gateway.base_url} | parameters
        build = self._build_folder
        self._sam("build", "--template-file", str(self._template), "--build-dir", str(build))
        parameters_file = self.home / "parameters.yaml"  # JSON, which YAML holds: no shell's or SAM's quotes
        parameters_file.write_text(json.dumps({name: str(value) for name, value in overrides.items()}))
        self._sam(
            "deploy",
            *("--template-file", str(build / "template.yaml"), "--stack-name", STACK_NAME),
            *("--parameter-overrides", f"file://{parameters_file}"),
        )
        self.__dict__.pop("outputs", None)
        self.correct_the_emulator()

    def _sam(self, *arguments: str) -> None:
        sam = ROOT / ".venv-sam" / "bin" / "sam"
        if not sam.exists():
            raise LocalStackError("The SAM CLI is not installed; `make setup` does it.")
        done = subprocess.run(
            [str(sam), *arguments, "--config-file", str(ROOT / "samconfig.toml")],
            cwd=ROOT,
            env=environment(AWS_ENDPOINT_URL=self.endpoint_url, SAM_CLI_TELEMETRY="0"),
            capture_output=True,
            text=True,
            check=False,
        )
        (self.home / f"sam-{arguments[0]}.log").write_text(done.stdout + done.stderr)
        if done.returncode:
            raise LocalStackError(f"`sam {arguments[0]}` failed:\n{(done.stdout + done.stderr)[-3000:]}")

    def correct_the_emulator(self) -> None:
        """What MiniStack 1.5 needs beyond what the template says; none of it is needed on AWS."""
        functions = self.client("lambda")
        retry = self.outputs["RetryFunctionName"]
        # A MaximumConcurrency that comes from a parameter arrives as text and stops the poller.
        for mapping in functions.list_event_source_mappings(FunctionName=retry)["EventSourceMappings"]:
            functions.update_event_source_mapping(
                UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": _RETRY_WORKERS}
            )
        for name, workers in {
            "ReplaceBackgroundFunctionName": _TRIGGER_WORKERS,
            "RetryFunctionName": _RETRY_WORKERS,
        }.items():
            functions.put_function_concurrency(FunctionName=self.outputs[name], ReservedConcurrentExecutions=workers)

    @functools.cached_property
    def outputs(self) -> dict[str, str]:
        """The deployed stack's outputs."""
        stack = self.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def client(self, service: str) -> Any:
        """A boto3 client for the emulator."""
        return _session().client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.endpoint_url,
            region_name=CREDENTIALS["AWS_REGION"],
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def put_sample(self) -> None:
        """Put the photo of events/s3_object_created.json into the input bucket, unnoticed by the deployed function.

        `sam local invoke` is to process it.
        """
        record = json.loads(SAMPLE_EVENT.read_text())["Records"][0]
        self.put_unnoticed(record["s3"]["object"]["key"], SAMPLE_PHOTO.read_bytes(), SAMPLE_PROMPT)

    def put_unnoticed(self, key: str, photo: bytes, prompt: str) -> None:
        """Upload without a notification, as if it had been lost."""
        s3, bucket = self.client("s3"), self.outputs["InputBucketName"]
        notifications = s3.get_bucket_notification_configuration(Bucket=bucket)
        notifications.pop("ResponseMetadata")
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=photo, Metadata={"prompt": prompt})
        finally:
            s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notifications)


@functools.cache
def _session() -> boto3.Session:
    """One that AWS_PROFILE means nothing to, which may name a profile that isn't there."""
    return boto3.Session(botocore_session=botocore.session.Session({"profile": (None, None, None, None)}))


def _listener(name: str, port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise LocalStackError(
            f"The {name} can't listen on port {port}: {os.strerror(error.errno or 0)}. Stop what listens there"
            " (`make down`, if it is an earlier Backdrop), then try again."
        ) from None


@contextlib.contextmanager
def with_iam_enforced(home: Path) -> Iterator[LocalStack]:
    """A stack on free ports whose emulator checks every call of the functions against their roles.

    It is started, not deployed yet, and stopped at the block's end.
    """
    home.mkdir(parents=True, exist_ok=True)
    # The emulator is reached by plain http, which the template's buckets and queues refuse. The copy's refuse TLS.
    text = TEMPLATE.read_text().replace('aws:SecureTransport: "false"', 'aws:SecureTransport: "true"')
    template = home / "template.yaml"
    template.write_text(re.sub(r"\b(CodeUri|ContentUri): ", lambda found: f"{found[0]}{ROOT}/", text))
    stack = LocalStack(home, template=template)
    stack.start({"AUTH": "true"})
    try:
        yield stack
    finally:
        stack.stop()


def environment(**more: str) -> dict[str, str]:
    """This process's, with the local stack's credentials in place of whatever else is set for AWS."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | CREDENTIALS | more
