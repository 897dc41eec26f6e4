"""What everybody in a play shares: time, photos, keys, what goes wrong, and what has happened so far."""

import zlib

from greenlet import getcurrent

from tools.simulation.plan import Conditions
from tools.simulation.simulated_s3 import Bucket
from tools.simulation.simulated_time import START, SimulatedTime
from tools.simulation.stack import Killed, Worker
from tools.simulation.troubles import Troubles

MIDNIGHT = START - START % 86_400
FIRST_KEY = "sk-first-0123456789"


class SharedState:
    """Of one play."""

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions
        self.time = SimulatedTime()
        self.time.now = self.begin = MIDNIGHT + conditions.start
        self.photos = Bucket(is_versioned=conditions.is_versioned)
        self.api_key = FIRST_KEY
        """What the gateway takes."""
        self.ssm_key = FIRST_KEY
        self.troubles = Troubles()
        self.history: list[tuple[float, str, str]] = []
        self.violations: list[str] = []
        """Promises that were broken, in the order in which they were."""
        self.kills = 0
        self.handed_back = 0
        """Events of uploads that Lambda sends on because the function raised."""
        self.lost_answers = 0
        """Of AWS, for good: whoever asked can't know what took place."""

    def note(self, who: str, what: str) -> None:
        """One more line of the story."""
        self.history.append((self.time.now, who, what))

    def broken(self, what: str) -> None:
        """A violation; the same one is told once."""
        if what not in self.violations:
            self.violations.append(what)
            self.note("VIOLATION", what)

    def chance(self, what: str) -> float:
        """Between 0 and 1, always the same for the same of one seed."""
        return zlib.crc32(f"{self.conditions.seed} {what}".encode()) / 2**32

    def check_alive(self, worker: Worker) -> None:
        """A dead worker does nothing more."""
        if worker.is_dead:
            raise Killed("it was killed")

    def kill(self, worker: Worker, where: str) -> None:
        """Its process ends here."""
        worker.is_dead = True
        self.kills += 1
        raise Killed(where)

    # Time, for the code that workers run

    def clock(self) -> float:
        """A worker's clock may be off."""
        worker: Worker | None = getattr(getcurrent(), "worker", None)
        return self.time.now + (worker.skew if worker else 0.0)

    def elapsed(self) -> float:
        """As the time of the simulation."""
        return self.time.now

    def pause(self, seconds: float) -> None:
        """Wait, unless Lambda's time is over before."""
        worker: Worker = getcurrent().worker
        self.check_alive(worker)
        if self.time.now + seconds >= worker.ends_at:
            self.time.sleep(max(0.0, worker.ends_at - self.time.now))
            self.kill(worker, "Lambda's time is over")
        self.time.sleep(seconds)
        self.check_alive(worker)
