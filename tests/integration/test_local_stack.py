"""Emulator and stand-in gateway, started but not deployed to."""

import socket
from pathlib import Path

import pytest

from tools.local_stack import LocalStack, LocalStackError


def test_stacks_start_side_by_side_on_ports_that_are_free(tmp_path: Path) -> None:
    stacks = [LocalStack(tmp_path / name) for name in ("one", "another")]
    try:
        for stack in stacks:
            stack.start()
        for number, stack in enumerate(stacks):
            stack.client("s3").create_bucket(Bucket=f"of-{number}")
            stack.gateway.settings(wallet_usd=number)

        assert [[bucket["Name"] for bucket in stack.client("s3").list_buckets()["Buckets"]] for stack in stacks] == [
            ["of-0"],
            ["of-1"],
        ]
        assert [stack.gateway.settings()["wallet_usd"] for stack in stacks] == [0, 1]
    finally:
        assert [stack.stop() for stack in stacks] == [True, True]
    assert not any(stack.is_running for stack in stacks)


def test_a_port_that_has_to_be_it_but_is_in_use_is_named_and_nothing_is_left_running(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        stack = LocalStack(tmp_path, gateway_port=port)

        with pytest.raises(LocalStackError, match=f"gateway can't listen on port {port}: .*`make down`"):
            stack.start()

    assert not stack.is_running


def test_what_is_set_for_another_aws_does_not_get_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    stack = LocalStack(tmp_path)
    stack.start()
    try:
        stack.client("s3").create_bucket(Bucket="here")
    finally:
        stack.stop()
