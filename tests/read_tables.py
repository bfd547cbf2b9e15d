#!/usr/bin/env python3
"""Open every table of a run folder with DuckDB, Polars and pyarrow, as users do.

    python tests/read_tables.py runs/default

Checks that each library reads every row of every file, that row counts match the manifest, that types are as documented,
and that the libraries read equal values. Libraries that are not installed are reported and skipped; at least one is needed.
Exit status 1 after any failure.
"""

import argparse
import json
import math
import sys
from collections import defaultdict
from pathlib import Path

# The documented column types in pyarrow's notation; `*` stands for any length. Columns not listed (a user's metadata) may have
# any type.
TYPES = {
    "image_id": "uint32",
    "neighbor_id": "uint32",
    "path": "string",
    "digest": "string",
    "width": {"images": "int32", "*": "int16|int32"},
    "height": {"images": "int32", "*": "int16|int32"},
    "orientation": "int16",
    "label": "int32",
    "label_name": "string",
    "split": "string",
    "error": "string",
    "warning": "string",
    "brightness": "float",
    "contrast": "float",
    "sharpness": "float",
    "entropy": {"*": "float"},
    "saturation": "float",
    "warmth": "float",
    "tint": "float",
    "phash": "uint64",
    "class": "int32",
    "pred": "int32",
    "p_pred": "float",
    "p_label": "float",
    "margin": "float",
    "loss": "float",
    "top5": "list<struct<class: int32, p: float>>",
    "logits": "fixed_size_list<float>[*]",
    "vector": "fixed_size_list<float>[*]",
    "layer": "string",
    "max": {"units": "list<halffloat>|fixed_size_list<halffloat>[*]", "*": "float"},
    "mean": {"units": "list<halffloat>|fixed_size_list<halffloat>[*]", "*": "float"},
    "argmax": "list<uint16>|fixed_size_list<uint16>[*]",
    "map": "list<halffloat>|fixed_size_list<halffloat>[*]",
    "unit": "int32",
    "rank": {"issues": "int32", "label_scores": "int32", "*": "int16"},
    "value": "float",
    "row": "int16",
    "col": "int16",
    "distance": "float",
    "exact": "bool",
    "method": "string",
    "score": "float",
    "flagged": "bool",
}


def type_name(dtype, pa):
    """A pyarrow type without the names and nullability of list items, and with `*` for fixed lengths."""
    if pa.types.is_fixed_size_list(dtype):
        return f"fixed_size_list<{type_name(dtype.value_type, pa)}>[*]"
    if pa.types.is_list(dtype):
        return f"list<{type_name(dtype.value_type, pa)}>"
    if pa.types.is_struct(dtype):
        members = (dtype.field(i) for i in range(dtype.num_fields))
        return "struct<" + ", ".join(f"{m.name}: {type_name(m.type, pa)}" for m in members) + ">"
    return str(dtype)


def expected_type(table, column):
    kind = TYPES.get(column)
    if isinstance(kind, dict):
        kind = kind.get(table, kind["*"])
    return kind


def plain(value):
    """The value as plain lists, numbers and dictionaries."""
    if hasattr(value, "to_list"):
        value = value.to_list()
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def equal(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-6)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    return a == b


def read_pyarrow(pa, files):
    import pyarrow.dataset

    dataset = pyarrow.dataset.dataset([str(f) for f in files], format="parquet")
    rows = sum(batch.num_rows for batch in dataset.to_batches())
    last = dataset.take([rows - 1]).to_pylist()[0] if rows else None
    return rows, dataset.schema, last


def read_polars(pl, files):
    frame = pl.scan_parquet([str(f) for f in files], glob=False)
    rows = 0
    for file in files:
        # Read all rows instead of counting them from the footer.
        rows += pl.read_parquet(str(file), glob=False).height
    last = frame.tail(1).collect().to_dicts()[0] if rows else None
    return rows, last


def read_duckdb(duckdb, files):
    names = ", ".join("'" + str(f).replace("'", "''") + "'" for f in files)
    source = f"read_parquet([{names}])"
    connection = duckdb.connect()
    columns = [row[0] for row in connection.execute(f"describe select * from {source}").fetchall()]
    # An aggregate of every column, so that every page is decoded.
    touch = ", ".join(f'count("{c}")' for c in columns)
    rows = connection.execute(f"select count(*), {touch} from {source}").fetchone()[0]
    last = None
    if rows:
        result = connection.execute(f"select * from {source} offset {rows - 1}")
        last = dict(zip((d[0] for d in result.description), result.fetchone()))
    return rows, last


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="the run folder")
    run = parser.parse_args().run
    manifest = json.loads((run / "manifest.json").read_text())
    tables = defaultdict(list)
    for stage in manifest["stages"].values():
        for _, part in sorted(stage["parts"].items(), key=lambda item: int(item[0])):
            for file in part["files"]:
                if file["table"]:
                    tables[file["table"]].append(file)
    libraries = {}
    for name in ("pyarrow", "polars", "duckdb"):
        try:
            libraries[name] = __import__(name)
        except ImportError:
            print(f"skipped: {name} is not installed")
    if not libraries:
        sys.exit("none of pyarrow, polars and duckdb is installed")
    if not tables:
        sys.exit(f"{run} has no tables")

    failures = []
    for table, records in sorted(tables.items()):
        files = [run / record["path"] for record in records]
        expected = sum(record["rows"] for record in records)
        rows, last = {}, {}
        if "pyarrow" in libraries:
            pa = libraries["pyarrow"]
            rows["pyarrow"], schema, last["pyarrow"] = read_pyarrow(pa, files)
            for field in schema:
                kind, found = expected_type(table, field.name), type_name(field.type, pa)
                if kind and found not in kind.split("|"):
                    failures.append(f"{table}.{field.name}: expected {kind}, found {found}")
        if "polars" in libraries:
            pl = libraries["polars"]
            rows["polars"], last["polars"] = read_polars(pl, files)
        if "duckdb" in libraries:
            rows["duckdb"], last["duckdb"] = read_duckdb(libraries["duckdb"], files)
        for library, found in rows.items():
            if found != expected:
                failures.append(f"{table}: the manifest says {expected} rows, {library} reads {found}")
        values = {library: plain(value) for library, value in last.items() if value is not None}
        first = next(iter(values), None)
        for library, value in values.items():
            for column in value:
                if not equal(values[first].get(column), value[column]):
                    failures.append(f"{table}.{column}: {first} and {library} read different values in the last row")
        print(f"{table}: {len(files)} files, {expected} rows, read by {', '.join(rows)}")
    for failure in failures:
        print(f"failed: {failure}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
