#!/usr/bin/env bash
# Runs the client of an application of YARN, which waits for the application's end, and runs it again if the application failed. The
# arguments are the client's command.
#
# YARN starts no killed container and no failed application again. The job goes on from its last checkpoint. These are not
# started again: an application that failed before the job worked for the first time (the file `worked` is absent), so that
# `submit` reports the failure; one that was drained, or killed on purpose; and one that YARN refused.
set -uo pipefail

most_in_an_hour=10
did_not_succeed=2 # the client's exit code
starts=()
rm -f worked

while :; do
  starts+=("$SECONDS")
  # The client reports the state every second, which would fill the log. Without -a, tee would empty it.
  { end=$("$@" 2>&1 | grep --line-buffered -v 'Got application report' | tee -a /dev/fd/3 | tail -n 20; exit "${PIPESTATUS[0]}"); } 3>&1
  result=$?
  if ((result != did_not_succeed)) || ! [ -e worked ] || grep -q 'YarnState=KILLED' <<<"$end"; then
    exit "$result"
  fi

  if ((${#starts[@]} >= most_in_an_hour && SECONDS - starts[-most_in_an_hour] < 3600)); then
    echo "client.sh: the application failed $most_in_an_hour times within an hour, and is not started again" >&2
    exit "$result"
  fi
  echo "client.sh: the application failed, and is started again" >&2
  sleep "${JOB_PAUSE_S:-5}"
done
