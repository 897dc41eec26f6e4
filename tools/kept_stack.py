"""`python -m tools.kept_stack up|down`: the local stack that stays, on the ports that the documentation names."""

import argparse
import sys

from tools.files import ROOT
from tools.local_stack import LocalStack, LocalStackError

EMULATOR_PORT = 4566
GATEWAY_PORT = 8787


def kept_stack() -> LocalStack:
    """The stack of `make up`, whether it runs or not."""
    build_folder = ROOT / ".aws-sam" / "build"  # where `sam local invoke` looks
    return LocalStack(ROOT / ".local", EMULATOR_PORT, GATEWAY_PORT, build_folder)


def up(stack: LocalStack) -> None:
    """Start and deploy, and say so. Raises LocalStackError when that can't be."""
    if stack.is_running:
        raise LocalStackError("The local stack is running already. `make down` stops it.")
    print("Starting the AWS emulator and the stand-in gateway …", flush=True)
    stack.start()
    try:
        print("Deploying template.yaml with the SAM CLI …", flush=True)
        stack.deploy()
    except BaseException:
        stack.stop()
        raise


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.kept_stack", description=__doc__)
    parser.add_argument("command", choices=["up", "down"])
    command = parser.parse_args().command
    stack = kept_stack()
    try:
        if command == "down":
            print("Stopped." if stack.stop() else "Nothing was running.")
            return 0
        up(stack)
        stack.put_sample()
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1
    outputs = stack.outputs
    print(
        f"""
The local stack runs: AWS emulator {stack.endpoint_url}, stand-in gateway {stack.gateway.base_url}

  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1
  export AWS_ENDPOINT_URL={stack.endpoint_url}
  aws s3 cp photo.jpg s3://{outputs["InputBucketName"]}/ --metadata prompt="a beach at sunset"
  aws s3 ls s3://{outputs["OutputBucketName"]}/ --recursive

Or without the AWS CLI, photos and whole folders, with the results beside them:

  .venv/bin/backdrop submit photo.jpg --prompt "a beach at sunset" --wait

`make down` stops it. Logs are in {(ROOT / ".local").relative_to(ROOT)}/."""
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
