#!/usr/bin/env bash
# Starts one process of the job, under systemd or in a YARN container: fetches the password, finds the other processes, and runs the
# job's own supervisor.
#
# On a machine of the instance group, JOB_PROCESS and JOB_HOSTS are set. The hosts of YARN containers are not known beforehand, so
# each process writes its address to the bucket, in an object that can be created only once, and waits for all others. A container that
# is lost for good ends the application, so that Dataproc starts it again: the processes that are left wait for the join limit, and a
# container in its place ends at once, because it has a number that no process has.
set -euo pipefail

metadata=${METADATA_URL:-http://metadata.google.internal/computeMetadata/v1}
secrets=${SECRETS_URL:-https://secretmanager.googleapis.com/v1}
storage=${STORAGE_URL:-https://storage.googleapis.com}
wait_s=${JOB_WAIT_S:-300}

say() { echo "run.sh: $*" >&2; }

call() { # curl arguments… : prints the answer's body, or curl's error
  curl --silent --show-error --fail --retry 5 --retry-connrefused --max-time 20 "$@"
}

google() { # the same, with this machine's token
  local token
  token=$(call -H 'Metadata-Flavor: Google' "$metadata/instance/service-accounts/default/token" | sed -nE 's/.*"access_token" *: *"([^"]+)".*/\1/p')
  call -H "Authorization: Bearer $token" "$@"
}

address_object() { # process : prints the object's name, safe in a query
  printf '%s' "${JOB_RENDEZVOUS#*/}/$application/$1" | sed 's|/|%2F|g'
}

join_others() { # sets JOB_PROCESS and JOB_HOSTS
  JOB_PROCESS=$((YARN_SHELL_ID - 1))
  if ((JOB_PROCESS >= JOB_PROCESSES)); then
    say "this container replaces a lost one: the application must be started again"
    exit 3
  fi
  export TIDEMARK_JOIN_LIMIT=${TIDEMARK_JOIN_LIMIT:-2m}
  # container_e12_1700000000000_0001_01_000002: the application and its attempt are in the middle
  application=$(sed -E 's/^container_(e[0-9]+_)?([0-9]+_[0-9]+_[0-9]+)_.*/\2/' <<<"$CONTAINER_ID")
  local bucket=${JOB_RENDEZVOUS%%/*} mine deadline hosts process host
  mine=$(call -H 'Metadata-Flavor: Google' "$metadata/instance/network-interfaces/0/ip"):$((JOB_CLUSTER_PORT + JOB_PROCESS))

  if ! google -o /dev/null -X POST -H 'Content-Type: text/plain' --data "$mine" \
    "$storage/upload/storage/v1/b/$bucket/o?uploadType=media&ifGenerationMatch=0&name=$(address_object "$JOB_PROCESS")"; then
    say "process $JOB_PROCESS of application $application had another address before: the application must be started again"
    exit 3
  fi

  deadline=$((SECONDS + wait_s))
  hosts=()
  for ((process = 0; process < JOB_PROCESSES; process++)); do
    until host=$(google "$storage/storage/v1/b/$bucket/o/$(address_object "$process")?alt=media" 2>/dev/null); do
      if ((SECONDS > deadline)); then
        say "process $process did not write its address within $wait_s s"
        exit 4
      fi
      sleep 1
    done
    hosts+=("$host")
  done
  JOB_HOSTS=$(IFS=,; echo "${hosts[*]}")
}

password=$(google "$secrets/$JOB_SECRET:access" | sed -nE 's/.*"data" *: *"([^"]+)".*/\1/p' | base64 -d)
export TIDEMARK_PROPERTIES="security.protocol=SASL_SSL
sasl.mechanism=${JOB_KAFKA_LOGIN:-SCRAM-SHA-512}
sasl.username=$JOB_KAFKA_USER
sasl.password=$password"
# The processes authenticate each other by a secret that is derived from the password.
TIDEMARK_CLUSTER_SECRET=$(printf 'links of order-analytics: %s' "$password" | sha256sum | cut -d ' ' -f 1)
export TIDEMARK_CLUSTER_SECRET

[ -x order-analytics ] || chmod +x order-analytics
if ((JOB_PROCESSES == 1)); then
  say "the only process"
  exec ./order-analytics
fi

[ -n "${JOB_HOSTS:-}" ] || join_others
say "process $JOB_PROCESS of $JOB_PROCESSES among $JOB_HOSTS"
exec ./order-analytics supervise --processes "$JOB_PROCESSES" --process "$JOB_PROCESS" --hosts "$JOB_HOSTS"
