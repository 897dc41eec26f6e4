"""What AWS asks for one image, by component: counts from the simulation, at list prices."""

from typing import Any

EXPLAINED = """Counts from the simulation of 1,000 uploads at 600 a minute with 256 MB of memory, at the list prices of
us-east-1, without any free tier. The photo's way is most of it: beyond 2.2 MB a photo, AWS takes more than 1 % of the
image's price. What a month costs in which nothing is uploaded is in the second table, and not in the first."""
IMAGE_USD = 0.03
MEMORY_GB = 0.25
PHOTO_GB = 0.002  # 2 MB, which the gateway fetches over the internet
LOG_GB = 6e-6  # six kilobytes: the functions' lines and Lambda's own

# us-east-1, x86_64, on demand, November 2026, without any free tier; each as dollars for one.
# https://aws.amazon.com/lambda/pricing/ and the same for dynamodb, s3, sqs, eventbridge, cloudwatch
PRICES = {
    "invocations": 0.20e-6,
    "lambda seconds": 0.0000166667 * MEMORY_GB,
    "dynamodb write units": 0.625e-6,
    "dynamodb reads": 0.125e-6,
    "s3 reads": 0.0004e-3,
    "s3 writes": 0.005e-3,
    "s3 lists": 0.005e-3,
    "sqs requests": 0.40e-6,
    "events": 1.00e-6,
    "log gigabytes": 0.50,
    "photo gigabytes": 0.09,
}
COMPONENTS = {
    "Lambda": ("invocations", "lambda seconds"),
    "DynamoDB": ("dynamodb write units", "dynamodb reads"),
    "S3 requests": ("s3 reads", "s3 writes", "s3 lists"),
    "SQS": ("sqs requests",),
    "EventBridge": ("events",),
    "CloudWatch Logs": ("log gigabytes",),
    "the photo's way to the gateway (2 MB)": ("photo gigabytes",),
}


def costs(simulated: dict[str, Any]) -> dict[str, float]:
    """Dollars an image, by component, of one simulated scenario."""
    counts = simulated["counts"] | {
        "lambda seconds": simulated["lambda seconds"],
        "log gigabytes": LOG_GB,
        "photo gigabytes": PHOTO_GB,
        "s3 writes": simulated["counts"]["s3 writes"] + 1,  # the upload itself
    }
    return {name: sum(counts.get(part, 0) * PRICES[part] for part in parts) for name, parts in COMPONENTS.items()}


# A month of 30 days in which nothing is uploaded, each as how often and dollars for one. Not counted: what is stored.
_MINUTES = 30 * 24 * 60
IDLE = {
    "dashboard (the first three of an account are free)": (1, 3.00),
    "nine alarms (the first ten of an account are free)": (9, 0.10),
    # Lambda keeps five long polls of 20 seconds going:
    # https://aws.amazon.com/blogs/compute/understanding-how-aws-lambda-scales-when-subscribed-to-amazon-sqs-queues/
    "polls of the empty queue (the first million requests are free)": (_MINUTES * 3 * 5, PRICES["sqs requests"]),
    "reconciler, every 15 minutes: a list, two DynamoDB requests and half a second": (
        _MINUTES / 15,
        PRICES["s3 lists"]
        + PRICES["dynamodb write units"]
        + PRICES["dynamodb reads"]
        + PRICES["invocations"]
        + 0.5 * PRICES["lambda seconds"],
    ),
}


def idle_rows() -> list[dict[str, Any]]:
    """What a month without uploads costs."""
    found = {name: number * usd for name, (number, usd) in IDLE.items()}
    return [
        {"a month without uploads": name, "USD": f"{usd:.2f}"}
        for name, usd in {**found, "in all, without any free tier": sum(found.values())}.items()
    ]


def rows(simulated: dict[str, Any]) -> list[dict[str, Any]]:
    """The table, with shares of the image's price."""
    by_component = costs(simulated)
    everything = {**by_component, "AWS in all": sum(by_component.values())}
    return [
        {
            "component": name,
            "USD for 1,000 images": f"{usd * 1000:.4f}",
            "of the image's price": f"{usd / IMAGE_USD:.2%}",
        }
        for name, usd in everything.items()
    ]
