#!/usr/bin/env bash
# One night: a run in a folder of its own, which takes over what has not changed since the last one, and is compared with it.
#
#   jobs/nightly.sh [-c pipeline.toml] [--set SECTION.KEY=VALUE ...]
#
# Settings, from the environment:
#   PROSPECT            the program (default: target/release/prospect of this clone, else the one on PATH)
#   PROSPECT_RUNS       the folder of the nights (default: runs/nightly beside the configuration)
#   PROSPECT_NIGHT      what this night is called (default: today, 2026-11-23)
#   PROSPECT_MAX_NEW    more new findings than this end with status 3 (default: 0)
#   PROSPECT_KEEP       complete nights that are kept (default: 14)
#   PROSPECT_TEXTFILE   a .prom file for node_exporter's textfile collector (default: none)
#
# In the folder of the nights: <night>/ (a run folder, with summary.md and summary.json once it is complete), latest (a
# link to the last complete one), logs/<night>.log, reviews.csv (`prospect review --set run.dir=...` of any night).
# A night that was cut off goes on the next time. What is worth a mail goes to standard output: the summary where
# there is more news than allowed, the end of the log where something failed.
#
# Exit status: 0 fine, 3 more new findings than allowed; nothing was compared, or not all of it: 2 wrong usage or
# configuration, 65 bad data, 74 input/output error, 75 the last night still runs, 130 interrupted (goes on the next time).
#
# Every night at 02:30, by cron (crontab -e), which mails what is printed:
#   30 2 * * * cd /srv/prospect && jobs/nightly.sh -c photos.toml
# or by systemd: see jobs/prospect-nightly.service and jobs/prospect-nightly.timer.
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
    echo "nightly: $config is not there; name the configuration with -c" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
config=$(realpath "$config")
runs=${PROSPECT_RUNS:-$(dirname "$config")/runs/nightly}
prospect=${PROSPECT:-$here/../target/release/prospect}
if [ ! -x "$prospect" ] && ! prospect=$(command -v prospect); then
    echo "nightly: no program prospect; build it (cargo build --release), or name it with PROSPECT" >&2
    exit 2
fi
mkdir -p "$runs/logs"
runs=$(realpath "$runs")

exec 9>"$runs/.nightly.lock"
if ! flock --nonblock 9; then
    echo "nightly: $runs is in use by another night" >&2
    exit 75
fi

# Nights by name, which sorts as they came; complete ones have a summary.
nights() { find "$runs" -mindepth 2 -maxdepth 2 -name "$1" -printf '%h\n' | grep -v '/logs$' | sort; }
night=${PROSPECT_NIGHT:-$(date +%F)}
previous=$(nights summary.json | grep -vxF "$runs/$night" | tail -n 1 || true)
begun=$(nights manifest.json | tail -n 1 || true)
if [ -z "${PROSPECT_NIGHT:-}" ] && [ -n "$begun" ] && [ ! -e "$begun/summary.json" ]; then
    night=$(basename "$begun")
fi
run=$runs/$night
log=$runs/logs/$night.log
settings+=(--set "run.dir=$run")
if [ -n "$previous" ]; then
    settings+=(--set "run.previous=$previous")
fi

# Ctrl-C and `systemctl stop` reach the program, too: it finishes its part and tells by its status that it was interrupted.
trap : INT TERM
prospect() {
    echo "$(date --iso-8601=seconds) prospect $*" >>"$log"
    "$prospect" "$@" >>"$log" 2>&1
}
fail() {
    echo "nightly: $night ended with status $1; the end of $log:"
    tail -n 15 "$log"
    exit "$1"
}

rm -f "$run/summary.json"
prospect run -c "$config" "${settings[@]}" || fail $?
status=0
prospect summary -c "$config" "${settings[@]}" --max-new "${PROSPECT_MAX_NEW:-0}" \
    --markdown "$run/summary.md" ${PROSPECT_TEXTFILE:+--prometheus "$PROSPECT_TEXTFILE"} \
    --json "$run/summary.json" || status=$?
case $status in
    0) ;;
    3) cat "$run/summary.md" ;;
    *) fail "$status" ;;
esac
ln -sfn "$night" "$runs/latest"

# Old nights go, and what never was completed before this one. The last complete ones stay.
keep=${PROSPECT_KEEP:-14}
{
    nights summary.json | head -n "-$((keep > 1 ? keep : 1))"
    nights manifest.json | while read -r folder; do
        if [ ! -e "$folder/summary.json" ] && [[ "$folder" < "$run" ]]; then echo "$folder"; fi
    done
} | while read -r folder; do
    echo "$(date --iso-8601=seconds) removing $folder" >>"$log"
    rm -rf -- "$folder" "$runs/logs/$(basename "$folder").log"
done
exit "$status"
