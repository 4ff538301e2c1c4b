#!/usr/bin/env bash
# Submits the job to a real YARN by `submit yarn`, with a real Kafka: it counts orders, and goes on after a killed container, a killed
# supervisor, a lost node and the loss of the application's master. It is resized and drained, and each order counts once. Needs Java,
# Maven (70 MB the first time), the jars of Kafka 4 in KAFKA_JARS, and 3 GB of memory; takes about five minutes, and ends after 15
# in any case. On a busy machine PATIENCE=4 multiplies every limit.
#
#   KAFKA_JARS=~/.cache/tidemark/jars/kafka-… infra-gcp/tests/yarn_job.sh target/release/order-analytics
#   HADOOP=3.3.5 …                             on another Hadoop, such as that of Dataproc 2.2
#
# Hadoop's two commands are Hadoop's own classes. The cluster's file system is a folder, in which relative paths begin at the home.
# A job on YARN has fixed ports, so all of this runs in a network namespace of its own, where that is permitted.
set -uo pipefail

if [ -z "${INSIDE:-}" ]; then
  apart=()
  if unshare --net true 2>/dev/null; then apart=(unshare --net); fi
  INSIDE=1 exec timeout -k 30 $((900 * ${PATIENCE:-1})) "${apart[@]}" "$0" "$@"
fi
ip link set lo up 2>/dev/null

binary=$(realpath "${1:?the binary is missing, as in target/release/order-analytics}")
jars=${KAFKA_JARS:?the folder with the jars of Kafka is missing}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
started=()
trap ends EXIT
# shellcheck source=infra-gcp/tests/tools.sh
. "$here/tools.sh"
# shellcheck source=infra-gcp/tests/yarn/cluster.sh
. "$here/yarn/cluster.sh"

read -ra kafka_ports < <(free_ports 2)
brokers=127.0.0.1:${kafka_ports[0]}
job=yarn-$$
topics=(--input-topic "$job-orders" --output-topic "$job-results" --summary-topic "$job-summaries" --late-topic "$job-late" --dead-letter-topic "$job-bad")
join_limit_s=$((20 * patience))

processes_in() { # folder below $work: prints the processes that work in it
  [[ ${1:-} == "$work"* ]] || return
  local process
  for process in /proc/[0-9]*; do
    [[ $(readlink "$process/cwd") == "$1"* ]] && basename "$process"
  done
}

ends() { # what YARN and the client started is in sessions of its own, but works below $work
  cd /
  processes_in "$work" | xargs -r kill -9 2>/dev/null
  kill -9 "${started[@]}" 2>/dev/null
  rm -rf "$work"
}

