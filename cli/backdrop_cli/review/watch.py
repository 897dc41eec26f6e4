"""Looks at the bucket, the ledger and the tags, and puts on the board what it finds; rarely while nothing happens."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from backdrop.aws_errors import status_of
from backdrop.errors import Throttled
from backdrop.job import Job, has_dot_segment
from backdrop.upload import Record
from backdrop_cli import decisions
from backdrop_cli.deployment import THREADS, Deployment, Unreachable, explained
from backdrop_cli.forecast import pace_now
from backdrop_cli.gallery import prompt_of
from backdrop_cli.review.board import Board
from backdrop_cli.review.pairs import Asked, Pair, Picture, Result, after_upload, is_moving, pair_id
from backdrop_cli.uploads import Stage, records_of, stage_of

SECONDS_A_REQUEST = 10.0
"""At rest: six requests a minute, the ledger's and the listing's together."""
BUSY_SECONDS = 2.0
_SECONDS_AN_UPLOAD = 0.002  # ten thousand that are on their way are looked at every 22 seconds
_SLOWEST_BUSY_SECONDS = 10.0
_A_BATCH = 100  # keys of one BatchGetItem
_OVER = (Stage.DONE, Stage.FAILED)


def busy_seconds(moving: int, looks_in_vain: int) -> float:
    """How long to wait while `moving` uploads are on their way: longer with each look that found nothing new."""
    seconds = BUSY_SECONDS + _SECONDS_AN_UPLOAD * moving
    return max(seconds, min(seconds * 1.3**looks_in_vain, _SLOWEST_BUSY_SECONDS))


class Watcher:
    """Keeps `board` as the uploads below `prefix` are."""

    def __init__(self, deployment: Deployment, prefix: str, board: Board) -> None:
        self._deployment = deployment
        self._prefix = prefix
        self._board = board
        self._wake = asyncio.Event()
        self._requests = 0

    def wake(self) -> None:
        """Look now; from the event loop's thread."""
        self._wake.set()

    async def run(self) -> None:
        """Look again and again, as long as a page is open."""
        loop, next_listing, in_vain = asyncio.get_running_loop(), 0.0, 0
        while True:
            number, self._requests = self._board.number, 0
            lists = self._wake.is_set() or loop.time() >= next_listing
            self._wake.clear()
            await asyncio.to_thread(self.look, lists)
            in_vain = in_vain + 1 if self._board.number == number else 0
            if lists:
                next_listing = loop.time() + SECONDS_A_REQUEST * self._requests
            waits, moving = next_listing - loop.time(), len(self._moving())
            if moving:
                waits = min(waits, busy_seconds(moving, in_vain))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(waits, 0.0))
            if not self._board.has_listeners:
                await self._wake.wait()  # nobody looks, so nothing is asked

    def look(self, lists: bool = True) -> None:
        """One look: with `lists` at everything that may have changed, otherwise at what is on its way."""
        board = self._board
        try:
            with explained():
                if lists:
                    self._read(self._listed() + [pair for pair in board.pairs() if pair.stage is not Stage.DONE])
                else:
                    self._read(self._moving())
                self._requests += 1
                pace = pace_now(self._deployment)
        except (Unreachable, Throttled) as error:
            board.say(board.pace, str(error))
        else:
            board.say(pace, "")
            board.complete()

    def refreshed(self, pair: Pair) -> Pair:
        """A pair with its results' versions and decisions as they are now, which is put on the board, too."""
        if pair.record is None or pair.stage not in _OVER:
            return pair
        return self._board.replace(pair, replace(pair, results=self._results(pair.record)))

    def _moving(self) -> list[Pair]:
        now = self._deployment.clock.now()
        return [pair for pair in self._board.pairs() if is_moving(pair, now)]

    def _listed(self) -> list[Pair]:
        """The uploads that the board doesn't have; those that are gone are taken from it."""
        new: list[Pair] = []
        found: set[str] = set()
        cursor: dict[str, str] | None = None
        while True:
            self._requests += 1
            page, cursor = self._deployment.storage.list_uploads(
                self._deployment.settings.input_bucket, cursor, self._prefix
            )
            for upload in page:
                if upload.job.is_skipped:
                    continue
                found.add(pair_id(upload.job.key))
                pair = self._board.get(pair_id(upload.job.key))
                if pair is None or pair.job.id != upload.job.id:
                    new.append(after_upload(pair, upload))
            if cursor is None:
                break
        self._board.keep_only(found)
        return new

    def _read(self, pairs: list[Pair]) -> None:
        """What the ledger says of them now, with prompts and decisions where that is new."""
        pairs = list({pair.id: pair for pair in reversed(pairs)}.values())  # a new upload, not the one before
        self._requests += -(-len(pairs) // _A_BATCH)
        known = records_of(self._deployment, [pair.job.id for pair in pairs])
        now = self._deployment.clock.now()
        to_put, to_look_at, on_board = [], [], {}
        for before in pairs:
            record = known.get(before.job.id)
            pair = replace(before, record=record, stage=stage_of(record, now))
            is_over_now = record != before.record and pair.stage in _OVER
            if before.asked is None or is_over_now:
                to_look_at.append(pair)
            on_board[pair.id] = before
            if before.asked is None or not is_over_now:  # the others are shown when their results are known, too
                to_put.append(pair)
                on_board[pair.id] = pair
        self._board.put(*to_put)
        with ThreadPoolExecutor(THREADS) as pool:
            for looked_at in pool.map(self._looked_at, to_look_at):
                self._board.replace(on_board[looked_at.id], looked_at)

    def _looked_at(self, pair: Pair) -> Pair:
        is_told = pair.asked and pair.asked.prompt is not None
        asked = pair.asked if is_told else self._asked(pair.job, pair.record)
        results = self._results(pair.record) if pair.record and pair.stage in _OVER else ()
        return replace(pair, asked=asked, results=results)

    def _results(self, record: Record) -> tuple[Result, ...]:
        found = []
        for output in record.stored:
            key = str(output["key"])
            tagged = None if has_dot_segment(key) else decisions.read(self._deployment, key)
            version_id = tagged.version_id if tagged else None
            picture = Picture(output["bucket"], key, version_id, job_id=record.result_of or record.id)
            found.append(Result(picture, tagged.decision if tagged else None))
        return tuple(found)

    def _asked(self, job: Job, record: Record | None) -> Asked:
        if has_dot_segment(job.key):
            return Asked(None)
        version: dict[str, Any] = {"VersionId": job.version_id} if job.version_id else {"IfMatch": f'"{job.etag}"'}
        try:
            found = self._deployment.s3.head_object(Bucket=job.bucket, Key=job.key, **version)
        except ClientError as error:
            if status_of(error) in (400, 403, 404, 412):  # 400, 403: encrypted with a key that this caller hasn't got
                return Asked(None)
            raise
        metadata = found["Metadata"]
        prompt = prompt_of(
            record,
            metadata,
            lambda: self._deployment.prompts.find(job.bucket, job.key),
            self._deployment.settings.default_prompt,
            found.get("MissingMeta", 0),
        )
        return Asked(prompt, metadata.get("n", ""), metadata.get("size", ""), metadata.get("tag", ""))
