#!/usr/bin/env python3
"""Simulates reviews by someone who knows the true labels, and checks what `prospect review next` and `summary` claim.

    reviews.py --config PIPELINE.toml --truth LABELS.csv [--orders 30] [--stop] [--rerun] [--prospect BIN] [--jobs 2]

LABELS.csv has the columns file_name, label, true_label, as peer_labels.py flip writes it; `prospect run labels` must have run. Each
order of reviews has its own seed and its own file of reviews. After 50, 100 and 200 reviews the interval of the precision is compared
with the truth. With --stop, reviews go on, in lists of 20 to 80, until `review next` expects the next ones to find fewer than 2 wrong
labels; the next 50 are counted. With --rerun, `prospect run labels` takes the verdicts in after 50 and after 100 reviews.
"""

import argparse
import collections
import concurrent.futures
import csv
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile

SIZES = [50, 100, 200]
BATCH = 25
FURTHER = 50


class Order:
    def __init__(self, arguments, truth, seed, folder):
        self.arguments, self.truth, self.seed = arguments, truth, seed
        self.reviews = folder / f"{seed}.csv"
        self.batch = folder / f"{seed}-batch.csv"

    def prospect(self, *command):
        settings = ["--set", f"audit.seed={self.seed}", "--set", f'audit.reviews="{self.reviews}"']
        done = subprocess.run([self.arguments.prospect, *command, "-c", self.arguments.config, *settings], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{command}: {done.stderr}")
        return done.stdout

    def next(self, n):
        return json.loads(self.prospect("review", "next", "-n", str(n), "--json"))

    def wrong(self, image):
        given, true = self.truth[image["path"]]
        return given != true

    def review(self, images):
        with open(self.batch, "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "kind", "verdict", "label"])
            for image in images:
                wrong = self.wrong(image)
                rows.writerow([image["path"], "label", "fix" if wrong else "ok", self.truth[image["path"]][1] if wrong else ""])
        self.prospect("review", "import", str(self.batch))

    def precision(self):
        """The true one, of the labels that the run's scores call suspicious."""
        query = "select path from images natural join label_scores where suspicious"
        paths = [row["path"] for row in csv.DictReader(io.StringIO(self.prospect("query", "--format", "csv", query)))]
        return sum(given != true for given, true in map(self.truth.get, paths)) / len(paths)

    def run(self):
        found = {"seed": self.seed, "intervals": []}
        done, truth = 0, self.precision()
        for size in SIZES:
            while done < size:
                self.review(self.next(BATCH)["images"])
                done += BATCH
            if self.arguments.rerun and size < SIZES[-1]:
                self.prospect("run", "labels", "-q")
                truth = self.precision()
            interval = self.next(1)["estimate"]["precision"]
            found["intervals"].append([size, interval["low"], truth, interval["high"]])
        sizes = random.Random(self.seed)
        while self.arguments.stop:
            now = self.next(FURTHER)
            if now["estimate"]["is_enough"] or len(now["images"]) < FURTHER:
                found["stopped"] = done
                found["further"] = sum(map(self.wrong, now["images"]))
                break
            now = self.next(sizes.randint(20, 80))["images"]
            self.review(now)
            done += len(now)
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--truth", required=True)
    parser.add_argument("--orders", type=int, default=30)
    parser.add_argument("--stop", action="store_true")
    parser.add_argument("--rerun", action="store_true")
    parser.add_argument("--prospect", default="target/release/prospect")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    truth = {row["file_name"]: (row["label"], row["true_label"]) for row in csv.DictReader(open(arguments.truth))}
    held, widths = collections.Counter(), collections.Counter()
    stops = []
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(1 if arguments.rerun else arguments.jobs) as pool:
        orders = [Order(arguments, truth, seed, pathlib.Path(folder)) for seed in range(1, arguments.orders + 1)]
        for found in pool.map(Order.run, orders):
            print(json.dumps(found), flush=True)
            for size, low, precision, high in found["intervals"]:
                held[size] += low <= precision <= high
                widths[size] += high - low
            if "stopped" in found:
                stops.append(found)
    n = arguments.orders
    for size in SIZES:
        print(f"{size} reviews: the interval holds the precision in {held[size]} of {n} orders; mean width {100 * widths[size] / n:.1f} points")
    if stops:
        kept = sum(stop["further"] < 2 for stop in stops)
        mean = sum(stop["further"] for stop in stops) / len(stops)
        reviewed = sum(stop["stopped"] for stop in stops) / len(stops)
        print(f"stopped after {reviewed:.0f} reviews on average; the next {FURTHER} find fewer than 2 in {kept} of {len(stops)}, {mean:.2f} on average")


if __name__ == "__main__":
    main()
