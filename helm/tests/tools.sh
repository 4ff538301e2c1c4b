#!/usr/bin/env bash
# Brings the tools of the chart's checks, pinned, into a cache outside the tree. Needs Go, and Debian's apt for Prometheus.
#
#   helm/tests/tools.sh [tool …]     all of them by default; what is there already is left alone
#
# Prints the folder that holds them. TIDEMARK_TOOLS names another one.
set -euo pipefail

tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}
mkdir -p "$tools/bin"

declare -A modules=(
  [helm]=helm.sh/helm/v3/cmd/helm@v3.22.0
  [kubeconform]=github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
  [k6]=go.k6.io/k6@v1.8.1
)

# A program whose module has replace directives builds only where it lies.
declare -A in_place=(
  [helm-unittest]=github.com/helm-unittest/helm-unittest@v1.1.2
)

build() { # tool
  [ -x "$tools/bin/$1" ] && return
  echo "building $1 (${modules[$1]})" >&2
  GOBIN="$tools/bin" GOFLAGS="-trimpath ${GOFLAGS:-}" nice -n 19 go install -ldflags '-s -w' "${modules[$1]}"
}

build_in_place() { # tool
  [ -x "$tools/bin/$1" ] && return
  echo "building $1 (${in_place[$1]})" >&2
  local source
  source=$(go mod download -json "${in_place[$1]}" | sed -n 's/.*"Dir": "\(.*\)",/\1/p')
  (cd "$source" && nice -n 19 go build -trimpath -ldflags '-s -w' -o "$tools/bin/$1" "./cmd/$1")
}

unpack_prometheus() { # Debian's package: promtool and the server, without installing it
  [ -x "$tools/bin/promtool" ] && return
  echo "unpacking Debian's prometheus" >&2
  local work
  work=$(mktemp -d)
  (cd "$work" && apt-get download prometheus >/dev/null && dpkg -x prometheus_*.deb .)
  install "$work/usr/bin/prometheus" "$work/usr/bin/promtool" "$tools/bin/"
  rm -r "$work"
}

for tool in "${@:-helm kubeconform helm-unittest promtool k6}"; do
  for name in $tool; do
    if [ "$name" = promtool ]; then unpack_prometheus
    elif [ -n "${in_place[$name]:-}" ]; then build_in_place "$name"
    else build "$name"; fi
  done
done
echo "$tools"
