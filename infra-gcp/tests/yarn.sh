#!/usr/bin/env bash
# Starts the job as Dataproc would, on a real YARN on this machine (one ResourceManager, two NodeManagers, on the loopback
# interface). It uses the arguments of google_dataproc_job, bootstrap/run.sh, and stand-ins for the program and for the services of
# Google that run.sh calls. Needs Java, Maven (70 MB the first time) and 1.5 GB of memory; takes about a minute.
#
#   infra-gcp/tests/yarn.sh                    on Hadoop 3.4.2
#   HADOOP=3.3.5 infra-gcp/tests/yarn.sh       on another one, such as that of Dataproc 2.2
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null; done; wait 2>/dev/null; rm -rf "$work"' EXIT
# shellcheck source=infra-gcp/tests/tools.sh
. "$here/tools.sh"

password='p&ss w0rd/+='
# shellcheck source=infra-gcp/tests/yarn/cluster.sh
. "$here/yarn/cluster.sh"

# Submits with the arguments of the plan, but this machine's jar and its stand-in for Google.
arguments() {
  python3 "$here/yarn/arguments.py" "$hadoop/hadoop-yarn-applications-distributedshell-$version.jar" \
    "METADATA_URL=http://127.0.0.1:$google/metadata" "SECRETS_URL=http://127.0.0.1:$google/secrets" "STORAGE_URL=http://127.0.0.1:$google" "OUT=$work/out" <"$work/linked.json"
}

submit() { # program, expected result of the client
  rm -rf "$work/in-client" "$work/out"
  mkdir -p "$work/in-client" "$work/out"
  cp "$here/../bootstrap/run.sh" "$work/in-client/"
  printf '%s\n' "$1" >"$work/in-client/order-analytics"
  local arguments
  mapfile -d '' -t arguments < <(arguments)
  (java_with client 192m org.apache.hadoop.yarn.applications.distributedshell.Client "${arguments[@]}") >"$work/client.log" 2>&1
  local result=$?
  [ $result -eq "$2" ] && return
  echo "the client ended with $result"
  grep -E "Exception|Error|WARN|FATAL|Illegal|Invalid" "$work/client.log" | head -n 20
  find "$work"/node*-logs -name stderr -size +0 -exec tail -n 5 {} +
  return 1
}

works() {
  submit '#!/bin/sh
printf "%s\n" "$*" >"$OUT/arguments.$YARN_SHELL_ID"
printf "%s\n" "$TIDEMARK_PROPERTIES" >"$OUT/properties.$YARN_SHELL_ID"
env | grep ^TIDEMARK_ | grep -v PROPERTIES | sort >"$OUT/environment.$YARN_SHELL_ID"' 0
}

found_each_other() {
  cat "$work"/out/arguments.*
  local first second
  first=$(sed -nE 's/^supervise --processes 2 --process 0 --hosts (.*)/\1/p' "$work/out/arguments.1")
  second=$(sed -nE 's/^supervise --processes 2 --process 1 --hosts (.*)/\1/p' "$work/out/arguments.2")
  [ -n "$first" ] && [ "$first" = "$second" ] && [ "$first" = "127.0.0.1:5106,127.0.0.1:5107" ]
}

have_the_password() {
  grep -qxF "sasl.password=$password" "$work/out/properties.1" && grep -qxF "sasl.mechanism=SCRAM-SHA-512" "$work/out/properties.2" && ! grep -rqF "$password" "$work/client.log"
}

know_each_other() { # by a secret from which the password cannot be derived
  local secret
  secret=$(sed -n 's/^TIDEMARK_CLUSTER_SECRET=//p' "$work/out/environment.1")
  [ ${#secret} -eq 64 ] && grep -qx "TIDEMARK_CLUSTER_SECRET=$secret" "$work/out/environment.2" && ! grep -rqF "$secret" "$work/client.log"
}

have_their_settings() {
  cat "$work/out/environment.1"
  grep -q '^TIDEMARK_BROKERS=b-1.mock' "$work/out/environment.1" && grep -qx 'TIDEMARK_CHECKPOINTS=gs://tidemark-tests-checkpoints/order-analytics' "$work/out/environment.2"
}

drains() { # YARN's signal ends no process that is still at work, unlike a kill
  submit '#!/bin/sh
trap "kill \$sleep; sleep 2; : >$OUT/drained.$YARN_SHELL_ID; exit 0" TERM
: >"$OUT/started.$YARN_SHELL_ID"
while :; do sleep 600 & sleep=$!; wait $sleep; done' 0 &
  local client=$! _ application attempt container
  for _ in $(seq 240); do
    [ "$(find "$work/out" -name 'started.*' 2>/dev/null | wc -l)" -eq 2 ] && break
    sleep 0.5
  done
  application=$(yarn application -list -appStates RUNNING | column application_)
  attempt=$(yarn applicationattempt -list "$application" | column appattempt_)
  for container in $(yarn container -list "$attempt" | column container_ | grep -v '_000001$'); do
    yarn container -signal "$container" GRACEFUL_SHUTDOWN
  done
  wait "$client" && [ -e "$work/out/drained.1" ] && [ -e "$work/out/drained.2" ]
}

failure_is_told() {
  submit '#!/bin/sh
exit 7' 2
}

if ! command -v java >/dev/null || ! command -v mvn >/dev/null; then
  missing "Java or Maven is not installed: YARN was not tried"
  finish
  exit
fi
if ! find_schema || ! python=$(python_with google 'grpcio>=1.70,<2'); then
  missing "the stand-in for Google's provider needs npm and pip: no arguments to try"
  finish
  exit
fi
if ! find_hadoop; then
  missing "Hadoop is not available from Maven Central: YARN was not tested"
  finish
  exit
fi

stand_in_for_google "$python"
copy_to "$work/infra-gcp"
cd "$work/infra-gcp" || exit 1
terraform init -backend=false -input=false -no-color >/dev/null &&
  terraform test -no-color -json -verbose -var-file=env/prod.tfvars -filter=tests/linked.tftest.hcl >"$work/linked.json" || exit 1

google=$(free_ports 1)
python3 "$here/yarn/google.py" "$google" "$password" &
started+=($!)
run "YARN starts, with two nodes" start_yarn
run "the job runs as a YARN application and succeeds" works
run "its two processes found each other through the bucket" found_each_other
run "they have the password, and no log contains it" have_the_password
run "they authenticate each other by the same secret, derived from the password" know_each_other
run "they have their settings" have_their_settings
run "its processes drain at YARN's signal, and the application succeeds" drains
run "when processes fail, the application fails, so that Dataproc would restart it" failure_is_told
finish
