# A real control plane in a namespace of its own; sourced by the drills beside this folder.
#
#   alone "$0" "$@"   runs the script again in network and process namespaces of its own: its processes end with it
#   cluster_up        starts etcd, API server, controllers, scheduler and three nodes simulated by kwok; kubectl is set up for it
#   operator_kinds    creates the custom resources of the operators, so that every manifest can be applied
#   rollouts_up       starts the controller of Argo Rollouts, which runs the pods of services with a canary
#   fetch_charts      gets the operators' pinned charts (charts.sh)
#   as_its_pod        starts an operator with the arguments and the rights of its pod
#   metrics_api       serves the API of metrics-server, from a file
#   play_operators    does the work of the operators, as far as other controllers wait for it
#   measured          prints a sentence and the time until it became true; holds and verdict are in verdict.sh
#
# The controllers' timing is the default, so the measurements are those of a default cluster.

tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}
bin=$tools/cluster
helm_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PATH="$tools/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
began=$(date +%s)
# shellcheck source=helm/tests/verdict.sh
. "$helm_folder/tests/verdict.sh"

say() { printf '%4d s  %s\n' $(($(date +%s) - began)) "$*"; }
die() { say "FAILED: $*"; exit 1; }

needs() { # program …: of build.sh
  local program
  for program in "$@"; do
    [ -x "$bin/$program" ] || cannot "$program is not built (helm/tests/cluster/build.sh)"
  done
  command -v helm >/dev/null || cannot "helm is not installed (helm/tests/tools.sh helm)"
}

alone() { # the script's own name and arguments
  local map=()
  if [ -n "${TIDEMARK_ALONE:-}" ]; then
    ip link set lo up
    return
  fi
  [ "$(id -u)" = 0 ] || map=(--map-root-user)
  TIDEMARK_ALONE=1 exec unshare "${map[@]}" --net --pid --fork --kill-child --mount-proc bash "$@"
}

leave() { # folder: ends the started processes and deletes the folder
  local processes
  processes=$(jobs -p)
  [ -z "$processes" ] || kill -KILL $processes 2>/dev/null
  wait 2>/dev/null
  rm -rf "$1"
}

until_true() { # seconds, command…: prints the time that it took, in seconds
  local limit=$1 start; shift
  start=$(date +%s%N)
  until "$@" >/dev/null 2>&1; do
    [ $((($(date +%s%N) - start) / 1000000000)) -lt "$limit" ] || return 1
    sleep 0.2
  done
  awk -v ns=$(($(date +%s%N) - start)) 'BEGIN { printf "%.1f", ns / 1e9 }'
}

measured() { # sentence, limit in seconds, command…
  local sentence=$1 limit=$2 took; shift 2
  if took=$(until_true "$limit" "$@"); then pass "$sentence: $took s"
  else "$@" >"$work/said" 2>&1; fail "$sentence: not within $limit s"; return 1; fi
}

keys() { # for service accounts, and for the API server's calls to servers that extend it
  mkdir -p "$state/pki" && cd "$state/pki" || return
  openssl genrsa -out accounts.key 2048 2>/dev/null
  openssl rsa -in accounts.key -pubout -out accounts.pub 2>/dev/null
  openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=front-proxy-ca -days 2 -keyout ca.key -out ca.crt 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -subj /CN=front-proxy -keyout proxy.key -out proxy.csr 2>/dev/null
  openssl x509 -req -in proxy.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out proxy.crt 2>/dev/null
  openssl rand -hex 16 >token
  echo "$(cat token),admin,admin,system:masters" >tokens.csv
}

write_kubeconfig() {
  cat >"$state/kubeconfig" <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: local, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: local, context: {cluster: local, user: admin}}]
current-context: local
CONFIG
  export KUBECONFIG=$state/kubeconfig KUBECACHEDIR=$state/cache TIDEMARK_CLUSTER_TOKEN=$token
}

start() { # name, program, arguments…
  local name=$1; shift
  "$@" >"$state/$name.log" 2>&1 &
}

cluster_up() { # folder for its state
  state=$1
  (keys) || die "no keys"
  token=$(cat "$state/pki/token")
  write_kubeconfig
  local pki=$state/pki self=("--kubeconfig=$KUBECONFIG" "--authentication-kubeconfig=$KUBECONFIG" "--authorization-kubeconfig=$KUBECONFIG" --bind-address=127.0.0.1 --leader-elect=false)
  start etcd "$bin/etcd" --data-dir "$state/etcd" --unsafe-no-fsync
  start apiserver "$bin/kubernetes" kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=127.0.0.1 --advertise-address=127.0.0.1 \
    --cert-dir="$pki" --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/20 --authorization-mode=RBAC \
    --token-auth-file="$pki/tokens.csv" --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$pki/accounts.pub" --service-account-signing-key-file="$pki/accounts.key" \
    --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy --requestheader-username-headers=X-Remote-User \
    --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$pki/proxy.crt" --proxy-client-key-file="$pki/proxy.key" ${API_SERVER_ARGUMENTS:-}
  until_true 180 kubectl get --raw /readyz >/dev/null || die "the API server is not ready: $(tail -3 "$state/apiserver.log")"
  start controllers "$bin/kubernetes" kube-controller-manager "${self[@]}" --use-service-account-credentials=true \
    --service-account-private-key-file="$pki/accounts.key" --root-ca-file="$pki/apiserver.crt"
  start scheduler "$bin/kubernetes" kube-scheduler "${self[@]}"
  start kwok "$bin/kwok" --kubeconfig="$KUBECONFIG" --manage-all-nodes=true --node-lease-duration-seconds=40 --cidr=10.0.0.0/16
  for zone in a b c; do add_node "$zone"; done
  until_true 90 kubectl wait --for=condition=Ready node --all --timeout=1s >/dev/null || die "no node is ready: $(tail -3 "$state/kwok.log")"
  say "a control plane of Kubernetes $(kubectl get --raw /version | sed -n 's/.*"gitVersion": "\(.*\)".*/\1/p') with three nodes"
}

