#!/usr/bin/env python3
"""Ask every named query in DuckDB and in Prospect, and compare all values.

    python tests/read_audits.py -c pipeline.toml [NAME …]

The files of jobs/audits run in DuckDB as they are, over the run's own Parquet files (`prospect query --views`), with their
parameters bound by DuckDB's client. Each is asked with its defaults, and once more with other values: a class of the run,
fewer rows, laxer bounds. A query whose tables the run lacks must fail in both. `benches/audits.py make` writes a run folder that
has them all. Exit status 1 if anything differs.
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


def alike(text, value):
    """Whether a field of Prospect's CSV is DuckDB's value. Sums of floats differ by the order of their terms."""
    if value is None:
        return text == ""
    if isinstance(value, bool):
        return text == str(value).lower()
    if isinstance(value, (int, decimal.Decimal)):
        return text != "" and decimal.Decimal(text) == value
    if isinstance(value, float):
        if text == "" or math.isnan(value) or math.isinf(value):
            return text.lower() == str(value)
        # DuckDB's FLOAT comes as a double: Prospect writes the shortest digits of either.
        return math.isclose(float(text), value, rel_tol=1e-7, abs_tol=1e-12)
    return text == str(value)


def difference(answer, columns, rows):
    """What differs first, or nothing."""
    found = list(csv.reader(io.StringIO(answer)))
    if found[0] != columns:
        return f"columns {found[0]} and {columns}"
    if len(found) - 1 != len(rows):
        return f"{len(found) - 1} and {len(rows)} rows"
    for number, (left, right) in enumerate(zip(found[1:], rows), 1):
        for column, text, value in zip(columns, left, right):
            if not alike(text, value):
                return f"row {number}, {column}: {text!r} and {value!r}"
    return None


def others(parameter, names):
    """Another value than the default, with which there is something to be found."""
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
    parser.add_argument("names", nargs="*", help="these queries alone")
    parser.add_argument("-c", "--config", default="pipeline.toml", help="configuration that names the run folder")
    parser.add_argument("--prospect", default="target/release/prospect")
    args = parser.parse_args()

    database = duckdb.connect()
    database.execute(output(args, "--views"))
    names = database.execute("select distinct label_name from images where label_name is not null order by label_name").fetchall()
    names = [name for name, in names]
    tables = {name for name, in database.execute("select view_name from duckdb_views() where not internal").fetchall()}
    wrong = []
    for query in json.loads(output(args, "--list", "--format", "json")):
        name = query["name"]
        if args.names and name not in args.names:
            continue
        sql = output(args, "--show", name)
        missing = [table for table in query["needs"] if table not in tables]
        if missing:
            answer = prospect(args, name)
            if answer.returncode != 2 or missing[0] not in answer.stderr:
                wrong.append(f"{name}: {missing} are missing, but {answer.stderr or answer.stdout}")
            print(f"{name}: not asked, the run has no {', '.join(missing)}")
            continue
        defaults = {parameter["name"]: parameter["default"] for parameter in query["parameters"]}
        changed = {parameter["name"]: others(parameter, names) for parameter in query["parameters"]}
        told = []
        for values in [defaults] if changed == defaults else [defaults, changed]:
            arguments = [f"-p{key}={value}" for key, value in values.items() if value != defaults[key]]
            answer = output(args, name, "--format", "csv", *arguments)
            result = database.execute(sql, values)
            columns, rows = [column[0] for column in result.description], result.fetchall()
            told.append(f"{len(rows)} rows")
            differs = difference(answer, columns, rows)
            if differs:
                wrong.append(f"{name} {' '.join(arguments)}: prospect and DuckDB give {differs}")
        print(f"{name}: {', '.join(told)}")
    for line in wrong:
        print(f"wrong: {line}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
