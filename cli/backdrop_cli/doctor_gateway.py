"""What `backdrop doctor` finds at the gateway: its key, wallet and model, by questions that cost nothing."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote as percent_encoded

import httpx
from botocore.exceptions import ClientError

from backdrop.gateway import is_key
from backdrop.gateway_extras import photo_fields
from backdrop.routes import ROUTES
from backdrop_cli.deployment import Deployment
from backdrop_cli.doctor_finding import Finding
from backdrop_cli.doctor_keys import keys
from backdrop_cli.page import counted, dollars

GATEWAY_SECONDS = 10.0
LOW_WALLET_IMAGES = 100
BUY_ONE = "Buy one image: doctor --buy-one."


class Gateway:
    """The gateway's documented questions that cost nothing."""

    def __init__(self, base_url: str, key: str, extra_headers: Mapping[str, str]) -> None:
        headers = {**extra_headers, "Authorization": f"Bearer {key}"}
        self._client = httpx.Client(base_url=base_url, headers=headers, timeout=GATEWAY_SECONDS, trust_env=False)

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
    settings = deployment.settings
    with closing(Gateway(settings.gateway_base_url, key, settings.gateway_extra_headers)) as gateway:
        status, balance = gateway.ask("/balance")
        wallet = _wallet(deployment, status, balance)
        yield wallet
        if wallet.what == "key":
            return
        for found in _model(deployment, gateway):
            yield found
            if found.what == "key":
                return
        yield keys(deployment, is_documented="balance_usd" in balance)  # the AI Gateway's own


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
    model = deployment.settings.gateway_model
    status, schema = gateway.ask(f"/models/{percent_encoded(model, safe='/')}/schema")
    if status == 200:
        yield Finding("model", "ok", f"{model} is known")
        yield _route(deployment, schema)
        return
    if status == 404 and _code(schema) == "unknown_model":
        yield Finding("model", "fault", f"the gateway doesn't know {model}", "Correct GatewayModel.")
        return
    yield _listed(deployment, *gateway.ask("/models"))
    route = deployment.settings.gateway_route
    yield Finding("route", "doubt", f"{route}: this gateway has no schema that tells, only a purchase does", BUY_ONE)


def _listed(deployment: Deployment, status: int, content: dict[str, Any]) -> Finding:
    """What a gateway without schemas says of the model."""
    settings = deployment.settings
    if status in (401, 403):
        name = settings.gateway_api_key_parameter
        return Finding("key", "fault", f"the gateway refuses it ({status})", f"Put a valid one into {name}.")
    models = content.get("data")
    names = [str(each.get("id")) for each in models if isinstance(each, dict)] if isinstance(models, list) else []
    if settings.gateway_model in names:
        return Finding("model", "ok", f"{settings.gateway_model} is one of the {len(names)} that the gateway lists")
    if names:
        says = f"not among the {len(names)} that the gateway lists, which may not be all of them"
        return Finding("model", "doubt", says, f"Is GatewayModel={settings.gateway_model} right? {BUY_ONE}")
    return Finding("model", "doubt", f"the gateway has neither schemas nor a list of models (status {status})", BUY_ONE)


def _code(content: dict[str, Any]) -> str:
    error = content.get("error")
    return str(error.get("code", "")) if isinstance(error, dict) else ""


def _route(deployment: Deployment, schema: dict[str, Any]) -> Finding:
    """Whether path and photo field are those of the schema."""
    settings = deployment.settings
    route = settings.gateway_route
    endpoint = settings.gateway_path or ROUTES[route].path
    fields = photo_fields(settings.gateway_extra_fields, ROUTES[route].photo_field)
    said = str(schema.get("endpoint", ""))
    if not said.endswith(endpoint):
        known = [name for name, each in ROUTES.items() if said.endswith(each.path)]
        without = " and without GatewayPath" if settings.gateway_path else ""
        do = f"Deploy with GatewayRoute={known[0]}{without}." if known else BUY_ONE
        says = f"{settings.gateway_path or route}, but the schema says {said or 'nothing'}"
        return Finding("route", "fault" if known else "doubt", says, do)
    if not any(_names(schema, field) for field in fields):
        return Finding("route", "doubt", f"{route}: the schema doesn't name {' or '.join(fields)}", BUY_ONE)
    return Finding("route", "ok", f"{route}: {endpoint} with {', '.join(fields)}, as the schema says")


def _names(schema: Any, field: str) -> bool:
    """Whether a field's name is anywhere in the schema; what it looks like is not documented."""
    if isinstance(schema, dict):
        return any(name == field or _names(value, field) for name, value in schema.items())
    if isinstance(schema, list):
        return any(_names(value, field) for value in schema)
    return bool(schema == field)
