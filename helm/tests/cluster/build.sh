#!/usr/bin/env bash
# Builds a real control plane from Go modules into the cache of tools: etcd, the Kubernetes API server, its controllers and
# scheduler, kwok (which plays the nodes), Argo CD; and unpacks Debian's redis for it. About ten minutes on two idle cores,
# once; what is there already is left alone.
set -euo pipefail

cd "$(dirname "$0")"
tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}
bin=$tools/cluster
kubernetes=v1.35.4 etcd=v3.6.5 kwok=v0.7.0 argo=v2.14.21
mkdir -p "$bin"

module() { # module@version: the folder of its source
  go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)",/\1/p'
}

missing() { # program
  [ ! -x "$bin/$1" ] && echo "$(date +%T) building $1" >&2
}

in_module() { # name: an empty module of that name in the cache, entered
  mkdir -p "$tools/source/$1"
  cd "$tools/source/$1"
  [ -f go.mod ] || go mod init "tidemark.example/$1" 2>/dev/null
}

tidy() {
  go mod tidy >tidy.log 2>&1 || { cat tidy.log >&2; return 1; }
}

build_etcd() (
  missing etcd || exit 0
  in_module etcd
  printf 'package main\n\nimport (\n\t"os"\n\n\t"go.etcd.io/etcd/server/v3/etcdmain"\n)\n\nfunc main() { etcdmain.Main(os.Args) }\n' >main.go
  go mod edit -require "go.etcd.io/etcd/server/v3@$etcd"
  tidy
  nice -n 19 go build -trimpath -ldflags '-s -w' -o "$bin/etcd" .
)

# Kubernetes lives in many modules that name each other as v0.0.0: each is told which one is meant.
build_kubernetes() (
  local programs=(kube-apiserver kube-controller-manager kube-scheduler) program version=k8s.io/component-base/version
  missing kube-scheduler || exit 0
  in_module kubernetes
  local flags="-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=35"
  { echo "package main"; printf 'import _ "k8s.io/kubernetes/cmd/%s"\n' "${programs[@]}"; } >programs.go
  go mod edit -require "k8s.io/kubernetes@$kubernetes"
  sed -n 's/^\t\(k8s.io\/[a-z-]*\) v0\.0\.0$/\1/p' "$(module "k8s.io/kubernetes@$kubernetes")/go.mod" |
    while read -r staged; do go mod edit -replace "$staged=$staged@v0.${kubernetes#v1.}"; done
  tidy
  for program in "${programs[@]}"; do
    missing "$program" || continue
    nice -n 19 go build -trimpath -ldflags "$flags" -o "$bin/$program" "k8s.io/kubernetes/cmd/$program"
  done
)

build_kwok() (
  missing kwok || exit 0
  GOBIN=$bin nice -n 19 go install -trimpath -ldflags '-s -w' "sigs.k8s.io/kwok/cmd/kwok@$kwok"
)

build_argo() ( # one program that is all of Argo CD, by the name it is called by
  missing argocd || exit 0
  cd "$(module "github.com/argoproj/argo-cd/v2@$argo")"
  nice -n 19 go build -trimpath -ldflags '-s -w' -o "$bin/argocd" ./cmd
)

unpack_redis() (
  missing redis-server || exit 0
  work=$(mktemp -d)
  chmod 755 "$work" # apt downloads as a user of its own
  cd "$work"
  apt-get download -q redis-server redis-tools libjemalloc2 liblzf1 libatomic1 >/dev/null
  for package in *.deb; do dpkg -x "$package" .; done
  mkdir -p "$bin/lib"
  find . -name '*.so*' -exec cp -P {} "$bin/lib/" \;
  install usr/bin/redis-check-rdb "$bin/redis-server"
  rm -r "$work"
)

for part in "${@:-etcd kwok redis kubernetes argo}"; do
  for name in $part; do
    if [ "$name" = redis ]; then unpack_redis; else "build_$name"; fi
  done
done
echo "$bin"
