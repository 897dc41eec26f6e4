"""What any Python function on Lambda pays that uses S3."""

import boto3

s3 = boto3.client("s3")
