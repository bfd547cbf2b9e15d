#!/usr/bin/env python3
"""Run every named query in DuckDB and in Prospect, and compare all values.

    python tests/read_audits.py -c pipeline.toml [NAME …]

DuckDB runs the files of jobs/audits unchanged on the run's Parquet files (`prospect query --views`), with parameters bound by its
client. Each query runs with its defaults, and again with other values: a class of the run, fewer rows, looser bounds. A query
with missing tables must fail in Prospect. `benches/audits.py make` writes a run folder with all tables. Exit status 1 after any
difference.
"""

import argparse
import csv
import decimal
import io
import json
import math
import subprocess
import sys

import duckdb


def prospect(args, *arguments):
    return subprocess.run(
        [args.prospect, "query", "-c", args.config, *arguments], capture_output=True, encoding="utf-8", check=False)


def output(args, *arguments):
    answer = prospect(args, *arguments)
    if answer.returncode:
        sys.exit(f"prospect query {' '.join(arguments)}: {answer.stderr}")
    return answer.stdout


def equal(text, value):
    """Whether a field of Prospect's CSV equals DuckDB's value. Sums of floats depend on the order of their terms."""
    if value is None:
        return text == ""
    if isinstance(value, bool):
        return text == str(value).lower()
    if isinstance(value, (int, decimal.Decimal)):
        return text != "" and decimal.Decimal(text) == value
    if isinstance(value, float):
        if text == "" or math.isnan(value) or math.isinf(value):
            return text.lower() == str(value)
        # DuckDB returns FLOAT as a double; Prospect writes the shortest digits of the float.
        return math.isclose(float(text), value, rel_tol=1e-7, abs_tol=1e-12)
    return text == str(value)


def difference(answer, columns, rows):
    """The first difference, or None."""
    found = list(csv.reader(io.StringIO(answer)))
    if found[0] != columns:
        return f"columns {found[0]} and {columns}"
    if len(found) - 1 != len(rows):
        return f"{len(found) - 1} and {len(rows)} rows"
    for number, (left, right) in enumerate(zip(found[1:], rows), 1):
        for column, text, value in zip(columns, left, right):
            if not equal(text, value):
                return f"row {number}, {column}: {text!r} and {value!r}"
    return None


def other_value(parameter, names):
    """A value other than the default that still gives results."""
    kind, default = parameter["kind"], parameter["default"]
    if kind == "class":
        return names[0] if names else ""
    if kind == "integer":
        return max(1, default // 2)
    if kind == "number":
        return default / 2 + 0.05
    return default


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="these queries only")
    parser.add_argument("-c", "--config", default="pipeline.toml", help="configuration of the run")
    parser.add_argument("--prospect", default="target/release/prospect")
    args = parser.parse_args()

    database = duckdb.connect()
    database.execute(output(args, "--views"))
    names = database.execute("select distinct label_name from images where label_name is not null order by label_name").fetchall()
    names = [name for name, in names]
    tables = {name for name, in database.execute("select view_name from duckdb_views() where not internal").fetchall()}
    failures = []
    for query in json.loads(output(args, "--list", "--format", "json")):
        name = query["name"]
        if args.names and name not in args.names:
            continue
        sql = output(args, "--show", name)
        missing = [table for table in query["needs"] if table not in tables]
        if missing:
            answer = prospect(args, name)
            if answer.returncode != 2 or missing[0] not in answer.stderr:
                failures.append(f"{name}: {missing} are missing, but {answer.stderr or answer.stdout}")
            print(f"{name}: skipped, the run has no {', '.join(missing)}")
            continue
        defaults = {parameter["name"]: parameter["default"] for parameter in query["parameters"]}
        changed = {parameter["name"]: other_value(parameter, names) for parameter in query["parameters"]}
        counts = []
        for values in [defaults] if changed == defaults else [defaults, changed]:
            arguments = [f"-p{key}={value}" for key, value in values.items() if value != defaults[key]]
            answer = output(args, name, "--format", "csv", *arguments)
            result = database.execute(sql, values)
            columns, rows = [column[0] for column in result.description], result.fetchall()
            counts.append(f"{len(rows)} rows")
            differs = difference(answer, columns, rows)
            if differs:
                failures.append(f"{name} {' '.join(arguments)}: prospect and DuckDB differ: {differs}")
        print(f"{name}: {', '.join(counts)}")
    for line in failures:
        print(f"failed: {line}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
