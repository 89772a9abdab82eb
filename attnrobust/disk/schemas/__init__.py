"""What must be in the files that stages leave for each other: one schema for each kind of file.

Settings are `config.from_json`'s; all else that is read back from a run or from records comes
through here, so that whatever is damaged ends in one line that names the file.
"""

from attnrobust.disk.schemas.arrays import (
    ATTACKED,
    EXPLAINED,
    MEASURED,
    PREDICTED,
    SCORED,
    SEEN,
    SHOWN,
    crafted,
    judged,
    load_npz,
)
from attnrobust.disk.schemas.kinds import (
    SHARD,
    Adopted,
    Checks,
    Progress,
    Provenance,
    Randomised,
    Stamp,
    Written,
)
from attnrobust.disk.schemas.plain import (
    checked,
    damaged,
    load_history,
    load_json,
    load_records,
    records,
)
from attnrobust.disk.schemas.tables import COMPARISON, MEASUREMENTS, load_table

__all__ = [
    "ATTACKED",
    "COMPARISON",
    "EXPLAINED",
    "MEASURED",
    "MEASUREMENTS",
    "PREDICTED",
    "SCORED",
    "SEEN",
    "SHARD",
    "SHOWN",
    "Adopted",
    "Checks",
    "Progress",
    "Provenance",
    "Randomised",
    "Stamp",
    "Written",
    "checked",
    "crafted",
    "damaged",
    "judged",
    "load_history",
    "load_json",
    "load_npz",
    "load_records",
    "load_table",
    "records",
]
