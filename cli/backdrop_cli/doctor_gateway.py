"""What `backdrop doctor` finds at the gateway: its key, wallet and model, by questions that cost nothing."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote as percent_encoded

import httpx
from botocore.exceptions import ClientError

from backdrop.gateway import is_key
from backdrop.routes import ROUTES
from backdrop_cli.deployment import Deployment
from backdrop_cli.doctor_finding import Finding
from backdrop_cli.page import counted, dollars

GATEWAY_SECONDS = 10.0
LOW_WALLET_IMAGES = 100


class Gateway:
    """The gateway's documented questions that cost nothing."""

    def __init__(self, base_url: str, key: str) -> None:
        self._client = httpx.Client(
            base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=GATEWAY_SECONDS, trust_env=False
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of a GET; status 0 when there was no answer."""
        try:
            answer = self._client.get(path)
            content = answer.json()
        except httpx.HTTPError:
            return 0, {}
        except ValueError:
            return answer.status_code, {}
        return answer.status_code, content if isinstance(content, dict) else {}


def gateway_findings(deployment: Deployment) -> Iterator[Finding]:
    """One question after the other; the first that can't be asked is the last."""
    key = _key(deployment)
    if isinstance(key, Finding):
        yield key
        return
    with closing(Gateway(deployment.settings.gateway_base_url, key)) as gateway:
        wallet = _wallet(deployment, *gateway.ask("/balance"))
        yield wallet
        if wallet.what == "key":
            return
        yield from _model(deployment, gateway)


def _key(deployment: Deployment) -> str | Finding:
    name = deployment.settings.gateway_api_key_parameter
    try:
        key = deployment.ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"].strip()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "ParameterNotFound":
            return Finding("key", "fault", f"there is no SSM parameter {name}", "Put it there (docs/deploy.md).")
        return Finding("key", "doubt", f"you can't read {name} ({code})", "Ask somebody who may ssm:GetParameter it.")

    if not is_key(key):
        return Finding("key", "fault", f"what {name} holds is no key", "Put a valid one there.")
    return key


def _wallet(deployment: Deployment, status: int, content: dict[str, Any]) -> Finding:
    name, settings = deployment.settings.gateway_api_key_parameter, deployment.settings
    if status == 0:
        return Finding("key", "fault", f"{settings.gateway_base_url} doesn't answer", "Is GatewayBaseUrl right?")
    if status in (401, 403):
        return Finding("key", "fault", f"the gateway refuses it ({status})", f"Put a valid one into {name}.")
    balance = content.get("balance_usd")
    if status != 200 or not isinstance(balance, int | float):
        return Finding(
            "wallet", "doubt", f"the gateway doesn't say what is in it (status {status})", "Look it up there."
        )
    price = float(settings.price_per_image_usd)
    text = f"{dollars(balance)}, key accepted"
    if balance < price:
        return Finding("wallet", "fault", text, "Fill it: nothing can be bought, and all uploads wait.")
    if price and balance < LOW_WALLET_IMAGES * price:
        return Finding("wallet", "doubt", text, f"Enough for {counted(int(balance / price), 'image')}.")
    return Finding("wallet", "ok", text)


def _model(deployment: Deployment, gateway: Gateway) -> Iterator[Finding]:
    model, route = deployment.settings.gateway_model, deployment.settings.gateway_route
    status, schema = gateway.ask(f"/models/{percent_encoded(model, safe='/')}/schema")
    if status == 404:
        yield Finding("model", "fault", f"the gateway doesn't know {model}", "Correct GatewayModel.")
        return
    if status != 200:
        yield Finding("model", "doubt", f"no schema of it (status {status})", "Buy one image: doctor --buy-one.")
        return
    yield Finding("model", "ok", f"{model} is known")
    endpoint, field = ROUTES[route].path, ROUTES[route].photo_field
    said = str(schema.get("endpoint", ""))
    if not said.endswith(endpoint):
        known = [name for name, each in ROUTES.items() if said.endswith(each.path)]
        do = f"Deploy with GatewayRoute={known[0]}." if known else "Buy one image: doctor --buy-one."
        yield Finding("route", "fault" if known else "doubt", f"{route}, but the schema says {said or 'nothing'}", do)
        return
    if not _names(schema, field):
        yield Finding("route", "doubt", f"{route}: the schema doesn't name {field}", "Buy one image: doctor --buy-one.")
        return
    yield Finding("route", "ok", f"{route}: {endpoint} with {field}, as the schema says")


def _names(schema: Any, field: str) -> bool:
    """Whether a field's name is anywhere in the schema; what it looks like is not documented."""
    if isinstance(schema, dict):
        return any(name == field or _names(value, field) for name, value in schema.items())
    if isinstance(schema, list):
        return any(_names(value, field) for value in schema)
    return bool(schema == field)
