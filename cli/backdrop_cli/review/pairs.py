"""A photo and what became of it, as the page shows it. Nothing here reads or writes anything."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from backdrop.job import Job
from backdrop.reconcile import YOUNGEST_SECONDS
from backdrop.states import State
from backdrop.storage import Listed
from backdrop.upload import Record
from backdrop_cli.decisions import APPROVED, REJECTED, Decision, verdict_of
from backdrop_cli.uploads import Stage

MOST_EARLIER = 8
"""Earlier results that stay beside the new one."""
SOON_SECONDS = 60.0


class Status(StrEnum):
    """What a pair waits for, in the order of the page's filters."""

    UNDECIDED = "undecided"
    APPROVED = "approved"
    REJECTED = "rejected"
    FAILED = "failed"
    ON_ITS_WAY = "waiting"


@dataclass(frozen=True)
class Picture:
    """An object that can be shown. `job_id` is that of the upload which a result has to be of; empty for a photo."""

    bucket: str
    key: str
    version_id: str | None
    etag: str | None = None
    job_id: str = ""

    @property
    def token(self) -> str:
        """What the page calls it; another version has another."""
        identity = "\0".join((self.bucket, self.key, self.version_id or self.etag or "", self.job_id))
        return hashlib.sha256(identity.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Result:
    """One of an upload's images, with what was decided on it."""

    picture: Picture
    decision: Decision | None = None


@dataclass(frozen=True)
class Asked:
    """What an upload asks for. A `prompt` of None is one that can't be told any more."""

    prompt: str | None
    n: str = ""
    size: str = ""
    tag: str = ""


@dataclass(frozen=True)
class Pair:
    """An upload; `asked` is None until somebody has looked, `earlier` what the key's earlier uploads brought."""

    job: Job
    uploaded_at: float = 0.0
    """Epoch seconds."""
    stage: Stage = Stage.NEW
    record: Record | None = None
    asked: Asked | None = None
    results: tuple[Result, ...] = ()
    earlier: tuple[Result, ...] = ()

    @property
    def id(self) -> str:
        """The same for all uploads of a key."""
        return pair_id(self.job.key)

    @property
    def photo(self) -> Picture:
        """What was uploaded."""
        return Picture(self.job.bucket, self.job.key, self.job.version_id, self.job.etag)

    @property
    def status(self) -> Status:
        """What it waits for."""
        if self.stage is Stage.FAILED:
            return Status.FAILED
        if self.stage is not Stage.DONE:
            return Status.ON_ITS_WAY
        verdict = verdict_of([result.decision for result in self.results])
        return {APPROVED: Status.APPROVED, REJECTED: Status.REJECTED}.get(verdict, Status.UNDECIDED)

    @property
    def decision(self) -> Decision | None:
        """The one that counts: the approval if there is one."""
        made = [result.decision for result in self.results if result.decision]
        return next((each for each in made if each.verdict == APPROVED), made[0] if made else None)

    @property
    def chosen(self) -> int:
        """The index of the result that is shown first: the approved one."""
        verdicts = [result.decision.verdict if result.decision else "" for result in self.results]
        return verdicts.index(APPROVED) if APPROVED in verdicts else 0

    @property
    def folder(self) -> str:
        """Of the key, with its slash; empty at the top."""
        folder, slash, _ = self.job.key.rpartition("/")
        return folder + slash

    @property
    def seen(self) -> str:
        """Stands for the results and what was decided on them: whoever decides has to have seen these."""
        return fingerprint(self.results)

    @property
    def is_bought(self) -> bool:
        """Whether its images cost something in this very upload."""
        return self.record is not None and self.record.state is not State.UNCHANGED and bool(self.record.cost_usd)


def pair_id(key: str) -> str:
    """Of a photo's key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def fingerprint(results: Sequence[Result]) -> str:
    """The same for the same versions with the same decisions."""
    text = "\n".join(f"{each.picture.token} {each.decision}" for each in results)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def after_upload(pair: Pair | None, upload: Listed) -> Pair:
    """The pair of a photo's current upload; what an earlier one brought stays beside it."""
    earlier = (*pair.results, *pair.earlier)[:MOST_EARLIER] if pair else ()
    return Pair(upload.job, upload.modified, earlier=earlier)


def is_moving(pair: Pair, now: float) -> bool:
    """Whether something may become of it within a minute."""
    if pair.stage is Stage.NEW:
        return now - pair.uploaded_at < YOUNGEST_SECONDS
    if pair.stage is Stage.WAITING:
        return pair.record is not None and pair.record.due_at < now + SOON_SECONDS
    return pair.stage is Stage.RUNNING


def with_decisions(pair: Pair, decisions: Sequence[Decision | None]) -> Pair:
    """With a decision a result."""
    decided = zip(pair.results, decisions, strict=True)
    return replace(pair, results=tuple(replace(result, decision=decision) for result, decision in decided))


@dataclass(frozen=True)
class Totals:
    """What the top of the page says of all pairs."""

    by_status: dict[Status, int] = field(default_factory=dict)
    cost_usd: float = 0.0

    @property
    def pairs(self) -> int:
        """How many there are."""
        return sum(self.by_status.values())

    @property
    def over(self) -> int:
        """How many of them are done or failed."""
        return self.pairs - self.by_status.get(Status.ON_ITS_WAY, 0)


def totals(pairs: Sequence[Pair]) -> Totals:
    """Of all of them, whatever the page's filter."""
    counts = dict.fromkeys(Status, 0)
    cost = 0.0
    for pair in pairs:
        counts[pair.status] += 1
        cost += float((pair.record and pair.is_bought and pair.record.cost_usd) or 0)
    return Totals(counts, cost)
