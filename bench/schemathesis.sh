#!/bin/bash
# Compares the API with its OpenAPI document: schemathesis sends the gateway every described request, with allowed and
# with forbidden values, alone and one after the other along the document's links.
#
#   bench/schemathesis.sh [BASE_URL]
#
# Without BASE_URL it starts two platforms that leave nothing behind, and tests both: one without authentication, and
# one with it, as its admin. With BASE_URL it tests that platform; TOKEN is then the access token to send, if any.
# Afterwards the shop is full of generated data.
#
#   EXAMPLES    the most requests of each kind for each operation (20)
#   SEED        the same seed gives the same requests (1)
#   PLATFORM    the binary (target/release/platform, else target/debug/platform)
#
# Needs bash, curl and Python 3 with venv. Exits with 0 if every answer was as described. Without Python it prints a
# line that it was skipped, and exits with 0 as well, except in CI.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}/python
work=$(mktemp -d)
platforms=()
trap 'for pid in "${platforms[@]}"; do kill "$pid" && wait "$pid" || true; done; rm -rf "$work"' EXIT

# An environment for each set of requirements, which is kept for the next run.
schemathesis() {
    local requirements=$here/schemathesis/requirements.txt folder
    folder=$tools/schemathesis-$(cksum <"$requirements" | cut -d ' ' -f 1)
    if ! [ -e "$folder/ready" ]; then
        python3 -m venv "$folder" &&
            "$folder/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" >&2 &&
            touch "$folder/ready" || return 1
    fi
    echo "$folder/bin/schemathesis"
}

# start NAME ARGUMENT...: starts a platform on free ports; sets $base to the address of its gateway.
start() {
    local name=$1 binary=${PLATFORM:-}
    shift
    [ -n "$binary" ] || for binary in "$here"/../target/{release,debug}/platform; do [ ! -x "$binary" ] || break; done
    "$binary" --ephemeral --port-base 0 --log-format text "$@" >"$work/$name.out" 2>"$work/$name.log" &
    platforms+=($!)
    for _ in $(seq 600); do
        base=$(awk '$1 == "gateway" { print $2 }' "$work/$name.out")
        [ -z "$base" ] || ! curl --silent --fail --output /dev/null "$base/health" || return 0
        sleep 0.1
    done
    echo "the platform is not healthy:" && cat "$work/$name.log"
    exit 1
}

# hold BASE [TOKEN]: tests a platform. Without a token, the document's security requirements do not apply.
hold() {
    echo "══ $1, seed ${SEED:-1}${2:+, with a token}"
    local document=$work/openapi.json headers=()
    curl --silent --show-error --fail --output "$document" "$1/openapi.json"
    if [ -n "${2:-}" ]; then
        headers=(--header "Authorization: Bearer $2")
    else
        sed -i -E 's/"security": *\[\{[^]]*\[\]\}\]/"security":[]/g' "$document"
    fi
    (cd "$work" && "$command" --config-file "$here/schemathesis/schemathesis.toml" run "$document" --url "$1" \
        --max-examples "${EXAMPLES:-20}" --seed "${SEED:-1}" "${headers[@]}")
}

if ! command=$(schemathesis); then
    echo "SKIPPED: schemathesis is not available: it needs python3 with venv and pip, and access to PyPI"
    [ -z "${CI:-}" ]
    exit
fi

if [ $# -gt 0 ]; then
    hold "${1%/}" "${TOKEN:-}"
    exit
fi

failed=0
start open
demo='{"name":"Demo User","email":"demo@test.com"}' # the document's example of an order is the first user's
curl --silent --show-error --fail --output /dev/null -H 'Content-Type: application/json' -d "$demo" "$base/api/users"
hold "$base" || failed=1
admin='{"email":"admin@test.com","password":"correct horse"}'
start enforced --auth enforced --users-admin-email admin@test.com --users-admin-password 'correct horse' \
    --gateway-sign-up-limit 0 --users-access-token-life 1h
answer=$(curl --silent --show-error --fail -H 'Content-Type: application/json' -d "$admin" "$base/api/users/login")
hold "$base" "$(sed -E 's/.*"access_token" *: *"([^"]+)".*/\1/' <<<"$answer")" || failed=1
grep -E 'ERROR|panicked' "$work"/*.log && failed=1
exit $failed
