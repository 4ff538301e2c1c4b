#!/usr/bin/env bash
# Starts one process of a job in a container of YARN's DistributedShell: reads the job's variables, and finds the other processes.
#
# The hosts of containers are not known beforehand, so each process writes its address to a file of the application's attempt on the
# cluster's file system, and waits for those of all others. A file can be created only once.
#
# A container that is lost for good ends the application, so that it is started again as a whole: the processes that are left wait for
# the join limit, and a container in its place ends at once, because it has a number that no process has.
set -euo pipefail

say() { echo "hadoop.sh: $*" >&2; }

hadoop() { # arguments… : Hadoop's own program, which may not be on the container's path
  if type -P hadoop >/dev/null; then command hadoop "$@"; else "$HADOOP_COMMON_HOME/bin/hadoop" "$@"; fi
}

find_others() { # prints the addresses of all processes
  local folder mine other host deadline hosts=()
  # container_e12_1700000000000_0001_01_000002: the application and its attempt are in the middle
  folder=$JOB_NAME/$(sed -E 's/^container_(e[0-9]+_)?([0-9]+_[0-9]+_[0-9]+)_.*/links_\2/' <<<"$CONTAINER_ID")
  mine=$(hostname -f):$((5110 + TIDEMARK_PROCESS))
  echo "$mine" >address
  hadoop fs -mkdir -p "$folder"
  if ! hadoop fs -put address "$folder/$TIDEMARK_PROCESS" && [ "$(hadoop fs -cat "$folder/$TIDEMARK_PROCESS")" != "$mine" ]; then
    say "process $TIDEMARK_PROCESS had another address before: the application must be started again"
    return 3
  fi

  deadline=$((SECONDS + 300))
  for ((other = 0; other < TIDEMARK_PROCESSES; other++)); do
    until host=$(hadoop fs -cat "$folder/$other" 2>/dev/null); do
      if ((SECONDS > deadline)); then
        say "process $other did not write its address within 300 s"
        return 4
      fi
      sleep 1
    done
    hosts+=("$host")
  done
  (IFS=,; echo "${hosts[*]}")
}

set -a
# shellcheck disable=SC1091
. ./job.env
TIDEMARK_PROCESS=$((YARN_SHELL_ID - 1))
TIDEMARK_JOIN_LIMIT=${TIDEMARK_JOIN_LIMIT:-2m}
if ((TIDEMARK_PROCESS >= TIDEMARK_PROCESSES)); then
  say "this container replaces a lost one: the application must be started again"
  exit 3
fi
# Several containers of the job may run on one node.
TIDEMARK_STATUS_ADDRESS=0.0.0.0:$((5006 + TIDEMARK_PROCESS))
# The process runs as YARN's user and reads the files of its own.
HADOOP_USER_NAME=${HADOOP_USER_NAME:-$USER}
if ((TIDEMARK_PROCESSES > 1)); then
  TIDEMARK_HOSTS=$(find_others)
fi
set +a

[ -x "$JOB_PROGRAM" ] || chmod +x "$JOB_PROGRAM"
exec "./$JOB_PROGRAM" supervise