commands() { # writes `yarn` and `hadoop`
  mkdir -p "$work/bin" "$work/home" "$work/client"
  # As Hadoop's own command does.
  printf '%s\n' log4j.rootLogger=INFO,console log4j.appender.console=org.apache.log4j.ConsoleAppender \
    log4j.appender.console.target=System.err log4j.appender.console.layout=org.apache.log4j.PatternLayout \
    'log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n' >"$work/client/log4j.properties"
  cat >"$work/bin/yarn" <<SCRIPT
#!/bin/bash
class=org.apache.hadoop.yarn.client.cli.ApplicationCLI
if [[ \$1 == org.* ]]; then class=\$1; shift; else limit="timeout $((60 * patience))"; fi
export HADOOP_CONF_DIR=$work/client HADOOP_HOME=$work
exec \${limit:-} java --add-opens java.base/java.lang=ALL-UNNAMED -Duser.home=$work -Xmx192m -cp "$work/client:$hadoop/*" "\$class" "\$@"
SCRIPT
  cat >"$work/bin/hadoop" <<SCRIPT
#!/bin/bash
shift
if [[ \$1 == -put ]]; then set -- -put "\$PWD/\$2" "\$3"; fi
cd "$work/home" || exit 1
exec timeout $((60 * patience)) java -Xmx128m -cp "$work/client:$hadoop/*" org.apache.hadoop.fs.FsShell "\$@"
SCRIPT
  chmod +x "$work"/bin/*
  PATH=$work/bin:$PATH
}

java_of_kafka() { # heap, class, arguments…
  local heap=$1
  shift
  exec java "-Xmx$heap" -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$jars/*" "$@"
}

start_kafka() {
  cat >"$work/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${kafka_ports[1]}
listeners=OPEN://$brokers,CONTROLLER://127.0.0.1:${kafka_ports[1]}
controller.listener.names=CONTROLLER
inter.broker.listener.name=OPEN
listener.security.protocol.map=CONTROLLER:PLAINTEXT,OPEN:PLAINTEXT
log.dirs=$work/kafka
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
END
  (java_of_kafka 200m kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c "$work/server.properties") || return 1
  (java_of_kafka 400m kafka.Kafka "$work/server.properties") >"$work/kafka.log" 2>&1 &
  started+=($!)
  local topic
  for topic in orders results; do
    in_time 90 kafka org.apache.kafka.tools.TopicCommand --create --if-not-exists --topic "$job-$topic" --partitions 2 || return 1
  done
}

kafka() { # class, arguments…
  local class=$1
  shift
  timeout $((60 * patience)) java -Xmx200m -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$jars/*" "$class" --bootstrap-server "$brokers" "$@"
}

order_at() { # user, minute, number
  printf '{"event_id":"00000000-0000-4000-8000-%012d","event_type":"order.created","order_id":%d,"user_id":%d,"total_cents":100,"currency":"USD","items":[{"product_id":"00000000-0000-0000-0000-000000000000","quantity":1,"unit_price_cents":100}],"created_at":"2026-01-01T00:%02d:00Z"}\n' \
    "$3" "$3" "$1" "$2"
}

order() { # round: three orders of a user with the round's number, and a later one of another user, which closes their window
  local number
  for number in 1 2 3; do order_at "$1" $(($1 * 3)) $(($1 * 10 + number)); done >"$work/orders"
  order_at 99 $(($1 * 3 + 2)) $(($1 * 10 + 9)) >>"$work/orders"
  kafka org.apache.kafka.tools.ConsoleProducer --topic "$job-orders" <"$work/orders"
}

results() { # prints all committed results
  kafka org.apache.kafka.tools.consumer.ConsoleConsumer --topic "$job-results" --from-beginning --timeout-ms 3000 \
    --consumer-property isolation.level=read_committed 2>/dev/null
}

in_time() { # seconds, command…: repeats it until it succeeds
  local deadline=$((SECONDS + $1 * patience))
  shift
  until "$@"; do
    if ((SECONDS > deadline)); then
      echo "not in time: $*"
      shows_logs
      return 1
    fi
    sleep 1
  done
}

shows_logs() { # and fails
  tail -n 40 "$work/job/client.log"
  find "$work"/node*-logs -name stderr -size +0 -print -exec tail -n 5 {} \;
  return 1
}

is_counted() { # round
  results | grep -E "\"user_id\":$1[,}]"
}

counts() { # round
  order "$1" && in_time 90 is_counted "$1"
}

submits() {
  # The shell's jar is the test's, and the checkpoints are in a folder that all nodes share.
  timeout $((300 * patience)) "$binary" submit yarn --job "$job" --folder "$work/job" --processes 2 --workers 1 --memory-mb 512 \
    --shell-jar "$hadoop/hadoop-yarn-applications-distributedshell-$version.jar" --brokers "$brokers" "${topics[@]}" \
    --checkpoints "file://$work/checkpoints" --join-limit "${join_limit_s}s" --cluster-secret "$(head -c 32 /dev/urandom | base64)" || shows_logs
}

verb() { # verb, arguments…
  local verb=$1
  shift
  timeout $((300 * patience)) "$binary" "$verb" yarn --job "$job" --folder "$work/job" "$@" || shows_logs
}

application() { yarn application -list -appStates RUNNING | column application_; }

containers() { # prints the containers that run, with their nodes; the first is the application's master
  local attempt
  attempt=$(yarn applicationattempt -list "$(application)" | grep RUNNING | column appattempt_)
  yarn container -list "$attempt" | awk -F '\t' '$1 ~ /^container_/ { gsub(/ /, ""); print $1, $5 }'
}

works() { timeout $((100 * patience)) "$binary" status yarn --job "$job" --folder "$work/job" | grep works; }

goes_on() { # command…: does harm, after which another attempt of the job, in other containers, counts and works
  local before after
  before=$(containers)
  "$@" || return 1
  in_time 150 is_another_than "$before" && in_time 60 works || return 1
  after=$(containers)
  printf 'before:\n%s\nafter:\n%s\n' "$before" "$after" >>"$work/moves"
}

is_another_than() { # containers: as many others run
  local now
  now=$(containers)
  [ "$(wc -l <<<"$now")" -eq 3 ] && ! grep -qFf <(cut -d ' ' -f 1 <<<"$now") <<<"$1"
}

ends_in_a_container() { # pattern: kills the matching processes of the first container that is not the master's
  local container folder pid found=
  container=$(containers | awk '$1 !~ /_000001$/ { print $1; exit }')
  folder=$(find "$work"/node*-local -type d -path "*/appcache/*/$container")
  for pid in $(processes_in "${folder:?}"); do
    tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qE "$1" && kill -9 "$pid" && found=1
  done
  [ -n "$found" ]
}

loses_a_node() { # with or without: the application's master
  local master lost node pid
  master=$(containers | awk '$1 ~ /_000001$/ { print $2 }')
  for node in 1 2; do
    lost=127.0.0.1:${ports[4 + node]}
    case $1 in
    with) [ "$lost" = "$master" ] || continue ;;
    without) [ "$lost" != "$master" ] || continue ;;
    esac
    containers | grep -q "$lost" || { echo "no container runs on $lost"; return 1; }
    kill -9 "${nodes[node]}"
    for pid in $(processes_in "$work/node$node-local"); do kill -9 "$pid"; done
    await_nodes 1
    return
  done
  return 1
}

returns() { # the lost node
  local node
  for node in 1 2; do kill -0 "${nodes[node]}" 2>/dev/null || start_node "$node"; done
  await_nodes 2
}

counted_once() {
  results | sort | uniq -c | tee "$work/rows"
  local round
  for round in 1 2 3 4 5 6; do
    [ "$(grep -cE "\"user_id\":$round[,}]" "$work/rows")" -eq 1 ] || { echo "user $round has not one row"; return 1; }
    grep -E "\"user_id\":$round[,}]" "$work/rows" | grep -q '"order_count":3,' || { echo "user $round has not three orders"; return 1; }
  done
  ! awk '{ print $1 }' "$work/rows" | grep -qvx 1
}

if ! command -v java >/dev/null || ! command -v mvn >/dev/null || ! find_hadoop; then
  missing "Java, Maven or Hadoop is not available: YARN was not tried"
  finish
  exit
fi
commands
run "Kafka starts" start_kafka
run "YARN starts, with two nodes" start_yarn
run "the job is submitted and works" submits
((failed == 0)) || { finish; exit; }
run "it counts" counts 1
run "a container is killed, and the application is started again" goes_on ends_in_a_container .
run "it counts" counts 2
run "a supervisor is killed, and the application is started again" goes_on ends_in_a_container supervise
run "it counts" counts 3
run "it is resized" verb rescale --processes 1
run "it is resized back" verb rescale --processes 2
run "it counts" counts 4
run "a node without the application's master is lost, and the application is started again" goes_on loses_a_node without
run "the node returns" returns
run "it counts" counts 5
run "the node with the application's master is lost, and the job goes on" goes_on loses_a_node with
run "it counts" counts 6
run "it drains and ends" verb cancel
run "each order counted once" counted_once
finish
