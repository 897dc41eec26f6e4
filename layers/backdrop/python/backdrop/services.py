"""Everything that the work needs, as one object; built once a worker by `bootstrap`."""

from dataclasses import dataclass

from backdrop.batches import Batches
from backdrop.clock import Clock
from backdrop.events import EventPublisher
from backdrop.gateway import Gateway
from backdrop.ledger import Ledger
from backdrop.metrics import Metrics
from backdrop.prompts import FolderPrompts
from backdrop.queues import Queues
from backdrop.rate_limiter import RateLimiter
from backdrop.reconcile_progress import ReconcileProgress
from backdrop.records import Records
from backdrop.result_storage import ResultStorage
from backdrop.results import Results
from backdrop.settings import Settings
from backdrop.storage import Storage


@dataclass(frozen=True)
class Services:
    """The settings, and one object each for whatever is outside."""

    settings: Settings
    clock: Clock
    storage: Storage
    result_storage: ResultStorage
    prompts: FolderPrompts
    ledger: Ledger
    records: Records
    progress: ReconcileProgress
    batches: Batches
    rate_limiter: RateLimiter
    gateway: Gateway
    results: Results
    queues: Queues
    events: EventPublisher
    metrics: Metrics
