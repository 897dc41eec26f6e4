"""From a seed to a plan."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from tools.simulation.plan import (
    AwsKind,
    AwsTrouble,
    Conditions,
    Delete,
    Deploy,
    Event,
    GatewayTrouble,
    KeyChange,
    Kill,
    Notice,
    Outage,
    Plan,
    PromptFile,
    Reconcile,
    Redelivery,
    Redrive,
    RemoveResult,
    Restore,
    ResultTrouble,
    RetryNow,
    Upload,
)

OPERATIONS = [
    *["dynamodb.UpdateItem"] * 8,
    *["dynamodb.PutItem"] * 5,
    "dynamodb.GetItem",
    *["s3.GetObject"] * 2,
    "s3.HeadObject",
    "s3.ListObjectsV2",
    *["s3.PutObject"] * 2,
    *["sqs.SendMessage"] * 2,
    "sqs.ChangeMessageVisibility",
    "events.PutEvents",
    "ssm.GetParameter",
]
NOT_CHARGED = [
    "429",
    "429 in 30 s",
    "429 by date",
    "521",
    "no connection",
    "503",
    "503 of a proxy",
    "500",
    "drop",
    "hang",
]
CHARGED = ["charged drop", "charged hang", "charged 502", "charged 504", "charged 500", "cut", "inline", "late"]
FINAL = ["400", "413", "422", "409", "403", "404", "no image", "html", "fewer", "202", "302", "photo not fetched"]
ACCOUNT = ["401", "402", "no money"]
RESULTS = ["404", "403", "500", "cut", "html", "hang", "drop", "redirect", "empty"]
OUTAGES = [
    "503",
    "no connection",
    "402",
    "429",
    "charged 504",
    "dynamodb throttled",
    "s3 failed",
    "ssm throttled",
    "sqs failed",
]
MIDNIGHT = 86_400.0


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    chance = Random(seed)
    span = chance.choice([20.0, 120.0, 900.0, 3600.0])
    uploads = _uploads(chance, span)
    conditions = _conditions(seed, chance, sum(int(dict(upload.metadata).get("n", "1")) for upload in uploads))
    if conditions.daily_image_limit:
        span = min(span, 300.0)
        uploads = [replace(upload, at=upload.at % span) for upload in uploads]
        if chance.random() < 0.3:  # one of them calls within the seconds around midnight
            before = chance.choice(uploads).at + chance.uniform(0, 4)
            conditions = replace(conditions, start=MIDNIGHT - before)
    if seed % 3 == 0:
        uploads, batch = _in_batch(Random(f"batch of {seed}"), uploads)
        conditions = replace(conditions, batch=batch)
    keys = [upload.key for upload in uploads]
    events: list[Event] = [*uploads]
    if chance.random() < 0.3:
        events.append(PromptFile(0.0, chance.choice(["prompt.txt", "shoes/prompt.txt"]), f"{PROMPT} file"))
    if chance.random() < 0.1:
        return Plan(conditions, tuple(events))  # a quiet day
    for _ in range(chance.choice([2, 4, 6, 8, 11, 16])):
        make = chance.choices([make for make, _ in _TROUBLES], [weight for _, weight in _TROUBLES])[0]
        events.append(make(chance, span, keys, uploads))
    return Plan(conditions, tuple(events))


PROMPT = "a secret marble kitchen"
"""What every prompt begins with, so that logs can be searched for it."""
BATCH = "0123456789abcdef"
UPLOADS_OF_A_SHARD = 2


def _conditions(seed: int, chance: Random, images: int) -> Conditions:
    rpm = chance.choice([1, 2, 6, 10, 30, 60, 60])
    # Waiting for another day takes long to play: one night at most, and a short one mostly.
    limit = chance.choice([0, 0, 0, 0, images + 1, images, max(1, images - chance.choice([1, images // 3]))])
    is_late = chance.random() < (0.95 if limit else 0.2)
    return Conditions(
        seed,
        start=MIDNIGHT - chance.uniform(1, 900) if is_late else chance.uniform(0, 12 * 3600),
        is_versioned=chance.random() < 0.7,
        stacks=2 if chance.random() < 0.1 else 1,
        route=chance.choice(["generations", "generations", "edits", "edits-multipart"]),
        keys=chance.choice(["honoured", "honoured", "ignored", "failures kept"]),
        on_unknown=chance.choice(["retry", "retry", "park"]),
        requests_per_minute=rpm,
        daily_image_limit=limit,
        max_attempts=chance.choice([1, 2, 3, 6, 6]),
        timeout_seconds=chance.choice([5, 30, 100, 100]),
        retry_concurrency=chance.choice([2, 5, 20]),
        skew_seconds=chance.choice([0.0, 0.0, 0.5, 3.0, 600.0]),
        reconcile_seconds=chance.choice([300.0, 900.0, 900.0, 3600.0]),
        answers=chance.choice(["links", "links", "links", "inline", "mixed"]),
        tells_cost=chance.random() < 0.2,
        has_eventbridge=chance.random() < 0.2,
    )


def _uploads(chance: Random, span: float) -> list[Upload]:
    number = chance.choices([chance.randint(2, 3), chance.randint(4, 9), chance.randint(10, 40)], [78, 20, 2])[0]
    keys = [f"{chance.choice(['', 'shoes/', 'shoes/red/'])}{each}.jpg" for each in range(max(1, number * 2 // 3))]
    uploads = []
    for each in range(number):
        key = keys[each] if each < len(keys) else chance.choice(keys)
        metadata = {"prompt": f"{PROMPT} {chance.randint(1, 2)}"} if chance.random() < 0.9 else {}
        if chance.random() < 0.25:
            metadata["n"] = str(chance.choice([1, 2, 3, 4]))
        if chance.random() < 0.05:
            metadata["size"] = "1024x1024"
        if chance.random() < 0.05:
            metadata["again"] = str(each)
        if chance.random() < 0.03:
            metadata["n"] = "9"
        uploads.append(Upload(chance.uniform(0, span), each, key, chance.randint(1, 3), tuple(metadata.items())))
    return uploads


def _in_batch(chance: Random, uploads: list[Upload]) -> tuple[list[Upload], tuple[str, ...]]:
    """The uploads with the earliest of some keys in a batch, and those keys."""
    first = {upload.key: upload for upload in sorted(uploads, key=lambda upload: -upload.at)}
    batch = tuple(key for key in first if chance.random() < 0.7)

    def marked(upload: Upload) -> Upload:
        if upload.key not in batch or first[upload.key] is not upload:
            return upload
        shard = f"{BATCH}.{batch.index(upload.key) // UPLOADS_OF_A_SHARD}"
        return replace(upload, metadata=(*upload.metadata, ("batch", shard)))

    return [marked(upload) for upload in uploads], batch


def _seconds(chance: Random) -> float:
    return round(chance.choice([0.5, 3.0, 20.0, 90.0, 600.0, 1000.0]) * chance.uniform(0.8, 1.2), 3)


def _when(chance: Random, span: float) -> float:
    return round(chance.uniform(0, span * chance.choice([1, 2, 5])) + chance.choice([0, 0, 60, 700]), 3)


def _notice(chance: Random, _span: float, _keys: list[str], uploads: list[Upload]) -> Event:
    number = chance.choice(uploads).number
    times = chance.choice([0, 1, 2, 2, 3])
    return Notice(number, tuple(chance.choice([0.0, 0.2, 3.0, 6.0, 40.0, 1500.0]) for _ in range(times)))


def _aws(chance: Random, _span: float, keys: list[str], _uploads: list[Upload]) -> Event:
    kinds: list[AwsKind] = ["throttled", "refused", "failed", "lost", "lost", "lost", "late", "slow"]
    kind = chance.choice(kinds)
    return AwsTrouble(
        chance.choice([*keys, "reconcile"]),
        chance.choice(OPERATIONS),
        chance.choice([1, 1, 2, 2, 3, 4, 5, 6]),
        kind,
        times=chance.choice([1, 1, 4, 4, 12]),
        seconds=chance.choice([1.0, 12.0, 45.0, 140.0]) if kind in ("late", "slow") else 0.0,
    )


def _kill(chance: Random, _span: float, keys: list[str], _uploads: list[Upload]) -> Event:
    return Kill(chance.choice([*keys, "reconcile"]), chance.randint(1, 30), chance.choice(["before", "after"]))


def _gateway(chance: Random, _span: float, keys: list[str], _uploads: list[Upload]) -> Event:
    kind = chance.choice(chance.choice([NOT_CHARGED, CHARGED, CHARGED, FINAL, ACCOUNT]))
    return GatewayTrouble(chance.choice(keys), chance.choice([1, 1, 1, 1, 2, 2, 3]), kind, _seconds(chance))


def _result(chance: Random, _span: float, keys: list[str], _uploads: list[Upload]) -> Event:
    return ResultTrouble(chance.choice(keys), chance.choice([1, 1, 2, 3]), chance.choice(RESULTS))


def _redelivery(chance: Random, _span: float, keys: list[str], _uploads: list[Upload]) -> Event:
    return Redelivery(chance.choice(keys), chance.choice([1, 1, 2, 3]), chance.choice([0.0, 0.3, 5.0, 60.0, 1000.0]))


def _outage(chance: Random, span: float, _keys: list[str], _uploads: list[Upload]) -> Event:
    return Outage(_when(chance, span), chance.choice([10.0, 120.0, 1200.0, 7000.0]), chance.choice(OUTAGES))


def _replaced(chance: Random, span: float, keys: list[str], _uploads: list[Upload]) -> Event:
    return Upload(
        _when(chance, span),
        1000 + chance.randint(0, 10**6),
        chance.choice(keys),
        chance.randint(1, 4),
        (("prompt", f"{PROMPT} {chance.randint(1, 3)}"),),
    )


def _deleted(chance: Random, span: float, keys: list[str], _uploads: list[Upload]) -> Event:
    makes: list[Callable[[float, str], Event]] = [Delete, Delete, Restore, Restore, RemoveResult]
    return chance.choice(makes)(_when(chance, span), chance.choice(keys))


def _operator(chance: Random, span: float, keys: list[str], _uploads: list[Upload]) -> Event:
    at = _when(chance, span)
    return chance.choice(
        [Redrive(at), Redrive(at), RetryNow(at, chance.choice(keys)), Reconcile(at), _deploy(chance, at)]
    )


def _deploy(chance: Random, at: float) -> Event:
    change = chance.choice(
        [
            ("REQUESTS_PER_MINUTE", str(chance.choice([1, 10, 60]))),
            ("DAILY_IMAGE_LIMIT", str(chance.choice([0, 5, 10]))),
            ("ON_UNKNOWN_OUTCOME", chance.choice(["retry", "park"])),
            ("GATEWAY_MODEL", "another/model"),
            ("GATEWAY_ROUTE", chance.choice(["generations", "edits", "edits-multipart"])),
            ("MAX_ATTEMPTS", str(chance.choice([1, 6]))),
        ]
    )
    return Deploy(at, (change,))


def _key_change(chance: Random, span: float, _keys: list[str], _uploads: list[Upload]) -> Event:
    return KeyChange(_when(chance, span), chance.choice([0.0, 30.0, 900.0]))


_TROUBLES: list[tuple[Callable[[Random, float, list[str], list[Upload]], Event], float]] = [
    (_notice, 4),
    (_aws, 7),
    (_kill, 7),
    (_gateway, 10),
    (_result, 2),
    (_redelivery, 2),
    (_outage, 1.5),
    (_replaced, 3),
    (_deleted, 2),
    (_operator, 3),
    (_key_change, 0.4),
]
