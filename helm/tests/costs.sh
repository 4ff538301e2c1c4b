#!/usr/bin/env bash
# Measures what one iteration of a customer of the load test costs in CPU, service by service, and how much memory each then has:
# the services run as processes of their own on embedded stores, behind the gateway. Writes costs.json, on which autoscale.sh
# stands. Half a minute.
#
#   helm/tests/costs.sh [path of the platform binary]      target/release/platform unless given
set -uo pipefail

cd "$(dirname "$0")"
program=$(realpath "${1:-../../target/release/platform}")
tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}
export PATH="$tools/bin:$PATH" TIDEMARK_PORT_BASE=${PORT_BASE:-15700} seconds=20
command -v k6 >/dev/null || { echo "SKIPPED: k6 is not installed (helm/tests/tools.sh k6)"; exit 0; }
[ -x "$program" ] || { echo "SKIPPED: $program is not built"; exit 0; }

for called in users:1 products:2 orders:3 notifications:4 analytics:5; do
  name=${called%:*}
  export "TIDEMARK_${name^^}_URL=http://127.0.0.1:$((TIDEMARK_PORT_BASE + ${called#*:}))"
done
work=$(mktemp -d)
export TIDEMARK_DATA=$work/data
mkdir "$TIDEMARK_DATA"
declare -A pids
trap 'kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

ready() { # port
  for _ in $(seq 100); do curl -sf "http://127.0.0.1:$1/health/ready" >/dev/null && return; sleep 0.1; done
  return 1
}
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; } # hundredths of a second of CPU

offset=0
for service in gateway users products orders; do
  "$program" "$service" >"$work/$service.log" 2>&1 &
  pids[$service]=$!
  [ "$service" = gateway ] || ready $((TIDEMARK_PORT_BASE + offset)) || { echo "FAILED: $service is not ready"; tail -5 "$work/$service.log"; exit 1; }
  offset=$((offset + 1))
done

declare -A before
for service in gateway orders; do before[$service]=$(ticks "${pids[$service]}"); done
result=$(BASE_URL=http://127.0.0.1:$TIDEMARK_PORT_BASE DURATION=${seconds}s k6 run --quiet ../../bench/k6/cost.js 2>"$work/k6.log") ||
  { echo "FAILED: the load"; tail -5 "$work/k6.log"; exit 1; }
iterations=$(sed -n 's/.*"iterations":\([0-9]*\).*/\1/p' <<<"$result")

cost() { # service: microseconds of CPU an iteration, MiB
  local used=$(($(ticks "${pids[$1]}") - before[$1])) kib
  kib=$(awk '/VmRSS/ { print $2 }' "/proc/${pids[$1]}/status")
  printf '    "%s": {"cpu_us_per_iteration": %d, "memory_mib": %d}' "$1" $((used * 10000 / iterations)) $((kib / 1024))
}
{
  printf '{\n  "how": "%s iterations in %s s on %s cores, embedded stores, %s",\n  "services": {\n' "$iterations" "$seconds" "$(nproc)" "$(date -u +%F)"
  cost gateway; echo ","
  cost orders; printf '\n  }\n}\n'
} >costs.json
cat costs.json
