"""What the documents tell people to type and to open is there, and their tables are those of the code."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from botocore.exceptions import UnknownServiceError
from cfnlint.decode.cfn_yaml import load as load_yaml

from tools.translated import TEMPLATE

ROOT = TEMPLATE.parent
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md"))
GLOBAL_OPTIONS = {"query", "output", "endpoint-url", "region", "profile", "cli-read-timeout"}
# What the AWS CLI knows beyond the services' operations.
OWN_COMMANDS = {
    ("s3", "cp"): {"metadata", "metadata-directive", "recursive"},
    ("s3", "ls"): {"recursive"},
    ("cloudformation", "deploy"): {"stack-name", "template-file", "parameter-overrides", "capabilities"},
    ("sns", "subscribe"): {"topic-arn", "protocol", "notification-endpoint"},  # its Endpoint would be --endpoint
}
UNNAMED_MODULES = {"clock.py", "errors.py", "http_client.py", "invocation.py", "log.py"}
"""Those that no row of CONTRIBUTING's table needs."""


@cache
def defined_in(path: Path) -> list[str]:
    """The tests of a file."""
    return re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)


def blocks(text: str) -> list[str]:
    """The shell commands of a document."""
    return re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[tuple[str, str, set[str]]]:
    """Service, operation and options of every call of the AWS CLI, also of those inside another's arguments."""
    for found in re.finditer(r"(?<![\w./-])aws ([a-z0-9][\w-]*) ([a-z][\w-]*)(?: ([a-z][\w-]*))?", text):
        service, operation, waiter = found.groups()
        is_wait = operation == "wait"
        options = set(re.findall(r"(?<!\S)--([a-z][a-z-]*)", own_text(text, found.end(2))))
        yield service, f"wait {waiter}" if is_wait else operation, options - GLOBAL_OPTIONS


def own_text(text: str, start: int) -> str:
    """A command from `start` to its end, without what is in quotes or in `$(…)`."""
    inside: list[str] = []
    kept = []
    at = start
    while at < len(text):
        here = text[at]
        innermost = inside[-1] if inside else ""
        if innermost == "'":
            if here == "'":
                inside.pop()
        elif here == "\\":
            at += 1
        elif here == innermost == '"' or (here == ")" and innermost == "("):
            inside.pop()
        elif here == '"' or (here == "'" and innermost != '"') or (here == "(" and innermost == "("):
            inside.append(here)
        elif text.startswith("$(", at):
            inside.append("(")
            at += 1
        elif not inside and here in "\n|;&<>)":
            break
        elif not inside:
            kept.append(here)
        at += 1
    return "".join(kept)


@cache
def known(service: str) -> dict[str, set[str]]:
    """The options of a service's operations and waiters, by name, as the AWS CLI spells them."""
    session = botocore.session.get_session()
    name = "s3" if service == "s3api" else service
    model = session.get_service_model(name)
    options = {}
    for operation in model.operation_names:
        shape: Any = model.operation_model(operation).input_shape
        members = shape.members if shape else ()
        options[xform_name(operation, "-")] = {xform_name(member, "-") for member in members}
    try:
        waiters = session.get_waiter_model(name)
    except (UnknownServiceError, ValueError):
        return options
    for waiter in waiters.waiter_names:
        waited_for = xform_name(waiters.get_waiter(waiter).operation, "-")
        options[f"wait {xform_name(waiter, '-')}"] = options[waited_for]
    return options


def test_commands_of_the_aws_cli_are_found_in_the_documents() -> None:
    texts = {name: (ROOT / name).read_text() for name in DOCUMENTS}
    found = {name: sum(1 for block in blocks(text) for _ in commands(block)) for name, text in texts.items()}
    assert found["docs/runbook.md"] > 30
    assert found["docs/deploy.md"] > 5


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_option_of_the_aws_cli_exists(document: str) -> None:
    called = [command for block in blocks((ROOT / document).read_text()) for command in commands(block)]
    wrong = []
    for service, operation, options in called:
        takes = OWN_COMMANDS.get((service, operation)) or known(service).get(operation)
        if takes is None:
            wrong.append(f"aws {service} {operation}")
        else:
            wrong += [f"aws {service} {operation} --{option}" for option in options - takes]
    assert wrong == []


