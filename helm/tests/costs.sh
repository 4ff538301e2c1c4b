#!/usr/bin/env bash
# Measures the CPU time of one iteration of the load test in each service, and each service's memory. The services run as processes
# of their own on embedded stores, behind the gateway, and authenticate callers, as in the cluster. Writes costs.json, which
# autoscale.sh reads. Takes half a minute.
#
#   helm/tests/costs.sh [path of the platform binary]      target/release/platform unless given
#
# TIDEMARK_AUTH=open measures without authentication; SECONDS_OF_LOAD and PORT_BASE are 20 and 15700 unless given.
set -uo pipefail

cd "$(dirname "$0")"
program=$(realpath "${1:-../../target/release/platform}")
tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}
seconds=${SECONDS_OF_LOAD:-20} base=${PORT_BASE:-15700}
export PATH="$tools/bin:$PATH" TIDEMARK_PORT_BASE=$base TIDEMARK_AUTH=${TIDEMARK_AUTH:-enforced} RUST_BACKTRACE=0
# shellcheck source=helm/tests/verdict.sh
. ./verdict.sh
command -v k6 >/dev/null || cannot "k6 is not installed (helm/tests/tools.sh k6)"
[ -x "$program" ] || cannot "$program is not built"

for called in users:1 products:2 orders:3 notifications:4 analytics:5; do
  name=${called%:*}
  export "TIDEMARK_${name^^}_URL=http://127.0.0.1:$((base + ${called#*:}))"
done
work=$(mktemp -d)
export TIDEMARK_MYSQL=sqlite://$work/shop.db TIDEMARK_JWKS_URL=http://127.0.0.1:$((base + 1))/.well-known/jwks.json
[ "$TIDEMARK_AUTH" = open ] || {
  TIDEMARK_SERVICE_SECRET=$(openssl rand -hex 32) ADMIN_EMAIL=admin@example.com ADMIN_PASSWORD=$(openssl rand -hex 16)
  export TIDEMARK_SERVICE_SECRET ADMIN_EMAIL ADMIN_PASSWORD TIDEMARK_USERS_ADMIN_EMAIL=$ADMIN_EMAIL TIDEMARK_USERS_ADMIN_PASSWORD=$ADMIN_PASSWORD
}
declare -A pids
trap 'kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

ready() { # port, path
  local start=$SECONDS
  until curl -sf "http://127.0.0.1:$1/health/$2" >/dev/null; do
    [ $((SECONDS - start)) -lt 60 ] || return 1
    sleep 0.1
  done
}
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; } # hundredths of a second of CPU

offset=0
for service in gateway users products orders; do
  "$program" "$service" --data "$work/$service" >"$work/$service.log" 2>&1 &
  pids[$service]=$!
  asked=ready
  [ "$service" = gateway ] && asked=live # it is ready when all services that it calls are, and two of them do not run here
  ready $((base + offset)) $asked || { echo "FAILED: $service is not $asked"; tail -5 "$work/$service.log"; exit 1; }
  offset=$((offset + 1))
done

declare -A before
for service in gateway orders; do before[$service]=$(ticks "${pids[$service]}"); done
result=$(BASE_URL=http://127.0.0.1:$base DURATION=${seconds}s k6 run --quiet ../../bench/k6/cost.js 2>"$work/k6.log") ||
  { echo "FAILED: the load"; head -3 "$work/k6.log"; grep -h "ERROR\|\"level\":\"error" "$work"/{gateway,users,products,orders}.log | head -3; exit 1; }
iterations=$(sed -n 's/.*"iterations":\([0-9]*\).*/\1/p' <<<"$result")

cost() { # service: prints microseconds of CPU time for each iteration, and MiB
  local used=$(($(ticks "${pids[$1]}") - before[$1])) kib
  kib=$(awk '/VmRSS/ { print $2 }' "/proc/${pids[$1]}/status")
  printf '    "%s": {"cpu_us_per_iteration": %d, "memory_mib": %d}' "$1" $((used * 10000 / iterations)) $((kib / 1024))
}
build=$(basename "$(dirname "$program")")
{
  printf '{\n  "how": "%s build, callers %s, %s iterations in %s s on %s cores, embedded stores, %s",\n  "services": {\n' \
    "$build" "$([ "$TIDEMARK_AUTH" = open ] && echo "not asked" || echo "asked")" "$iterations" "$seconds" "$(nproc)" "$(date -u +%F)"
  cost gateway; echo ","
  cost orders; printf '\n  }\n}\n'
} >costs.json
cat costs.json
