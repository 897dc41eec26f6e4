"""The bare minimum: HEAD, POST, GET and PUT with botocore and httpx, without a check, a record or a second try.

Its TLS is ours, so that what is compared is the work.
"""

import os
from typing import Any
from urllib.parse import unquote_plus

import botocore.session
import httpx
from botocore.config import Config

from backdrop import tls

tls.share_with_botocore()

session: Any = botocore.session.get_session()
s3 = session.create_client("s3", config=Config(signature_version="s3v4"))
key = session.create_client("ssm").get_parameter(Name=os.environ["GATEWAY_API_KEY_PARAMETER"], WithDecryption=True)
client = httpx.Client(
    verify=tls.context(), headers={"Authorization": f"Bearer {key['Parameter']['Value']}"}, timeout=100
)


def lambda_handler(event: dict[str, Any], _context: object) -> None:
    """Replace the backgrounds of the uploads of an S3 event."""
    for record in event["Records"]:
        bucket, name = record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])
        upload = s3.head_object(Bucket=bucket, Key=name)
        fields = {
            "model": os.environ["GATEWAY_MODEL"],
            "prompt": upload["Metadata"]["prompt"],
            "image_url": s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": name}),
        }
        answer = client.post(f"{os.environ['GATEWAY_BASE_URL']}/images/generations", json=fields)
        # The gateway's key goes to the gateway alone.
        result = client.get(answer.json()["data"][0]["url"], headers={"Authorization": ""})
        s3.put_object(
            Bucket=os.environ["OUTPUT_BUCKET"], Key=f"{name}.png", Body=result.content, ContentType="image/png"
        )
