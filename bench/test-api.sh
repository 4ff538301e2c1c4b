#!/bin/bash
# The demo, request by request: a user, a product, an order, and the order counted in its minute.
#
#   bench/test-api.sh [BASE]        BASE is http://localhost:5000 unless given
#
# Needs bash and curl. May be run repeatedly against the same platform. Exits with 0 if all answers were as expected,
# and with 1 at the first that was not.
set -euo pipefail

BASE="${1:-http://localhost:5000}"
BASE="${BASE%/}"
# A window closes when its minute is over and the allowed disorder has passed.
COUNTED_WITHIN_SECONDS=110

status= # of the latest request
body=   # its answer

fail() {
    printf '\n✗ %s\n  last answer: %s %s\n' "$1" "$status" "$body" >&2
    exit 1
}

request() { # METHOD PATH [BODY]
    local answer data=()
    [ $# -lt 3 ] || data=(-H 'Content-Type: application/json' -d "$3")
    answer=$(curl --silent --show-error --max-time 30 --write-out '\n%{http_code}' -X "$1" "${data[@]}" "$BASE$2") ||
        { status=none body=; fail "$1 $BASE$2 was not answered"; }
    status="${answer##*$'\n'}"
    body="${answer%$'\n'*}"
}

show() { # METHOD PATH [BODY]: a request that is printed
    request "$@"
    printf '\n%s %s %s\n  %s %.300s\n' "$1" "$2" "${3:-}" "$status" "$body"
}

expect() { # STATUS...
    local wanted
    for wanted in "$@"; do [ "$status" != "$wanted" ] || return 0; done
    fail "expected status $*"
}

field() { # NAME: the first field of that name in the answer, without quotes
    grep -oE "\"$1\" *: *(\"[^\"]*\"|[0-9]+)" <<<"$body" | head -n 1 | sed -E 's/^"[^"]*" *: *"?//; s/"$//' || true
}

objects() { # the flat objects of the answer, one on each line
    tr '{' '\n' <<<"$body"
}

require() { # NAME: the field, which must be there
    local value
    value=$(field "$1")
    [ -n "$value" ] || fail "the answer has no \"$1\""
    printf '%s' "$value"
}

find_user() { # E-MAIL: searches every page
    local cursor= found
    while :; do
        request GET "/api/users?limit=100${cursor:+&cursor=$cursor}"
        expect 200
        found=$(objects | grep -F "\"$1\"" | grep -oE '"id" *: *[0-9]+' | grep -oE '[0-9]+' | head -n 1) || true
        cursor=$(field next)
        if [ -n "$found" ] || [ -z "$cursor" ]; then break; fi
    done
    [ -n "$found" ] || fail "no user with the e-mail $1 is listed"
    printf '%s' "$found"
}

show GET /health
expect 200
[ "$(field status)" = ok ] || fail 'the platform is not healthy'

email="demo-$(date +%s)-$$@test.com"
show POST /api/users "{\"name\":\"Demo User\",\"email\":\"$email\"}"
expect 201
user=$(require id)

show GET /api/users
expect 200
[ "$(find_user "$email")" = "$user" ] || fail "the user is not listed with id $user"

show POST /api/products '{"name":"Demo Product","price_cents":1999,"currency":"USD","stock":1000000}'
expect 201
product=$(require id)

show POST /api/orders "{\"user_id\":$user,\"items\":[{\"product_id\":\"$product\",\"quantity\":2}]}"
expect 201
order=$(require id)
[ "$(field total_cents)" = 3998 ] || fail 'two times 1999 is 3998'
minute=$(require created_at)
minute="${minute:0:16}" # to the minute

request GET "/api/orders/$order"
expect 200

show GET /api/analytics/summary
expect 200

show POST "/api/orders/$order/payments" '{"token":"sim-decline"}'
expect 422

show POST "/api/orders/$order/payments" '{"token":"sim-approve"}'
expect 201
request GET "/api/orders/$order"
[ "$(field status)" = paid ] || fail 'the order is not paid'

printf '\nwaiting until order %s of user %s is counted in %s (a minute and some seconds)\n' "$order" "$user" "$minute"
deadline=$((SECONDS + COUNTED_WITHIN_SECONDS))
while :; do
    request GET '/api/analytics/recent?limit=100'
    expect 200
    counted=$(objects | grep -E "\"user_id\" *: *$user[,}]" | grep -F "\"$minute" | grep -E '"window_start" *: *"'"$minute") || true
    [ -z "$counted" ] || break
    [ "$SECONDS" -lt "$deadline" ] || fail "the order was not counted within $COUNTED_WITHIN_SECONDS s"
    sleep 1
done
printf '\nGET /api/analytics/recent\n  %s\n' "{${counted%%\}*}}"
count=$(grep -oE '"order_count" *: *[0-9]+' <<<"$counted" | grep -oE '[0-9]+' | head -n 1) || true
[ "${count:-0}" -ge 1 ] || fail 'the window counts no order'

show GET /api/analytics/summary
expect 200
printf '\n✓ all checks passed\n'
