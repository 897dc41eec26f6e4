"""Uploads that DailyImageLimit has no room for today: each gets a place on a later day, and sleeps until then.

Places are handed out in the order in which uploads ask, for as many images a day as the limit allows, and as far apart
as calls are: of a hundred uploads at ten a day, ten wake up each midnight. When today has room after all, because the
limit was raised or images were given back, `wake` lets as many of those that sleep look at once.
"""

from backdrop.clock import Clock, utc_day
from backdrop.errors import DailyLimitReached
from backdrop.pace_item import SECOND, PaceItem, units

FIRST_SECONDS = 5.0  # from midnight to the first place: clocks differ a little
DAY_SECONDS = 86_400
_DAY = DAY_SECONDS * SECOND


class LaterDays:
    """Hands out places on later days; they are kept in the rate limiter's item. `step` is in its units."""

    def __init__(self, item: PaceItem, clock: Clock, step: int, daily_limit: int) -> None:
        self._item = item
        self._clock = clock
        self._step = step
        self._daily_limit = daily_limit

    def place(self, images: int, place_at: float, *, is_replay: bool) -> DailyLimitReached | None:
        """When an upload that wants `images` should come back; None when others were faster, to be tried again.

        `place_at` is the place that it has, in epoch seconds, 0 for none; it keeps one that is still to come. A replay
        comes first on the next day: the gateway may forget its key.
        """
        now = self._clock.now()
        tomorrow = (now // DAY_SECONDS + 1) * DAY_SECONDS + FIRST_SECONDS
        if place_at <= now:
            if is_replay:
                place_at = tomorrow
            elif self._take_place(images, units(tomorrow)):
                place_at = self._item.seen["day_tail"] / SECOND
            else:
                return None
        if images < self._item.seen.get("least_wanted", images + 1):
            self._item.update(
                "SET least_wanted = :n", {":n": images}, "attribute_not_exists(least_wanted) OR least_wanted > :n"
            )
        return DailyLimitReached("today's DailyImageLimit is used up", place_at)

    def room(self) -> int:
        """How many of today's images those who sleep may have; 0 when that is too few for each of them.

        Not more than the calls that could have been made today and were not: until then, today's own are on their way.
        """
        self._item.look()
        seen, now = self._item.seen, self._clock.now()
        if not self.anybody_sleeps or "paused_since" in seen:
            return 0
        bought = seen.get("images", 0) if seen.get("day") == utc_day(now) else 0
        room = units(now % DAY_SECONDS) // self._step - bought
        if self._daily_limit:
            room = min(room, self._daily_limit - bought)
        return room if room >= seen["least_wanted"] else 0

    @property
    def anybody_sleeps(self) -> bool:
        """Whether an upload waits for a later day, as far as was last seen."""
        return "least_wanted" in self._item.seen

    @property
    def last_place(self) -> int:
        """The last place that was handed out, as last seen."""
        return int(self._item.seen.get("day_tail", 0))

    def note_who_sleeps(self, least_wanted: int, last_place: int) -> None:
        """The fewest images that any sleeping upload wants; 0 when none sleeps.

        Says nothing if another place than `last_place` was handed out meanwhile.
        """
        if least_wanted:
            self._item.update("SET least_wanted = :n", {":n": least_wanted, ":last": last_place}, "day_tail = :last")
        else:
            self._item.update("REMOVE least_wanted", {":last": last_place}, "day_tail = :last")

    def _take_place(self, images: int, tomorrow: int) -> bool:
        seen = self._item.seen
        last = seen.get("day_tail", 0)
        midnight = (last // _DAY + 1) * _DAY
        room = self._daily_limit - images
        if last >= tomorrow and last + self._step < midnight and seen.get("promised_images", 0) <= room:
            return self._item.update(
                "SET day_tail = day_tail + :step, promised_images = promised_images + :n",
                {
                    ":step": self._step,
                    ":n": images,
                    ":first": tomorrow,
                    ":last": midnight - self._step - 1,
                    ":room": room,
                },
                "day_tail BETWEEN :first AND :last AND promised_images <= :room",
            )
        first = max(tomorrow, midnight + units(FIRST_SECONDS))
        return self._item.update(
            "SET day_tail = :first, promised_images = :n",
            {":first": first, ":n": images, ":seen": last},
            "attribute_not_exists(day_tail) OR day_tail = :seen",
        )
