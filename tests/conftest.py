from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests want said, however many processes they ran in."""
    said = [
        f"{report.nodeid.rpartition('::')[2]}: {text}"
        for report in terminalreporter.getreports("passed")
        for name, text in report.user_properties
        if name == "summary"
    ]
    if said:
        terminalreporter.section("what was tried")
        for line in said:
            terminalreporter.write_line(line)
