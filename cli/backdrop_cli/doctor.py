"""`backdrop doctor`: whether everything that an upload needs is there and fits together, before money is spent."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from uuid import uuid4

import click
from PIL import Image

from backdrop.states import State
from backdrop.upload import Record
from backdrop_cli.deployment import Deployment
from backdrop_cli.doctor_account import executions
from backdrop_cli.doctor_before import before_deploy_findings
from backdrop_cli.doctor_finding import Finding
from backdrop_cli.doctor_gateway import gateway_findings
from backdrop_cli.doctor_stack import stack_findings
from backdrop_cli.failures import advice
from backdrop_cli.follow import fetch, follow
from backdrop_cli.likeness import ENOUGH, NOTHING, likeness
from backdrop_cli.options import CliContext, common, examples
from backdrop_cli.page import dollars
from backdrop_cli.photos import Photo
from backdrop_cli.sending import upload

SAMPLE = Path(__file__).with_name("sample") / "mug.jpg"
PROMPT = "a marble kitchen counter in soft morning light"
MAX_INLINE_WAIT_SECONDS = 120.0  # beyond a call's own time, for one that has to be sent again


@examples(
    'backdrop doctor --before-deploy --parameter RetryConcurrency=10 --parameter "DefaultPrompt=a white studio"',
    "backdrop doctor --buy-one --json",
)
@click.command()
@click.option("--buy-one", is_flag=True, help="Send one sample photo all the way, for the price of one image.")
@click.option("--before-deploy", is_flag=True, help="Check instead what can be checked before there is a stack.")
@click.option(
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="With --before-deploy: a parameter of the template that you will deploy with.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="FOLDER",
    help="Where to put the image that is bought.  [default: here]",
)
@common
@click.pass_obj
def doctor(context: CliContext, buy_one: bool, before_deploy: bool, parameters: tuple[str, ...], out: Path) -> int:
    """Check the stack, the key, the wallet and the model, one line each with what to do."""
    if buy_one and before_deploy:
        raise click.UsageError("--buy-one needs a stack, and --before-deploy is for when there is none.")
    if parameters and not before_deploy:
        raise click.UsageError("--parameter is for --before-deploy.")
    if wrong := [each for each in parameters if "=" not in each]:
        raise click.UsageError(f"{wrong[0]!r} is not NAME=VALUE.")
    found: list[Finding] = []

    def tell(finding: Finding) -> None:
        found.append(finding)
        if not context.json:
            context.out.print(finding.line(15), soft_wrap=True)

    deployment = context.deployment
    looks = (
        before_deploy_findings(deployment, dict(each.split("=", 1) for each in parameters))
        if before_deploy
        else chain(stack_findings(deployment), [executions(deployment)], gateway_findings(deployment))
    )
    for finding in looks:
        tell(finding)
    if buy_one:
        can = all(each.state == "ok" or (each.state, each.what) in _BOUGHT_ALL_THE_SAME for each in found)
        for finding in _bought(context.deployment, out) if can else [_NOT_BOUGHT]:
            tell(finding)
    if context.json:
        context.answer([asdict(each) for each in found])
    return int(any(each.state == "fault" for each in found))


# A call is what settles these, and what ends a pause.
_BOUGHT_ALL_THE_SAME = {
    ("fault", "pace"),
    *(("doubt", what) for what in ("pace", "executions", "key", "wallet", "model", "route", "keys")),
}
_ONE = "one image"
_NOT_BOUGHT = Finding(_ONE, "fault", "not bought, because of what is found above")


def _bought(deployment: Deployment, out: Path) -> Iterator[Finding]:
    """One upload on the way of them all, and what its result shows."""
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
        yield Finding(
            _ONE, "fault", f"{photo.key} is not back yet", "Look at `backdrop status backdrop-doctor/` again."
        )
        return
    [record] = over
    if record.state is not State.DONE:
        reason = record.reason or {}
        code = str(reason.get("code", record.state))
        yield Finding(_ONE, "fault", f"{code}: {reason.get('message', '')}", advice(code))
        return
    try:
        paths = fetch(deployment, record, out / "backdrop-doctor.jpg")
    except OSError as error:
        yield Finding(_ONE, "fault", f"bought, but not fetched: {error}", f"It is in the bucket, by {photo.key}.")
        return
    seconds = record.updated_at - record.created_at
    cost = dollars(float(record.cost_usd or 0))
    yield Finding(_ONE, "ok", f"{cost}, {seconds:.1f} s: {', '.join(map(str, paths))}", "Look at it.")
    yield photo_used(SAMPLE.read_bytes(), paths[0])
    if record.answered_inline and settings.on_unknown_outcome != "park":
        says = "inline: a crash before they are stored takes the same call again, which may be paid twice"
        yield Finding("answers", "doubt", says, "Where keys are not honoured, deploy with OnUnknownOutcome=park.")


def photo_used(sample: bytes, result: Path) -> Finding:
    """Whether the product of the sample is in a result."""
    try:
        share = likeness(sample, result.read_bytes())
    except (OSError, Image.DecompressionBombError):
        return Finding("photo", "doubt", f"{result} can't be compared with the sample", "Look at it.")
    says = f"of the sample's product {share:.0%} is in the result"
    if share < NOTHING:
        do = "The gateway ignores the photo: stop, and change route or fields (docs/gateways.md)."
        return Finding("photo", "fault", f"nothing, or only {share:.0%}, of the sample's product is in the result", do)
    if share < ENOUGH:
        return Finding("photo", "doubt", says, "Look whether it is the same product.")
    return Finding("photo", "ok", says)