add_node() { # zone
  kubectl apply -f - >/dev/null <<NODE
apiVersion: v1
kind: Node
metadata:
  name: node-$1
  labels: {kubernetes.io/hostname: node-$1, topology.kubernetes.io/zone: zone-$1, type: kwok}
status:
  allocatable: {cpu: "16", memory: 64Gi, pods: "110"}
  capacity: {cpu: "16", memory: 64Gi, pods: "110"}
NODE
}

operator_kinds() {
  local modules
  modules=$(go env GOMODCACHE)/github.com
  kubectl apply --server-side -f "$modules/argoproj/argo-rollouts@v1.9.0/manifests/crds/rollout-crd.yaml" \
    -f "$modules/argoproj/argo-rollouts@v1.9.0/manifests/crds/analysis-template-crd.yaml" \
    -f "$modules/argoproj/argo-rollouts@v1.9.0/manifests/crds/analysis-run-crd.yaml" \
    -f "$modules/argoproj/argo-rollouts@v1.9.0/manifests/crds/cluster-analysis-template-crd.yaml" \
    -f "$modules/argoproj/argo-rollouts@v1.9.0/manifests/crds/experiment-crd.yaml" >/dev/null ||
    die "the kinds of Argo Rollouts are not there (helm/tests/tools.sh schemas)"
  kubectl apply --server-side -f "$modules/prometheus-operator/prometheus-operator@v0.85.0/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml" \
    -f "$modules/prometheus-operator/prometheus-operator@v0.85.0/example/prometheus-operator-crd/monitoring.coreos.com_scrapeconfigs.yaml" \
    -f "$modules/prometheus-operator/prometheus-operator@v0.85.0/example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml" \
    -f "$modules/external-secrets/external-secrets@v1.3.2/config/crds/bases/external-secrets.io_externalsecrets.yaml" \
    -f "$modules/external-secrets/external-secrets@v1.3.2/config/crds/bases/external-secrets.io_secretstores.yaml" >/dev/null ||
    die "the operators' kinds are not there (helm/tests/tools.sh schemas)"
}

rollouts_up() { start rollouts "$bin/rollouts" --kubeconfig "$KUBECONFIG" --leader-elect=false; }

fetch_charts() { "$helm_folder/tests/charts.sh" "$1" || cannot "charts of the operators are not available"; } # folder

# Starts a program as its pod would: with the arguments of its Deployment and the rights of its service account.
as_its_pod() { # name, namespace, manifests, deployment, program, further arguments…
  local name=$1 namespace=$2 arguments
  mapfile -t arguments < <(python3 "$helm_folder/tests/operators.py" start "$3" "$4")
  sed "s/{token: .*}}/{token: $(kubectl -n "$namespace" create token "${arguments[0]}" --duration=2h)}}/" "$KUBECONFIG" >"$state/$name.kubeconfig"
  KUBECONFIG=$state/$name.kubeconfig start "$name" "$bin/$5" "${arguments[@]:1}" "${@:6}"
}

operator_of_prometheus() { # manifests of the monitoring chart: its certificates are a job's, so here it serves without them
  as_its_pod prometheus-operator monitoring "$1" monitoring-operator prometheus-operator --web.enable-tls=false --web.listen-address=127.0.0.1:8085
}

restricted_namespace() { # name: creates it as Argo CD does, with the restricted standard enforced
  kubectl create namespace "$1" >/dev/null &&
    kubectl label namespace "$1" pod-security.kubernetes.io/enforce=restricted pod-security.kubernetes.io/enforce-version=latest >/dev/null
}

render() { # environment
  (cd "$helm_folder" && helm template tidemark . --namespace tidemark --kube-version 1.35 -f "values-$1.yaml")
}

metrics_api() { # file with the usage of the services
  start metrics python3 "$helm_folder/tests/cluster/metrics_api.py" 6450 "$state/pki/apiserver.crt" "$state/pki/apiserver.key" "$1"
  kubectl apply -f - >/dev/null <<API
apiVersion: v1
kind: Service
metadata: {name: metrics-server, namespace: kube-system}
spec: {type: ExternalName, externalName: localhost, ports: [{port: 6450}]}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: metrics-server, namespace: kube-system, port: 6450}
API
  until_true 90 kubectl get --raw /apis/metrics.k8s.io/v1beta1/namespaces/default/pods >/dev/null || die "the metrics API does not answer: $(tail -3 "$state/metrics.log")"
}

play_operators() { # fills secrets, and gives the load balancer an address
  start operators python3 "$helm_folder/tests/cluster/operators.py"
}
