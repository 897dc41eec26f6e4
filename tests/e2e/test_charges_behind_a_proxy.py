"""A proxy that loses every third answer after the gateway has charged, before the deployed local stack's gateway.

Row 69. Second opinion: a proxy with a short time-out made three charges for one upload, and a day's limit of 5 let 12
through.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backdrop.clock import utc_day
from backdrop.pace_item import PACE_ID
from tests.e2e.deployed import Deployed, another
from tests.e2e.lossy_proxy import LossyProxy, lossy_proxy
from tools.polling import until

PHOTO = (Path(__file__).parents[2] / "tools" / "samples" / "lamp.webp").read_bytes()
LIMIT = 30


@pytest.fixture
def proxy(deployed: Deployed) -> Iterator[LossyProxy]:
    with lossy_proxy(deployed.gateway.base_url) as proxy:
        yield proxy


def pace_item(stack: Deployed) -> dict[str, Any]:
    answer = stack.dynamodb.get_item(
        TableName=stack.stack.outputs["LedgerTableName"], Key={"id": {"S": PACE_ID}}, ConsistentRead=True
    )
    return {name: next(iter(value.values())) for name, value in answer.get("Item", {}).items()}


def test_two_hundred_uploads_before_a_gateway_that_honours_keys_are_charged_once_each(
    deployed: Deployed, proxy: LossyProxy
) -> None:
    shop = another(deployed.stack, "proxied", GatewayBaseUrl=proxy.base_url)
    for number in range(200):
        shop.put(f"{number}.jpg", PHOTO, prompt="wood")
    shop.until_finished(200, seconds=240)

    charged = Counter(charge["idempotency_key"] for charge in shop.gateway.charges())
    assert proxy.lost.total() >= 90
    assert sorted(charged.values()) == [1] * 200
    assert len(shop.results()) == 200
    assert shop.dead_letters() == []


def test_before_a_gateway_that_knows_no_keys_charges_never_pass_the_days_limit(
    deployed: Deployed, proxy: LossyProxy
) -> None:
    deployed.gateway.settings(honours_idempotency_keys=False)
    shop = another(deployed.stack, "limited", GatewayBaseUrl=proxy.base_url, DailyImageLimit=str(LIMIT))
    for number in range(40):
        shop.put(f"{number}.jpg", PHOTO, prompt="wood")

    def used_up() -> bool:
        """Whether each upload is done, or has been turned away since the day is full."""
        records = shop.records()
        return len(records) == 40 and all(
            record["state"] == "DONE" or int(record.get("images_later", 0)) > 0 for record in records
        )

    until("the end of the day's images", used_up, seconds=150, every=0.5)
    charges = shop.gateway.charges()
    assert max(Counter(utc_day(charge["at"]) for charge in charges).values()) <= LIMIT
    assert len(charges) <= int(pace_item(shop)["images"]) == LIMIT
    assert len(shop.results()) == len(charges) - proxy.lost.total() > 0
    assert shop.dead_letters() == []
    until("a message for each upload that waits", lambda: shop.waiting() == 40 - len(shop.results()), seconds=30)

    shop.sqs.purge_queue(QueueUrl=shop.stack.outputs["RetryQueueUrl"])  # its uploads would go on looking
