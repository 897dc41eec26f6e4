"""`python -m tools.audit`: unsafe settings in the template, dependencies with known vulnerabilities, secrets in files.

Needs the environment `.venv-audit` and the translated template, which `make audit` makes.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = ROOT / ".venv-audit" / "bin"
ADVISORIES = "https://api.osv.dev/"
BOUNDED_WAITS = {"UV_HTTP_TIMEOUT": "10", "UV_HTTP_CONNECT_TIMEOUT": "5", "UV_HTTP_RETRIES": "1", "UV_OFFLINE": "0"}

# What detect-secrets takes for a secret and isn't. A single line can also say so itself, behind its code:
# `# pragma: allowlist secret` and the reason.
NOT_SECRET = (
    r"^!Ref \w+$",  # the template names a parameter
    r"^test$",  # all that the local emulator asks for
    r"^word$",  # links with credentials in them, which tests see refused
    r"^AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a$",  # AWS's sample of a receipt handle, in JSON, which has no comments
)


def _run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True)


def templates_are_safe(*templates: Path) -> bool:
    """Whether checkov read the templates and objects to nothing that isn't skipped, with a reason, at its resource."""
    options = ("--framework", "cloudformation", "--skip-download", "--quiet", "--compact")
    done = _run(BIN / "checkov", *options, "--file", *templates)
    print(done.stdout + done.stderr)
    # It succeeds with templates that it can't read, too.
    read = "Parsing errors" not in done.stdout and re.search(r"Passed checks: [1-9]", done.stdout)
    return done.returncode == 0 and bool(read)


def dependencies_are_sound(service: str = ADVISORIES, project: Path = ROOT) -> bool:
    """Whether no vulnerability is known of what ships, or is tested with: True also if nobody could be asked.

    The SAM CLI and checkov are left out. They work on nothing but this project, and what they pin can't be fixed here.
    """
    command = ("audit", "--preview-features", "audit-command", "--frozen", "--no-group", "sam", "--no-group", "audit")
    done = _run(ROOT / ".local/uv/bin/uv", *command, "--service-url", service, cwd=project, **BOUNDED_WAITS)
    # 1 is a finding; 2 is anything else, and only what went wrong on the network names the service.
    if done.returncode == 2 and service in done.stderr:
        why = done.stderr.strip().splitlines()[-1].strip()
        print(f"NOT CHECKED: whether dependencies have known vulnerabilities. {service} can't be asked ({why}).")
        return True
    print(done.stdout + done.stderr)
    return done.returncode == 0


def _files(folder: Path) -> list[str]:
    """What git tracks, or, in a copy without git, everything outside dot-folders."""
    try:
        tracked = _run("git", "ls-files", "-z", cwd=folder).stdout.split("\0")[:-1]
    except OSError:
        tracked = []
    every = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return tracked or [str(path) for path in every if not any(part.startswith(".") for part in path.parts)]


def files_keep_no_secret(folder: Path = ROOT) -> bool:
    """Whether detect-secrets finds nothing in the files of a folder."""
    options = [
        "--no-verify",  # it would try keys out where they belong
        "--plugin",
        str(ROOT / "tools" / "gateway_key.py"),
        "--disable-plugin",
        "HexHighEntropyString",  # hashes, etags and ids
        "--disable-filter",
        "detect_secrets.filters.heuristic.is_indirect_reference",  # it lets `key = connect("<a key>")` pass
    ]
    for text in NOT_SECRET:
        options += ["--exclude-secrets", text]
    done = _run(BIN / "detect-secrets-hook", *options, *_files(folder), cwd=folder)
    print(done.stdout + done.stderr)
    return done.returncode == 0


def main() -> int:
    """The exit status: 0 if all is well."""
    with ThreadPoolExecutor() as pool:
        checks = [
            pool.submit(templates_are_safe, ROOT / "template.yaml", ROOT / ".local" / "translated.json"),
            pool.submit(dependencies_are_sound),
            pool.submit(files_keep_no_secret),
        ]
    return 0 if all(check.result() for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
