"""Damage to a study's folder: one change of one file, as a seed says."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path
from typing import Any

# Files as they are after a session; the lock and the request to stop are written by the cases.
FILES = ("study.db", "study.yaml", "environment.json", "prior.json", "lock", "stop")
ODD: list[Any] = [
    None, True, -1, 0, 1.5, -0.0, 10**20, -(10**20), 2**63, 1e308, float("nan"), float("inf"), "", "x", "\x1b[31m", "\ud800",
    "a\nb", "\0", "../..", "x" * 100_000, [], {}, [[]], [1, "a"], {"a": {"b": []}}, "2026-01-01", "NaN", "9" * 5000,
]  # fmt: skip
DEEP = "[" * 100_000
TEXTS = ("", "null", "[]", "{}", "[1]", '"text"', "NaN", "1e999", "-1", str(10**20), "9" * 5000, DEEP, '{"a":' * 50_000, "{",
         "\0\0", '{"number": 1, "number": 2}', "\ufeff{}")  # fmt: skip
TABLES = {
    "trial_user_attributes": "value_json",
    "study_user_attributes": "value_json",
    "study_system_attributes": "value_json",
    "trial_system_attributes": "value_json",
}
COLUMNS = (
    ("trials", "number"), ("trials", "state"), ("trials", "study_id"), ("trials", "datetime_start"), ("trial_values", "value"),
    ("trial_intermediate_values", "step"), ("trial_intermediate_values", "intermediate_value"), ("studies", "study_name"),
    ("version_info", "schema_version"), ("trial_params", "param_value"), ("trial_user_attributes", "key"),
    ("trial_user_attributes", "trial_id"),
)  # fmt: skip


def damage(root: Path, seed: int) -> str:
    """Do one thing to a study's folder; return what was done."""
    chance = random.Random(seed)
    kind = chance.choice(("bytes", "cut", "text", "json", "database json", "database json", "database json", "column", "table"))
    if kind in ("bytes", "cut", "text", "json"):
        path = root / chance.choice(FILES[1:] if kind in ("text", "json") else FILES)
        before = path.read_bytes()
        return f"{path.name}: {_damage_file(path, before, kind, chance)}"
    with sqlite3.connect(root / "study.db", isolation_level=None) as database:
        said = _damage_database(database, kind, chance)
    database.close()
    return f"study.db: {said}"


def _damage_file(path: Path, before: bytes, kind: str, chance: random.Random) -> str:
    if kind == "bytes":
        changed = bytearray(before)
        for _ in range(chance.choice((1, 1, 3, 30))):
            if changed:
                changed[chance.randrange(min(len(changed), chance.choice((100, 10**9))))] = chance.randrange(256)
        path.write_bytes(bytes(changed))
        return "bytes changed"
    if kind == "cut":
        size = chance.randrange(len(before) + 1)
        path.write_bytes(before[:size])
        return f"cut to {size} bytes"
    if kind == "text" or path.suffix != ".json":
        text = chance.choice(TEXTS)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return f"is {text[:30]!r}"
    data, said = odd(json.loads(before), chance)
    path.write_text(json.dumps(data))
    return said


def _damage_database(database: sqlite3.Connection, kind: str, chance: random.Random) -> str:
    if kind == "table":
        table = chance.choice([row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")])
        how = chance.choice(("DELETE FROM", "DROP TABLE"))
        database.execute("PRAGMA foreign_keys=OFF")
        database.execute(f"{how} {table}")  # names from this file only
        return f"{how} {table}"
    if kind == "column":
        table, column = chance.choice(COLUMNS)
        value = chance.choice(
            [None, -1, 10**15, 2**63 - 1, "text", b"\xff\xfe", 1.5, float("inf"), float("nan"), "", "x" * 10000, "\x1b[2J"]
        )
        try:
            database.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid = 1", (value,))  # noqa: S608  # as above
        except sqlite3.IntegrityError as error:
            return f"(nothing: {error})"
        return f"{table}.{column} = {value!r:.40}"
    table = chance.choice([*TABLES, "trial_user_attributes", "trial_user_attributes"])
    rows = database.execute(f"SELECT rowid, value_json FROM {table}").fetchall()  # noqa: S608  # as above
    if not rows:
        return "(nothing)"
    row, text = chance.choice(rows)
    if chance.random() < 0.2:
        new, said = chance.choice(TEXTS), "another text"
    else:
        data, said = odd(json.loads(text), chance)
        new = json.dumps(data)
    database.execute(f"UPDATE {table} SET value_json = ? WHERE rowid = ?", (new, row))  # noqa: S608  # as above
    return f"{table}: {said} {new[:60] if said == 'another text' else ''}"


def odd(data: Any, chance: random.Random) -> tuple[Any, str]:
    """Return plain data in which one value is odd or one key is missing, and where."""
    places: list[list[Any]] = [[]]

    def walk(value: Any, path: list[Any]) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            places.append([*path, key])
            walk(item, [*path, key])

    walk(data, [])
    path = chance.choice(places)
    value = chance.choice(ODD)
    if not path:
        return value, f"all = {value!r:.40}"
    data = json.loads(json.dumps(data))
    parent = data
    for key in path[:-1]:
        parent = parent[key]
    if chance.random() < 0.2:
        del parent[path[-1]]
        return data, f"{path} is missing"
    parent[path[-1]] = value
    return data, f"{path} = {value!r:.40}"
