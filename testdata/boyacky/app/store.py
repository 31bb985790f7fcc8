"""Where grumbles are kept: in DynamoDB, or in memory while the process lives."""

import threading
import uuid
from dataclasses import dataclass

SHOWN = 200  # of one day, at most
KEPT = 1000  # in memory, at most; the oldest go first


@dataclass(frozen=True)
class Grumble:
    id: str
    date: str  # 2026-01-31
    time: str  # 12:34:56.789012
    text: str


def open_store(env):
    kind = env.get("BOYACKY_STORE") or "dynamodb"
    if kind == "memory":
        return MemoryStore()
    if kind == "dynamodb":
        return DynamoStore(env.get("AWS_REGION"), env.get("DYNAMODB_ENDPOINT"))
    raise SystemExit(f"BOYACKY_STORE is {kind!r}: it can be dynamodb or memory")


class MemoryStore:
    name = "memory"

    def __init__(self):
        self._lock = threading.Lock()
        self._grumbles = {}

    def add(self, date, time, text):
        grumble = Grumble(uuid.uuid4().hex, date, time, text)
        with self._lock:
            self._grumbles[grumble.id] = grumble
            while len(self._grumbles) > KEPT:
                del self._grumbles[next(iter(self._grumbles))]

    def list(self, date):
        with self._lock:
            found = [g for g in self._grumbles.values() if g.date == date]
        return sorted(found, key=lambda g: g.time, reverse=True)[:SHOWN]

    def delete(self, grumble_id):
        with self._lock:
            self._grumbles.pop(grumble_id, None)


class DynamoStore:
    name = "dynamodb"

    def __init__(self, region, endpoint=None):
        if not region:
            raise SystemExit("AWS_REGION is not set: it says where the DynamoDB table is")
        self._model = grumble_model(region, endpoint or None)
        # In AWS the table belongs to the infrastructure, and this program has
        # no right to make one. At another endpoint there may be none yet.
        if endpoint and not self._model.exists():
            self._model.create_table(wait=True)

    def add(self, date, time, text):
        self._model(uuid.uuid4().hex, date=date, time=time, text=text).save()

    def list(self, date):
        found = self._model.by_date.query(date, scan_index_forward=False, limit=SHOWN)
        return [Grumble(g.id, g.date, g.time, g.text) for g in found]

    def delete(self, grumble_id):
        self._model(grumble_id).delete()


def grumble_model(region, endpoint):
    """The table `boyacky` and its index by date and time."""
    # Imported here, because it takes a while and memory mode has no use for it.
    from pynamodb.attributes import UnicodeAttribute
    from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
    from pynamodb.models import Model

    class ByDate(GlobalSecondaryIndex):
        class Meta:
            index_name = "date-time-index"
            projection = AllProjection()

        date = UnicodeAttribute(hash_key=True)
        time = UnicodeAttribute(range_key=True)

    class GrumbleItem(Model):
        class Meta:
            table_name = "boyacky"
            billing_mode = "PAY_PER_REQUEST"
            connect_timeout_seconds = 3
            read_timeout_seconds = 5

        id = UnicodeAttribute(hash_key=True)
        date = UnicodeAttribute()
        time = UnicodeAttribute()
        text = UnicodeAttribute()
        by_date = ByDate()

    GrumbleItem.Meta.region = ByDate.Meta.region = region
    GrumbleItem.Meta.host = ByDate.Meta.host = endpoint
    return GrumbleItem
