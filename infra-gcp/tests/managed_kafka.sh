#!/usr/bin/env bash
# Logs in as at Google's Managed Service for Apache Kafka, by the two ways that it has: OAUTHBEARER with the token of the machine's
# service account, and PLAIN, both over TLS. The broker is a real one on this machine, whose validator accepts Google's form of tokens
# alone; the metadata server is emulated. Needs Java with javac, openssl, Python 3, and the jars of Kafka 4 in KAFKA_JARS.
#
#   KAFKA_JARS=~/.cache/tidemark/jars/kafka-… infra-gcp/tests/managed_kafka.sh target/release/order-analytics
set -uo pipefail

binary=$(realpath "${1:?the binary is missing, as in target/release/order-analytics}")
jars=${KAFKA_JARS:?the folder with the jars of Kafka is missing}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null; done; wait 2>/dev/null; rm -rf "$work"' EXIT
account=job@project.iam.gserviceaccount.com
export GOOGLE_ACCOUNT=$account GOOGLE_ACCESS_TOKEN=ya29.the-token-of-this-test
read -ra ports < <(python3 "$here/ports.py" 6)
open=127.0.0.1:${ports[0]}
google=localhost:${ports[1]}

kafka() { # class, arguments…
  java -Xmx300m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$jars/*:$work/classes" "$@"
}

certify() { # name: an authority, and a certificate of it for localhost
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=authority of $1" -keyout "$work/$1.ca.key" -out "$work/$1.ca" 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$work/$1.key" -out "$work/$1.request" 2>/dev/null
  openssl x509 -req -days 2 -in "$work/$1.request" -CA "$work/$1.ca" -CAkey "$work/$1.ca.key" -CAcreateserial \
    -extfile <(echo subjectAltName=DNS:localhost) -out "$work/$1.crt" 2>/dev/null
  cat "$work/$1.key" "$work/$1.crt" >"$work/$1.both"
}

starts() {
  mkdir -p "$work/classes"
  javac -cp "$jars/*" -d "$work/classes" "$here/managed_kafka/GoogleTokens.java" || return 1
  certify broker && certify other || return 1
  # A login module's user has no "@"; at Google it is the account's email.
  local plain=org.apache.kafka.common.security.plain.PlainLoginModule
  cat >"$work/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${ports[2]}
listeners=OPEN://127.0.0.1:${ports[0]},GOOGLE://127.0.0.1:${ports[1]},CONTROLLER://127.0.0.1:${ports[2]}
advertised.listeners=OPEN://127.0.0.1:${ports[0]},GOOGLE://localhost:${ports[1]}
controller.listener.names=CONTROLLER
inter.broker.listener.name=OPEN
listener.security.protocol.map=CONTROLLER:PLAINTEXT,OPEN:PLAINTEXT,GOOGLE:SASL_SSL
listener.name.google.ssl.keystore.type=PEM
listener.name.google.ssl.keystore.location=$work/broker.both
listener.name.google.sasl.enabled.mechanisms=OAUTHBEARER,PLAIN
listener.name.google.oauthbearer.sasl.server.callback.handler.class=GoogleTokens
listener.name.google.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.google.plain.sasl.jaas.config=$plain required user_job="a key";
log.dirs=$work/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
END
  kafka kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c "$work/server.properties" >"$work/format" 2>&1 || { cat "$work/format"; return 1; }
  kafka kafka.Kafka "$work/server.properties" >"$work/broker.log" 2>&1 &
  local broker=$!
  started+=("$broker")
  python3 "$here/managed_kafka/metadata.py" "${ports[3]}" "$account" "$GOOGLE_ACCESS_TOKEN" &
  started+=($!)
  python3 "$here/managed_kafka/metadata.py" "${ports[4]}" "$account" ya29.of-another-project &
  started+=($!)

  local _ settings=(--partitions 2 --replication-factor 1 --config message.timestamp.type=LogAppendTime)
  for _ in $(seq 30); do
    kafka org.apache.kafka.tools.TopicCommand --bootstrap-server "$open" --create --if-not-exists --topic orders "${settings[@]}" >"$work/topic" 2>&1 && return
    kill -0 "$broker" || break
  done
  tail -n 20 "$work/topic" "$work/broker.log"
  return 1
}

job() { # metadata server's port, authority, login, arguments…
  local server=$1 authority=$2 login=$3
  shift 3
  local properties=(--property security.protocol=SASL_SSL --property "ssl.ca.location=$work/$authority.ca")
  case $login in
  google) properties+=(--property sasl.mechanism=OAUTHBEARER --property sasl.oauthbearer.token.source=google) ;;
  *) properties+=(--property sasl.mechanism=PLAIN --property "sasl.username=job" --property "sasl.password=$login") ;;
  esac
  GCE_METADATA_HOST=127.0.0.1:$server timeout 120 "$binary" "$@" --brokers "$google" --client native "${properties[@]}" \
    --checkpoints "file://$work/checkpoints" >"$work/said" 2>&1
}

ends() { # expected exit code, texts…: of the last job
  local code=$? expected=$1 text
  shift
  for text in "$@"; do
    grep -qF -- "$text" "$work/said" || { echo "no \"$text\" in:"; cat "$work/said"; return 1; }
  done
  [ "$code" -eq "$expected" ] || { echo "exit code $code, not $expected:"; cat "$work/said"; return 1; }
  if grep -qF -e ya29 -e "a key" "$work/said"; then echo "a secret is shown:"; cat "$work/said"; return 1; fi
}

by_token() { job "${ports[3]}" broker google doctor; ends 0 "accepts the token by OAUTHBEARER" && grep -q "accepted: $account" "$work/broker.log"; }
by_plain() { job "${ports[3]}" broker "a key" doctor; ends 0 PLAIN; }

counts_an_order() {
  echo '{"event_id": "00000000-0000-0000-0000-000000000001", "event_type": "order.created", "order_id": 1, "user_id": 7, "total_cents": 100, "currency": "USD", "created_at": "2026-11-22T10:00:00.000Z", "items": [{"product_id": "00000000-0000-0000-0000-000000000000", "quantity": 1, "unit_price_cents": 100}]}' |
    kafka org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$open" --topic orders >"$work/produced" 2>&1 || return 1
  job "${ports[3]}" broker google --until-end --log warn
  ends 0 || return 1
  local topic
  topic=$(kafka org.apache.kafka.tools.TopicCommand --bootstrap-server "$open" --list 2>/dev/null | grep -v '^__' | grep -vx orders | grep -vE 'late|dead|summar|check' | head -n 1)
  kafka org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$open" --topic "$topic" --from-beginning --max-messages 1 --timeout-ms 20000 2>/dev/null | grep '"user_id":7'
}

another_token_is_refused() { job "${ports[4]}" broker google doctor; ends 14 roles/managedkafka.client; }
no_metadata_server_is_named() { job "${ports[5]}" broker google doctor; ends 14 "metadata server" "127.0.0.1:${ports[5]}"; }
another_password_is_refused() { job "${ports[3]}" broker "no key" doctor; ends 14 job; }
another_authority_is_refused() { job "${ports[3]}" other google doctor; ends 13 certificate; }

failed=0
for check in starts by_token by_plain counts_an_order another_token_is_refused no_metadata_server_is_named another_password_is_refused another_authority_is_refused; do
  if $check; then echo "ok   $check"; else echo "FAIL $check"; failed=1; fi
done
exit $failed
