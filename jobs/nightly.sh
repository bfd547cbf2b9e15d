#!/usr/bin/env bash
# Nightly run in a separate run folder: reuses unchanged images of the last night and compares the findings with it.
#
#   jobs/nightly.sh [-c pipeline.toml] [--set SECTION.KEY=VALUE ...]
#
# Settings, from the environment:
#   PROSPECT            the program (default: target/release/prospect of this clone, else prospect on PATH)
#   PROSPECT_RUNS       folder of the nightly runs (default: runs/nightly beside the configuration)
#   PROSPECT_NIGHT      name of this night (default: today's date, such as 2026-11-23)
#   PROSPECT_MAX_NEW    exit with status 3 if more findings are new (default: 0)
#   PROSPECT_KEEP       number of complete nights to keep (default: 14)
#   PROSPECT_TEXTFILE   a .prom file for node_exporter's textfile collector (default: none)
#
# PROSPECT_RUNS contains <night>/ (a run folder, with summary.md and summary.json when complete), latest (a link to the
# last complete night), logs/<night>.log and reviews.csv (`prospect review --set run.dir=...` of any night).
# An interrupted night resumes the next time, and so does one that failed with an I/O error, twice; after any other failure, the next
# night starts afresh. If the disk is full, the oldest nights but the last one are removed, and the night goes on. Standard output gets only what is worth a mail: the summary if more findings
# are new than allowed, or the end of the log after an error.
#
# Exit status: 0 success, 3 more new findings than allowed. Without a complete comparison: 2 invalid usage or configuration,
# 65 bad data, 74 I/O error, 75 the last night is still running, 130 interrupted (resumes the next time).
#
# To run every night at 02:30, use cron (crontab -e), which mails the output:
#   30 2 * * * cd /srv/prospect && jobs/nightly.sh -c photos.toml
# or systemd: see jobs/prospect-nightly.service and jobs/prospect-nightly.timer.
set -euo pipefail

usage() {
    echo "usage: jobs/nightly.sh [-c pipeline.toml] [--set SECTION.KEY=VALUE ...]" >&2
    exit 2
}

config=pipeline.toml
settings=()
while [ $# -gt 0 ]; do
    case $1 in
        -c | --config) [ $# -ge 2 ] || usage; config=$2; shift 2 ;;
        --set) [ $# -ge 2 ] || usage; settings+=(--set "$2"); shift 2 ;;
        *) usage ;;
    esac
done
if [ ! -f "$config" ]; then
    echo "nightly: $config not found; set the configuration with -c" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
config=$(realpath "$config")
runs=${PROSPECT_RUNS:-$(dirname "$config")/runs/nightly}
prospect=${PROSPECT:-$here/../target/release/prospect}
if [ ! -x "$prospect" ] && ! prospect=$(command -v prospect); then
    echo "nightly: prospect not found; build it (cargo build --release), or set PROSPECT" >&2
    exit 2
fi
mkdir -p "$runs/logs"
runs=$(realpath "$runs")

exec 9>"$runs/.nightly.lock"
if ! flock --nonblock 9; then
    echo "nightly: $runs is in use by another nightly run" >&2
    exit 75
fi

# Nights sorted by name, hence by date; complete ones have a summary.
nights() { find "$runs" -mindepth 2 -maxdepth 2 -name "$1" -printf '%h\n' | grep -v '/logs$' | sort; }
night=${PROSPECT_NIGHT:-$(date +%F)}
previous=$(nights summary.json | grep -vxF "$runs/$night" | tail -n 1 || true)
last=$(nights manifest.json | tail -n 1 || true)
# Whether an unfinished night is worth another try: its failures are I/O errors, and not many.
resumes() {
    local failed=$runs/logs/$1.failed
    [ ! -e "$failed" ] || { [ "$(wc -l <"$failed")" -le 2 ] && ! grep -qvx 74 "$failed"; }
}
if [ -z "${PROSPECT_NIGHT:-}" ] && [ -n "$last" ] && [ ! -e "$last/summary.json" ] && resumes "$(basename "$last")"; then
    night=$(basename "$last")
fi
run=$runs/$night
log=$runs/logs/$night.log
settings+=(--set "run.dir=$run")
if [ -n "$previous" ]; then
    settings+=(--set "run.previous=$previous")
fi

# Ctrl-C and `systemctl stop` also reach the program, which finishes its part and exits with status 130.
trap : INT TERM
prospect() {
    echo "$(date --iso-8601=seconds) prospect $*" >>"$log"
    "$prospect" "$@" >>"$log" 2>&1
}
# Removes a night.
remove() {
    echo "$(date --iso-8601=seconds) removing $1" >>"$log"
    rm -rf -- "$1" "$runs/logs/$(basename "$1").log" "$runs/logs/$(basename "$1").failed"
}
# Runs, with fewer old nights if the disk is full.
run() {
    local status before oldest
    while true; do
        before=$(($(cat "$log" 2>/dev/null | wc -c) + 1))
        status=0
        prospect run -c "$config" "${settings[@]}" || status=$?
        [ "$status" = 74 ] || return "$status"
        tail -c "+$before" "$log" | grep -E "is free; the largest|No space left|[Qq]uota exceeded" >/dev/null || return 74
        oldest=$(nights summary.json | grep -vxF -e "$previous" -e "$run" | head -n 1 || true)
        [ -n "$oldest" ] || return 74
        remove "$oldest"
    done
}
fail() {
    # 2: nothing was tried; 75 and 130: it resumes.
    case $1 in
        2 | 75 | 130) ;;
        *) echo "$1" >>"$runs/logs/$night.failed" ;;
    esac
    echo "nightly: $night failed with status $1; the end of $log:"
    tail -n 15 "$log"
    exit "$1"
}

rm -f "$run/summary.json"
run || fail $?
status=0
prospect summary -c "$config" "${settings[@]}" --max-new "${PROSPECT_MAX_NEW:-0}" \
    --markdown "$run/summary.md" ${PROSPECT_TEXTFILE:+--prometheus "$PROSPECT_TEXTFILE"} \
    --json "$run/summary.json" || status=$?
case $status in
    0) ;;
    3) cat "$run/summary.md" ;;
    *) fail "$status" ;;
esac
rm -f "$runs/logs/$night.failed"
ln -sfn "$night" "$runs/latest"

# Remove old nights, and earlier incomplete ones.
keep=${PROSPECT_KEEP:-14}
{
    nights summary.json | head -n "-$((keep > 1 ? keep : 1))"
    nights manifest.json | while read -r folder; do
        if [ ! -e "$folder/summary.json" ] && [[ "$folder" < "$run" ]]; then echo "$folder"; fi
    done
} | while read -r folder; do
    remove "$folder"
done
exit "$status"
