#!/usr/bin/env bash
# Builds a real control plane from Go modules into the cache of tools: etcd; Kubernetes' API server, controllers and scheduler in
# one program; kwok, which simulates the nodes; Argo CD, for which it unpacks Debian's redis; and four operators. Takes about twenty
# minutes on two idle cores, once; existing programs are kept. Needs Go 1.26 and Debian's apt.
#
#   helm/tests/cluster/build.sh [etcd|kwok|redis|kubernetes|argo|rollouts|monitoring|controllers …]      all of them by default
#
# Argo CD, the load balancer controller and External Secrets come from GitHub, by tag and commit, because their Go modules lack parts.
set -euo pipefail

tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}
bin=$tools/cluster
kubernetes=v1.35.4 etcd=v3.6.5 kwok=v0.7.0 argo=v3.4.4 argo_commit=443415b5527ac55366e0760c93ef0e1abd0cf273 rollouts=v1.9.0 monitoring=v0.93.1 load_balancers=v3.5.0 secrets=v2.9.0
mkdir -p "$bin"

module() { # module@version: prints the folder of its source
  go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)",/\1/p'
}

missing() { # program
  [ ! -x "$bin/$1" ] && echo "$(date +%T) building $1" >&2
}

in_module() { # name: creates an empty module of that name in the cache, and enters it
  mkdir -p "$tools/source/$1"
  cd "$tools/source/$1"
  [ -f go.mod ] || go mod init "tidemark.example/$1" 2>/dev/null
}

tidy() {
  go mod tidy >tidy.log 2>&1 || { cat tidy.log >&2; return 1; }
}

build() { # program, package, linker flags
  nice -n 19 go build -trimpath -ldflags "-s -w ${3:-}" -o "$bin/$1.new" "$2"
  mv "$bin/$1.new" "$bin/$1"
}

build_etcd() (
  missing etcd || exit 0
  in_module etcd
  printf 'package main\n\nimport (\n\t"os"\n\n\t"go.etcd.io/etcd/server/v3/etcdmain"\n)\n\nfunc main() { etcdmain.Main(os.Args) }\n' >main.go
  go mod edit -require "go.etcd.io/etcd/server/v3@$etcd"
  tidy
  build etcd .
)

# Kubernetes consists of many modules that name each other as v0.0.0; here each gets its real version. The code that its three
# programs share is compiled and linked once: the first argument selects the program.
build_kubernetes() (
  missing kubernetes || exit 0
  in_module kubernetes
  rm -f ./*.go
  cat >main.go <<'GO'
package main

import (
	"os"
	_ "time/tzdata"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	server "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() {
	commands := map[string]func() *cobra.Command{
		"kube-apiserver":          server.NewAPIServerCommand,
		"kube-controller-manager": controllers.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	}
	os.Args = os.Args[1:]
	os.Exit(cli.Run(commands[os.Args[0]]()))
}
GO
  go mod edit -require "k8s.io/kubernetes@$kubernetes"
  sed -n 's/^\t\(k8s.io\/[a-z-]*\) v0\.0\.0$/\1/p' "$(module "k8s.io/kubernetes@$kubernetes")/go.mod" |
    while read -r staged; do go mod edit -replace "$staged=$staged@v0.${kubernetes#v1.}"; done
  tidy
  local version=k8s.io/component-base/version
  build kubernetes . "-X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=35"
)

build_kwok() (
  missing kwok || exit 0
  GOBIN=$bin nice -n 19 go install -trimpath -ldflags '-s -w' "sigs.k8s.io/kwok/cmd/kwok@$kwok"
)

# Argo CD's main program is replaced by one with the two parts that the drills need, which is a third less to compile. The first
# argument selects the part.
build_argo() (
  missing argocd || exit 0
  source_of argoproj/argo-cd "$argo" "$argo_commit"
  cat >cmd/main.go <<'GO'
package main

import (
	"os"

	"github.com/spf13/cobra"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	repository "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
)

func main() {
	commands := map[string]func() *cobra.Command{
		"argocd-application-controller": controller.NewCommand,
		"argocd-repo-server":            repository.NewCommand,
	}
	os.Args = os.Args[1:]
	if commands[os.Args[0]]().Execute() != nil {
		os.Exit(1)
	}
}
GO
  build argocd ./cmd
)

# A module with replace directives builds only in its own folder.
build_rollouts() (
  missing rollouts || exit 0
  cd "$(module "github.com/argoproj/argo-rollouts@$rollouts")"
  build rollouts ./cmd/rollouts-controller
)

build_monitoring() ( # the version that the chart installs
  missing prometheus-operator || exit 0
  in_module prometheus-operator
  printf 'package main\n\nimport _ "github.com/prometheus-operator/prometheus-operator/pkg/operator"\n\nfunc main() {}\n' >main.go
  go mod edit -require "github.com/prometheus-operator/prometheus-operator@$monitoring"
  GOFLAGS="-mod=mod ${GOFLAGS:-}" build prometheus-operator github.com/prometheus-operator/prometheus-operator/cmd/operator
)

source_of() { # repository, tag, commit: enters a fresh copy of the repository's source, which must be at this commit
  rm -rf "$tools/source/${1##*/}"
  git -c advice.detachedHead=false clone -q --depth 1 --branch "$2" "https://github.com/$1" "$tools/source/${1##*/}"
  cd "$tools/source/${1##*/}"
  [ "$(git rev-parse HEAD)" = "$3" ] || { echo "$1 $2 is not the commit $3" >&2; return 1; }
}

build_controllers() (
  if missing load-balancer-controller; then
    source_of kubernetes-sigs/aws-load-balancer-controller "$load_balancers" 11eb202c97e4ae2ee45e0658c4cde9a4b59f33d4
    build load-balancer-controller .
  fi
  missing external-secrets || exit 0
  source_of external-secrets/external-secrets "$secrets" 378bdb622ed9712ef4a58370f6a17af033b7d343
  # Of its providers and generators only those that are used here: AWS, and the password of Grafana.
  sed -i -E '/generators\/v1\//{/password/!d}; /genv1alpha1.Register\(/{/password/!d}' pkg/register/generators.go
  GOFLAGS="-tags=aws ${GOFLAGS:-}" build external-secrets .
)

build_redis() (
  missing redis-server || exit 0
  work=$(mktemp -d)
  trap 'rm -r "$work"' EXIT
  chmod 755 "$work" # apt downloads as another user
  cd "$work"
  local packages=(redis-server redis-tools libjemalloc2 liblzf1 libatomic1)
  apt-get download -q "${packages[@]}" >/dev/null || { apt-get update -q >/dev/null && apt-get download -q "${packages[@]}" >/dev/null; }
  for package in *.deb; do dpkg -x "$package" .; done
  mkdir -p "$bin/lib"
  find . -name '*.so*' -exec cp -P {} "$bin/lib/" \;
  install usr/bin/redis-check-rdb "$bin/redis-server"
)

[ $# -gt 0 ] || set -- etcd kwok redis kubernetes argo rollouts monitoring controllers
for part in "$@"; do "build_$part"; done
echo "$bin"
