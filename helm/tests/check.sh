#!/usr/bin/env bash
# Runs all checks of the chart that need no cluster. Takes a minute if the tools are there. The first run builds them, pinned, from
# the registries of Go and Debian (tools.sh; several minutes). A tool that is not available is a failure.
#
#   helm/tests/check.sh
set -uo pipefail

cd "$(dirname "$0")/.."
tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}
export PATH="$tools/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
tests/tools.sh helm kubeconform helm-unittest promtool alertmanager schemas syft >/dev/null || { echo "FAILED   the tools are not available: 0 checks ran"; exit 1; }

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
# shellcheck source=helm/tests/verdict.sh
. tests/verdict.sh

refused() { # sentence, pattern of the refusal, command…
  local sentence=$1 reason=$2; shift 2
  if ! "$@" >"$work/said" 2>&1 && grep -qE "$reason" "$work/said"; then pass "$sentence"; else fail "$sentence"; fi
}

render() { # environment, further arguments
  local environment=$1; shift
  helm template tidemark . --namespace tidemark --kube-version 1.35 -f "values-$environment.yaml" "$@"
}

with_job=(--set job.enabled=true --set job.checkpoints=s3://tidemark-checkpoints/prod --set 'stores.objects.cidrs={0.0.0.0/0}')

with_traces=(--set tracing.endpoint=http://opentelemetry-collector.observability:4318)

chart() {
  local environment
  for environment in dev prod kind; do
    holds "lint --strict: values-$environment.yaml" helm lint --strict --kube-version 1.35 -f "values-$environment.yaml" .
    holds "template: values-$environment.yaml" render "$environment" --output-dir "$work/unused-$environment"
    render "$environment" >"$work/$environment.yaml" 2>/dev/null
  done
  holds "template: prod with the stream job" render prod "${with_job[@]}" --output-dir "$work/unused-job"
  render prod "${with_job[@]}" >"$work/prod-with-job.yaml" 2>/dev/null
  holds "template: prod with the stream job and traces" render prod "${with_job[@]}" "${with_traces[@]}" --output-dir "$work/unused-traces"
  render prod "${with_job[@]}" "${with_traces[@]}" >"$work/prod-with-traces.yaml" 2>/dev/null
  holds "template: prod with the values of infra-aws" render prod -f tests/infrastructure.yaml --output-dir "$work/unused-infrastructure"
  render prod -f tests/infrastructure.yaml >"$work/prod-with-infrastructure.yaml" 2>/dev/null
  holds "lint --strict: the app of apps" helm lint --strict argocd -f tests/argocd.yaml
  helm template tidemark-root argocd --namespace argocd -f tests/argocd.yaml >"$work/argocd.yaml" 2>/dev/null
  holds "a second rendering has the same bytes" cmp "$work/prod.yaml" <(render prod)
}

values_schema() {
  local mistake
  for mistake in replicaCount=3 image.digest=latest image.tag=latest services.orders.replcas=3 services.orders.replicas=3 \
    services.orders.port=70000 'services.orders.stores[0]=redis' services.Orders.port=1 services.users.environment.PATH=/bin \
    services.users.resources.limits=null 'stores.mysql.cidrs[0]=everywhere' public.service.type=ExternalName \
    externalSecrets.secrets.users-mysql.password=hunter2 autoscaling.behavior.scaleDown.stabilizationWindowSeconds=-1 \
    autoscaling.behavior.scaleUp=null probes.liveness.path=/ stores.smtp.environment.TIDEMARK_NOTIFICATIONS_EMAIL=smtp://mail.example.com \
    stores.smtp.environment.TIDEMARK_NOTIFICATIONS_EMAIL=smtps://me:secret@mail.example.com \
    stores.sms.environment.TIDEMARK_NOTIFICATIONS_SMS=http://sms.example.com canary.step=1 canary.maxErrorPercent=90 \
    canary.steps[0].weight=100 canary.prometheus=prometheus:9090 network.monitoringNamespace=7 \
    tracing.endpoint=opentelemetry-collector:4317 tracing.endpoint=http://me:secret@collector:4318 tracing.podLabels=null job.workers=0 job.sinkSlots=0 job.sinkSlots=1025 job.checkpoints=memory:///; do
    refused "values.schema.json refuses $mistake" "values don't meet the specifications" render prod --set "$mistake"
  done
}

schemas() {
  local location="$tools/schemas-3/{{.ResourceKind}}{{.KindSuffix}}.json" file
  local conforms=(kubeconform -strict -schema-location "$location")
  for file in dev prod kind prod-with-job prod-with-traces prod-with-infrastructure argocd; do
    holds "kubeconform -strict: $file" "${conforms[@]}" "$work/$file.yaml"
  done
  holds "kubeconform -strict: argocd/root.yaml" "${conforms[@]}" argocd/root.yaml
  for mistake in s/terminationGracePeriodSeconds:/terminationGracePeriod:/ s/honorLabels:/honourLabels:/ s/secretStoreRef:/storeRef:/ \
    s/averageUtilization:.70/averageUtilization:\ high/ s/maxUnavailable:.1$/maxUnavailable:\ [1]/ 's|autoscaling/v2|autoscaling/v3|'; do
    sed "$mistake" "$work/prod.yaml" >"$work/mistaken.yaml"
    refused "kubeconform notices $mistake" "invalid|could not find schema" "${conforms[@]}" "$work/mistaken.yaml"
  done
}

unit_tests() {
  holds "unit tests of the chart" helm-unittest .
  holds "unit tests of the app of apps" helm-unittest argocd
  cp -r . "$work/mistaken" && sed -i 's/if not $service.autoscaling/if true/' "$work/mistaken/templates/services.yaml"
  refused "unit tests notice replicas beside an autoscaler" "leaves the number of pods to the autoscaler" helm-unittest "$work/mistaken"
}

manifests() {
  holds "the rules of all manifests" python3 tests/manifests.py "$work"/{dev,prod,kind,prod-with-job,prod-with-traces,prod-with-infrastructure}.yaml
  holds "each of these rules detects its mistakes" python3 tests/manifests.py --mistakes "$work/prod-with-traces.yaml"
}

observability() {
  holds "dashboards are up to date with build.py" python3 dashboards/build.py --check
  holds "dashboards are complete, and every metric is exported" python3 tests/expressions.py lint
  holds "the dashboards' lint detects its mistakes" python3 tests/expressions.py mistakes
  holds "promtool check rules" promtool check rules rules/*.yaml
  holds "promtool test rules" promtool test rules tests/rules/*.test.yaml
  python3 tests/expressions.py rules >"$work/panels.yaml"
  holds "every expression parses" promtool check rules "$work/panels.yaml"
  python3 tests/expressions.py canary "$work/prod.yaml" >"$work/canary.yaml" 2>"$work/said" || : # the test below fails without it
  cp tests/canary.test.yaml "$work/"
  holds "the analysis of new pods counts their errors and no others" promtool test rules "$work/canary.test.yaml"
  sed 's/sum by (service) (rate/sum by service (rate(/' rules/services-recording.yaml >"$work/mistaken.yaml"
  refused "promtool notices a broken expression" "parse error|could not parse" promtool check rules "$work/mistaken.yaml"
}

alerts() {
  holds "Alertmanager sends every alert to people, and each planted mistake in its configuration is detected" \
    python3 tests/alerts.py "$work/argocd.yaml" rules/*-alerts.yaml
  local app=(helm template tidemark-root argocd --namespace argocd -f tests/argocd.yaml)
  refused "the app of apps refuses alerts without a topic" "operators.alerts names nobody" "${app[@]}" --set operators.alerts.topicArn=
  refused "the app of apps refuses a topic without a region" "operators.alerts.region is not set" "${app[@]}" --set operators.alerts.region=
}

delivery() {
  holds "the release workflow tests, signs and proposes by digest, and propose.sh changes one line of one file" python3 tests/delivery.py
  holds "each planted mistake in the delivery is detected" python3 tests/delivery.py mistakes
  holds "syft lists every package of Cargo.lock in the image, and both planted mistakes are detected" python3 tests/contents.py
}

drills() { # they run seldom: this reads what they read
  holds "the drill of the operators' charts reads all nine from the app of apps" bash -c '[ "$(python3 tests/operators.py order | wc -l)" = 9 ]'
}

chart
values_schema
schemas
unit_tests
manifests
observability
alerts
delivery
drills
verdict
