"""`backdrop doctor`: whether everything that an upload needs is there and fits together, before money is spent."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote as percent_encoded
from uuid import uuid4

import click
import httpx
from botocore.exceptions import ClientError
from rich.text import Text

from backdrop.gateway import PATHS, is_key
from backdrop.states import State
from backdrop.upload import Record
from backdrop_cli.deployment import Deployment
from backdrop_cli.failures import ADVICE
from backdrop_cli.follow import fetch, follow
from backdrop_cli.forecast import PaceNow, pace_now
from backdrop_cli.options import CliContext, common, printable
from backdrop_cli.page import counted, dollars
from backdrop_cli.photos import Photo
from backdrop_cli.sending import upload

SAMPLE = Path(__file__).with_name("sample") / "mug.jpg"
PROMPT = "a marble kitchen counter in soft morning light"
GATEWAY_SECONDS = 10.0
LOW_WALLET_IMAGES = 100
MAX_INLINE_WAIT_SECONDS = 120.0  # beyond a call's own time, for one that has to be sent again


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it."""

    what: str
    state: Literal["ok", "doubt", "fault"]
    says: str
    do: str = ""

    def line(self, width: int) -> Text:
        """For people."""
        mark, style = {"ok": ("✓", "green"), "doubt": ("?", "yellow"), "fault": ("✗", "bold red")}[self.state]
        text = Text.assemble((mark, style), f" {self.what:<{width}}  {printable(self.says)}")
        return text.append(f" → {self.do}") if self.do else text


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


def findings(deployment: Deployment) -> Iterator[Finding]:
    """One look after the other. Raises Unreachable when there is no stack."""
    yield Finding("stack", "ok", f"{deployment.stack}, model {deployment.settings.gateway_model}")
    for what, look in _AWS.items():
        found = _seen(deployment, what, look)
        yield found
        if what == "ledger" and found.state == "ok":
            pace = pace_now(deployment)
            yield _pace(deployment, pace)
            yield _limits(deployment, pace)
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


def _seen(deployment: Deployment, what: str, look: Callable[[Deployment], str]) -> Finding:
    try:
        return Finding(what, "ok", look(deployment))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return Finding(what, "fault", f"{error.operation_name}: {code}", "Deploy again, or mend your own permissions.")


def _input(deployment: Deployment) -> str:
    deployment.s3.head_bucket(Bucket=deployment.settings.input_bucket)
    return f"s3://{deployment.settings.input_bucket}"


def _output(deployment: Deployment) -> str:
    deployment.s3.head_bucket(Bucket=deployment.settings.output_bucket)
    return f"s3://{deployment.settings.output_bucket}"


def _table(deployment: Deployment) -> str:
    deployment.ledger.read("doctor")
    return deployment.settings.ledger_table


def _waiting(deployment: Deployment) -> str:
    return f"{_messages(deployment, deployment.settings.retry_queue_url)} waiting"


def _failed(deployment: Deployment) -> str:
    number = _messages(deployment, deployment.settings.dead_letter_queue_url)
    return f"{number} failed{' → `backdrop failures` says why' if number else ''}"


def _messages(deployment: Deployment, url: str) -> int:
    found = deployment.sqs.get_queue_attributes(
        QueueUrl=url,
        AttributeNames=[
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ],
    )
    return sum(map(int, found["Attributes"].values()))


_AWS: dict[str, Callable[[Deployment], str]] = {
    "input bucket": _input,
    "output bucket": _output,
    "ledger": _table,
    "RetryQueue": _waiting,
    "DeadLetterQueue": _failed,
}


def _pace(deployment: Deployment, pace: PaceNow) -> Finding:
    if not pace.is_blocked:
        return Finding("pace", "ok", f"{deployment.settings.requests_per_minute} calls a minute")
    words = pace.block_in_words(deployment.clock.now())
    if not pace.paused_since:
        return Finding("pace", "doubt", words, "Uploads wait and are tried again by themselves.")
    return Finding(
        "pace",
        "fault",
        f"paused: {words}",
        "Mend what is ✗ below; if nothing is, the next call ends the pause. Then all that wait go on by themselves.",
    )


def _limits(deployment: Deployment, pace: PaceNow) -> Finding:
    settings, bought = deployment.settings, pace.bought_today
    limit = settings.daily_image_limit
    spent = f"{bought} of {limit or 'any number of'} images bought or reserved today (UTC)"
    if 0 < limit <= bought:
        return Finding("daily limit", "doubt", spent, "Uploads wait for tomorrow. Raise DailyImageLimit to go on now.")
    return Finding("daily limit", "ok", spent)


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
    endpoint, field = PATHS[route], "image" if route == "edits-multipart" else "image_url"
    said = str(schema.get("endpoint", ""))
    if not said.endswith(endpoint):
        known = [name for name, path in PATHS.items() if said.endswith(path)]
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


@click.command()
@click.option("--buy-one", is_flag=True, help="Send one sample photo all the way, for the price of one image.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="FOLDER",
    help="Where to put the image that is bought.  [default: here]",
)
@common
@click.pass_obj
def doctor(setting: CliContext, buy_one: bool, out: Path) -> int:
    """Check the stack, the key, the wallet and the model, one line each with what to do."""
    found: list[Finding] = []

    def tell(finding: Finding) -> None:
        found.append(finding)
        if not setting.json:
            setting.out.print(finding.line(15), soft_wrap=True)

    for finding in findings(setting.deployment):
        tell(finding)
    if buy_one:
        can = all(each.state == "ok" or (each.state, each.what) in _BOUGHT_ALL_THE_SAME for each in found)
        tell(_bought(setting.deployment, out) if can else _NOT_BOUGHT)
    if setting.json:
        setting.answer([asdict(each) for each in found])
    return int(any(each.state == "fault" for each in found))


# A call is what settles these, and what ends a pause.
_BOUGHT_ALL_THE_SAME = {("fault", "pace"), *(("doubt", what) for what in ("pace", "key", "wallet", "model", "route"))}
_ONE = "one image"
_NOT_BOUGHT = Finding(_ONE, "fault", "not bought, because of what is found above")


def _bought(deployment: Deployment, out: Path) -> Finding:
    """One upload on the way of them all."""
    settings = deployment.settings
    photo = Photo(SAMPLE, f"backdrop-doctor/{uuid4().hex[:8]}.jpg", {"prompt": PROMPT})
    job = upload(deployment, photo)
    over: list[Record] = []
    follow(
        deployment,
        [job],
        lambda ended, _: over.extend(ended),
        settings.gateway_timeout_seconds + MAX_INLINE_WAIT_SECONDS,
    )
    if not over:
        return Finding(
            _ONE, "fault", f"{photo.key} is not back yet", "Look at `backdrop status backdrop-doctor/` again."
        )
    [record] = over
    if record.state is not State.DONE:
        reason = record.reason or {}
        code = str(reason.get("code", record.state))
        return Finding(_ONE, "fault", f"{code}: {reason.get('message', '')}", ADVICE.get(code, ""))
    try:
        paths = fetch(deployment, record, out / "backdrop-doctor.jpg")
    except OSError as error:
        return Finding(_ONE, "fault", f"bought, but not fetched: {error}", f"It is in the bucket, by {photo.key}.")
    seconds = record.updated_at - record.created_at
    cost = dollars(float(record.cost_usd or 0))
    return Finding(_ONE, "ok", f"{cost}, {seconds:.1f} s: {', '.join(map(str, paths))}", "Look at it.")