def test_the_aws_cli_waits_as_long_as_the_function_that_it_invokes_may_take() -> None:
    """After a minute it would invoke it once more."""
    functions = load_yaml(str(TEMPLATE))["Resources"].values()
    longest = max(each["Properties"].get("Timeout", 0) for each in functions if "Function" in each["Type"])
    invoked = [
        line for name in DOCUMENTS for line in (ROOT / name).read_text().splitlines() if "aws lambda invoke" in line
    ]
    waits = [int(found[1]) if (found := re.search(r"--cli-read-timeout (\d+)", line)) else 60 for line in invoked]
    assert waits
    assert min(waits) > longest >= 600


def test_pages_that_lead_the_aws_cli_to_the_local_stack_say_what_older_ones_need() -> None:
    pages = [name for name in DOCUMENTS if re.search(r"^export AWS_ENDPOINT_URL", (ROOT / name).read_text(), re.M)]
    assert pages
    assert [name for name in pages if "`--endpoint-url" not in (ROOT / name).read_text()] == []


def test_commands_are_found_in_others_arguments_and_past_quotes() -> None:
    text = """f() { aws sqs send-message --queue-url "$(aws sqs get-queue-url --queue-name 'a; b')" \\
      --query 'x | --no' --message-body "$1"; } && aws --endpoint-url here s3 ls
    aws cloudformation wait stack-exists --stack-name x | aws s3 cp a b --recursive > --file"""
    assert list(commands(text)) == [
        ("sqs", "send-message", {"queue-url", "message-body"}),
        ("sqs", "get-queue-url", {"queue-name"}),
        ("cloudformation", "wait stack-exists", {"stack-name"}),
        ("s3", "cp", {"recursive"}),
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_shell_block_can_be_parsed(document: str) -> None:
    for block in blocks((ROOT / document).read_text()):
        done = subprocess.run(["sh", "-n"], input=block, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), block


def test_every_alarm_has_its_section_and_every_section_its_alarm() -> None:
    resources = load_yaml(str(TEMPLATE))["Resources"].values()
    alarms = [part["Properties"]["AlarmName"] for part in resources if part["Type"] == "AWS::CloudWatch::Alarm"]
    # Other sections begin with a capital dead_letter.
    sections = re.findall(r"^## ([a-z-]+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert sorted(f"${{AWS::StackName}}-{section}" for section in sections) == sorted(
        name["Fn::Sub"] for name in alarms
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    path = ROOT / document
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if heading:
            assert heading in headings(target), link


def headings(path: Path) -> set[str]:
    """As GitHub makes anchors of them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_files_that_contributing_says_to_change_exist() -> None:
    [section] = re.findall(
        r"^## Where to change what$(.*?)(?:^## |\Z)", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S
    )
    modules = ROOT / "layers/backdrop/python/backdrop"
    named = set(re.findall(r"`([\w/<>.-]+\.(?:py|yaml|toml|md))`", section)) - {"functions/<name>/app.py"}
    assert {name for name in named if not any((folder / name).exists() for folder in (ROOT, modules))} == set()
    assert {path.name for path in modules.glob("*.py")} - named <= UNNAMED_MODULES


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if each != "CHANGELOG.md"])
def test_every_test_that_is_named_exists(document: str) -> None:
    files = [path.stem for path in (ROOT / "tests").rglob("test_*.py")]
    tests = {*files, *(name for path in (ROOT / "tests").rglob("*.py") for name in defined_in(path))}
    named = set(re.findall(r"`(test_\w+)(?:\.py)?`", (ROOT / document).read_text()))
    assert named - tests == set()


def test_what_is_kept_can_be_imported_as_the_page_on_deploying_says() -> None:
    resources = load_yaml(str(TEMPLATE))["Resources"]
    kept = {name: part for name, part in resources.items() if part.get("DeletionPolicy") == "RetainExceptOnCreate"}
    imported = load_yaml(str(ROOT / "docs/kept.yaml"))["Resources"]
    assert imported.keys() == kept.keys()
    for name, part in imported.items():
        assert part["Type"] == kept[name]["Type"]
        assert part["DeletionPolicy"] == "Retain"
        assert part["Properties"].items() <= kept[name]["Properties"].items()
        if part["Type"] == "AWS::DynamoDB::Table":  # it refuses to switch on what is on
            assert part["Properties"] == kept[name]["Properties"]
        [identifier] = [key for key in part["Properties"] if key.endswith("Name")]
        line = rf"ResourceType={part['Type']},LogicalResourceId={name},ResourceIdentifier={{{identifier}=backdrop-"
        assert line in (ROOT / "docs/deploy.md").read_text()
