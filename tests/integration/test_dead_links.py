"""A presigned link dies with the session of the role that signed it, at any age.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html
"""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.integration.harness import Harness

EXPIRED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>ExpiredToken</Code>'
    b"<Message>The provided token has expired.</Message></Error>"
)
SIGNATURE = "X-Amz-Expires=3600&X-Amz-Security-Token=IQoJb3%2F{session}&X-Amz-Signature=" + "0a" * 32


class StandInS3:
    """Serves the photo by links of the current session, and answers as S3 does to those of a session that is over."""

    def __init__(self, photo: bytes) -> None:
        self.session = 1
        self.is_down = False
        self.asked = 0
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stand_in.asked += 1
                is_alive = f"%2F{stand_in.session}&" in self.path
                self.send_response(503 if stand_in.is_down else 200 if is_alive else 400)
                body = photo if is_alive and not stand_in.is_down else EXPIRED
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def link(self, *_: Any, **__: Any) -> str:
        signature = SIGNATURE.format(session=self.session)
        return f"http://127.0.0.1:{self.server.server_port}/in/a.jpg?versionId=1&{signature}"


@pytest.fixture
def s3(harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInS3]:
    stand_in = StandInS3(photo)
    monkeypatch.setattr(harness.services.storage, "link", stand_in.link)
    threading.Thread(target=stand_in.server.serve_forever, daemon=True).start()
    yield stand_in
    stand_in.server.shutdown()
    stand_in.server.server_close()


def keys(harness: Harness) -> list[str]:
    return [call["idempotency_key"] for call in harness.gateway.calls()]


@pytest.mark.parametrize("age", [0, 3500, 3700])
def test_row_85_a_replay_whose_link_died_with_its_session_is_no_rejection_of_the_photo(
    harness: Harness, photo: bytes, s3: StandInS3, age: float
) -> None:
    harness.gateway.faults([{"kind": "drop"}])  # not charged, and no answer
    harness.upload("a.jpg", photo, prompt="wood")

    s3.session = 2
    harness.advance(age)
    harness.drain()

    first, second, third = keys(harness)
    assert first == second != third
    assert (harness.charged(), harness.dead_letters(), list(harness.outputs())) == (1, [], ["a.jpg.png"])


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_refused_replay_whose_link_works_is_about_the_photo(
    harness: Harness, photo: bytes, s3: StandInS3, status: int
) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": status}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["rejected_by_gateway"]
    assert (len(set(keys(harness))), harness.charged()) == (1, 1)


def test_as_long_as_s3_does_not_say_whether_the_link_works_the_same_call_is_sent(
    harness: Harness, photo: bytes, s3: StandInS3
) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 400, "times": 2}])
    harness.upload("a.jpg", photo, prompt="wood")
    s3.is_down = True

    harness.drain()

    assert (len(keys(harness)), len(set(keys(harness))), harness.charged()) == (4, 1, 1)
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_dead_link_answered_403_is_no_rejection_of_the_photo(harness: Harness, photo: bytes, s3: StandInS3) -> None:
    """Some gateways pass on what the photo's host answered."""
    harness.gateway.faults([{"kind": "drop"}, {"kind": "status", "status": 403, "times": 3}])
    harness.upload("a.jpg", photo, prompt="wood")
    s3.session = 2

    for number in range(4):  # others get through meanwhile, so it is no fault of the account
        harness.drain(seconds=20)
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    harness.drain()

    assert harness.dead_letters() == []
    assert len(harness.outputs()) == 5


def test_only_s3_is_asked_whatever_a_prompt_holds(harness: Harness, photo: bytes, s3: StandInS3) -> None:
    other = StandInS3(photo)
    threading.Thread(target=other.server.serve_forever, daemon=True).start()
    harness.gateway.faults([{"kind": "drop"}, {"kind": "status", "status": 400, "times": 1}])

    harness.upload("a.jpg", photo, prompt=f"as in {other.link()}")
    harness.drain()

    assert (other.asked, s3.asked > 0) == (0, True)
    other.server.shutdown()
    other.server.server_close()
