"""`backdrop reconcile`: ReconcileFunction's next run, now."""

import json
from typing import Any

import click

from backdrop_cli.deployment import Deployment
from backdrop_cli.options import CliContext, common, examples
from backdrop_cli.page import counted


@examples(
    "backdrop reconcile",
    "backdrop reconcile --json",
)
@click.command()
@common
@click.pass_obj
def reconcile(context: CliContext) -> int:
    """Look for uploads of the last day whose notification or message was lost, as is done every quarter of an hour."""
    answer, error = _run(context.deployment)
    if error:
        context.answer({"error": answer}, f"It failed: {answer.get('errorType')}: {answer.get('errorMessage')}")
        return 1
    end = "" if answer["complete"] else " It did not come to the end of the bucket; its next run goes on there."
    context.answer(
        answer,
        f"{counted(answer['listed'], 'object')} in the bucket, {answer['recent']} of them of the last day;"
        f" {answer['enqueued']} were lost and are looked at now.{end}",
    )
    return 0


def _run(deployment: Deployment) -> tuple[dict[str, Any], str]:
    done = deployment.functions_once.invoke(FunctionName=deployment.outputs["ReconcileFunctionName"])
    return json.loads(done["Payload"].read()), done.get("FunctionError", "")
