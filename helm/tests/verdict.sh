# Sourced by the chart's checks and drills: counts and prints passed and failed checks.
#
#   holds sentence command…      runs the command, and prints the sentence and the result; after a failure also the end of its output
#   pass sentence, fail sentence the same where the script has decided; fail prints the end of $work/said
#   cannot reason                exits with 3, because a tool is missing: a check that did not run has not passed
#   verdict                      prints the counts; false if a check failed or none ran
#
# $work is a folder of the script's own.

passed=0 failed=0

say() { echo "$*"; }

pass() { passed=$((passed + 1)); say "ok      $1"; }
fail() { failed=$((failed + 1)); say "FAILED  $1"; tail -20 "$work/said" | sed 's/^/          /'; }

holds() {
  local sentence=$1; shift
  if "$@" >"$work/said" 2>&1; then pass "$sentence"; else fail "$sentence"; fi
}

cannot() { echo "NOT RUN: $*" >&2; exit 3; }

verdict() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
