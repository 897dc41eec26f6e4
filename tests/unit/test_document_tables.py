"""What the documents list and the code knows, too, is the same in both."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from cfnlint.decode.cfn_yaml import load as load_yaml

from backdrop.failure_codes import FailureCode
from backdrop.states import State
from backdrop_cli.commands import cli
from tools.command_line_page import PAGE, commands, explained, with_help
from tools.failure_codes_table import PAGE as codes_page
from tools.failure_codes_table import with_table
from tools.translated import TEMPLATE

ROOT = TEMPLATE.parent
LONGEST_README = 150  # lines
SECTIONS_OF_README = [
    *("Try it", "What it protects you from", "Deploy", "Upload once", "Command line", "Cost", "Not verified", "More")
]


def text_of(document: str) -> str:
    return (ROOT / document).read_text()


def documents() -> list[Path]:
    return sorted(path for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md"))


def rows(document: str, head: str) -> list[list[str]]:
    """The cells of the table whose first line begins with `head`."""
    _, found, rest = text_of(document).partition(f"\n{head}")
    assert found, f"{document} has no table {head}"
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def resources() -> dict[str, Any]:
    found: dict[str, Any] = load_yaml(str(TEMPLATE))["Resources"]
    return found


def test_readme_is_short_and_in_the_order_of_a_newcomers_questions() -> None:
    readme = text_of("README.md")
    assert len(readme.splitlines()) <= LONGEST_README
    assert re.findall(r"^## (.+)$", readme, re.M) == SECTIONS_OF_README
    assert "`make demo`" in readme
    assert "`make test`" in readme


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text_of("README.md"))}
    pages = {str(path.relative_to(ROOT)) for path in documents()} - {"README.md"}
    assert pages - linked == set()


def test_parameters_are_those_of_the_template_with_its_defaults() -> None:
    parameters = load_yaml(str(TEMPLATE))["Parameters"]
    listed = {quoted(name)[0]: default for name, default, _ in rows("docs/deploy.md", "| parameter | default |")}
    defaults = {name: str(part["Default"]) for name, part in parameters.items()}
    assert listed == {name: f"`{default}`" if default else "empty" for name, default in defaults.items()}


def test_outputs_are_those_of_the_template() -> None:
    listed = [name for cells in rows("docs/deploy.md", "| output |") for name in quoted(cells[0])]
    assert sorted(listed) == sorted(load_yaml(str(TEMPLATE))["Outputs"])


def test_alarms_are_those_of_the_template() -> None:
    listed = [name for cells in rows("docs/operate.md", "| alarm |") for name in quoted(cells[0])]
    alarms = [part["Properties"] for part in resources().values() if part["Type"] == "AWS::CloudWatch::Alarm"]
    assert sorted(f"${{AWS::StackName}}-{name}" for name in listed) == sorted(
        alarm["AlarmName"]["Fn::Sub"] for alarm in alarms
    )


def test_table_of_failure_codes_is_that_of_the_code() -> None:
    """`make help-page` writes it anew."""
    page = codes_page.read_text()
    assert with_table(page) == page
    listed = [code for cells in rows("docs/failures.md", "| code | billed |") for code in quoted(cells[0])]
    assert listed == list(FailureCode)


def test_every_failure_code_is_given_by_the_application() -> None:
    code = "".join(path.read_text() for path in (ROOT / "layers/backdrop/python/backdrop").glob("*.py"))
    assert [name for name in FailureCode.__members__ if f"FailureCode.{name}" not in code] == []


def test_states_are_those_of_the_ledger() -> None:
    listed = [state for cells in rows("docs/failures.md", "| state |") for state in quoted(cells[0])]
    assert sorted(listed) == sorted(State)


def test_page_of_the_command_line_has_every_command_with_the_help_of_today() -> None:
    """`make help-page` writes it anew."""
    page = PAGE.read_text()
    assert explained(page) == {"backdrop", *(f"backdrop {name}" for name in commands())}
    assert with_help(page) == page


def options_of(command: click.Command) -> set[str]:
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help", "-h"}


def test_every_option_that_the_page_of_the_command_line_names_exists() -> None:
    known = set().union(*map(options_of, commands().values()), {"--from"})  # uvx's
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE.read_text())) - known == set()


def own_commands(text: str) -> Iterator[tuple[str, set[str]]]:
    """Name and options of every call of `backdrop` in the shell blocks of a document."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.M | re.S):
        for name, rest in re.findall(r"(?<![\w/.-])(?:\S*/)?backdrop ([a-z]+)([^\n|>;&]*)", block.replace("\\\n", " ")):
            yield name, set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest))


def test_every_help_ends_with_two_examples_that_can_be_typed() -> None:
    for name, command in commands().items():
        lines = (command.epilog or "").splitlines()[2:]
        assert len(lines) == 2, name
        for line in lines:
            [(called, options)] = own_commands(f"```sh\n{line.strip()}\n```\n")
            assert line.strip().startswith(f"backdrop {name}")
            assert (called, options - options_of(command)) == (name.partition(" ")[0], set())


@pytest.mark.parametrize("document", [str(path.relative_to(ROOT)) for path in documents()])
def test_commands_of_backdrop_and_make_in_a_document_exist(document: str) -> None:
    text = text_of(document)
    unknown = []
    for name, options in own_commands(text):
        if name not in cli.commands:
            unknown.append(f"backdrop {name}")
        else:
            unknown += [f"backdrop {name} {option}" for option in options - options_of(cli.commands[name])]
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of("Makefile"), re.M))
    called = re.findall(r"(?:`|^ *|&& )make ([a-z0-9-]+)(?=`|$| )", text, re.M)
    assert (unknown, set(called) - targets) == ([], set())


def test_commands_of_backdrop_are_found_in_shell_blocks() -> None:
    text = "```sh\n.venv/bin/backdrop submit a \\\n  --to b --wait | cat --no\nuv run backdrop status\n```\n"
    assert list(own_commands(text)) == [("submit", {"--to", "--wait"}), ("status", set())]
