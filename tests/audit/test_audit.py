"""`make audit` fails when it must. Needs `.venv-audit` and the translated template, which it makes."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode.cfn_yaml import load

from tools import audit
from tools.translated import TEMPLATE

TRANSLATED = audit.ROOT / ".local" / "translated.json"


def test_checkov_sees_a_wildcard_and_a_public_bucket_in_both_templates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, after = tmp_path / "source.json", tmp_path / "translated.json"
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for path, template in ((source, load(str(TEMPLATE))), (after, json.loads(TRANSLATED.read_text()))):
        resources = template["Resources"]
        resources["ProcessUploadsPolicy"]["Properties"]["PolicyDocument"]["Statement"].append(everything)
        del resources["OutputBucket"]["Properties"]["PublicAccessBlockConfiguration"]
        path.write_text(json.dumps(template))

    assert not audit.templates_are_safe(source, after)

    said = capsys.readouterr().out
    for check, resource in (("CKV_AWS_111", "ProcessUploadsPolicy"), ("CKV_AWS_54", "OutputBucket")):
        found = [part for part in said.split("Check: ") if part.startswith(check) and resource in part]
        assert [path.name for path in (source, after) if not any(path.name in part for part in found)] == []


def test_a_template_that_checkov_cannot_read_is_no_safe_one(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text("Resources: [")
    assert not audit.templates_are_safe(tmp_path / "template.yaml")


@contextmanager
def advisories(status: int, vulnerable: str = "") -> Iterator[str]:
    """A stand-in for the advisory database, which knows of a hole in one package."""
    hole = {"id": "GHSA-0000-0000-0000", "modified": "2026-01-01T00:00:00Z", "summary": "a hole"}
    range_ = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}
    affected = {"package": {"ecosystem": "PyPI", "name": vulnerable}, "ranges": [range_]}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            self.answer({"results": [{"vulns": [hole]} if q["package"]["name"] == vulnerable else {} for q in asked]})

        def do_GET(self) -> None:
            self.answer(hole | {"affected": [affected]})

        def answer(self, body: Any) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def _nothing_but_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(audit.BOUNDED_WAITS, "UV_HTTP_RETRIES", "0")


@pytest.mark.usefixtures("_nothing_but_loopback")
class TestDependencies:
    @pytest.mark.parametrize("package", ["httpx", "moto"])  # one that ships, one to test with
    def test_a_known_vulnerability_fails(self, package: str, capsys: pytest.CaptureFixture[str]) -> None:
        with advisories(200, package) as service:
            assert not audit.dependencies_are_sound(service)
        assert "GHSA-0000-0000-0000" in capsys.readouterr().out

    def test_no_known_vulnerability_passes(self, capsys: pytest.CaptureFixture[str]) -> None:
        with advisories(200) as service:
            assert audit.dependencies_are_sound(service)
        assert "no known vulnerabilities" in capsys.readouterr().out

    def test_a_database_that_is_away_or_out_of_order_fails_nothing_and_is_told_in_one_line(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with advisories(503) as service:
            assert audit.dependencies_are_sound(service)
        assert audit.dependencies_are_sound("http://127.0.0.1:9/")
        said = capsys.readouterr().out.splitlines()
        assert len(said) == 2
        assert all(line.startswith("NOT CHECKED") for line in said)

    def test_anything_else_that_goes_wrong_fails(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\nversion = "0"\n')
        with advisories(200) as service:
            assert not audit.dependencies_are_sound(service, tmp_path)


# Put together only here, or this file would be found out as well.
AWS_KEY = "AKIA" + "Q3EGRIDVJ5ZS7ZXN"
GATEWAY_KEY = "sk-" + "3f786850e387550fdab836ed7e6dc881"


def test_a_secret_is_found_whatever_file_it_is_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = {
        "call.py": f'client = connect("{GATEWAY_KEY}")',
        "aws.py": f'client = connect("{AWS_KEY}")',
        "template.yaml": f"Default: {GATEWAY_KEY}",
        "event.json": f'{{"key": "{GATEWAY_KEY}"}}',
        "README.md": f"Run `put-parameter --value {GATEWAY_KEY}` once.",
        "Makefile": f"up:\n\tKEY={AWS_KEY} run",
    }
    for name, text in planted.items():
        (tmp_path / name).write_text(text)
    assert not audit.files_keep_no_secret(tmp_path)
    said = capsys.readouterr().out
    assert [name for name in planted if f"{name}:" not in said] == []


def test_a_line_that_says_why_is_let_pass(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(f'KEY = "{GATEWAY_KEY}"  # pragma: allowlist secret - made up\n')
    assert audit.files_keep_no_secret(tmp_path)
