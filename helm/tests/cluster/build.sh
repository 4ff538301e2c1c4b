#!/usr/bin/env bash
# Builds a real control plane from Go modules into the cache of tools: etcd; Kubernetes' API server, controllers and scheduler
# in one program; kwok, which plays the nodes; Argo CD; and unpacks Debian's redis for it. About ten minutes on two idle cores,
# once; what is there already is left alone. Needs Go 1.26 and Debian's apt.
#
#   helm/tests/cluster/build.sh [etcd|kwok|redis|kubernetes|argo …]      all of them by default
set -euo pipefail

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

# Kubernetes lives in many modules that name each other as v0.0.0: each gets the meant version. The code that its three programs
# share is compiled and linked once: the first argument selects the program.
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

# Argo CD's module builds only as the main one, for its replace directives: so in a copy, whose main is replaced by one that has
# the two parts the drill needs, a third less to compile. The first argument selects the part.
build_argo() (
  missing argocd || exit 0
  mkdir -p "$tools/source"
  rm -rf "$tools/source/argo"
  cp -r "$(module "github.com/argoproj/argo-cd/v2@$argo")" "$tools/source/argo"
  cd "$tools/source/argo"
  chmod -R u+w .
  cat >cmd/main.go <<'GO'
package main

import (
	"os"

	"github.com/spf13/cobra"

	controller "github.com/argoproj/argo-cd/v2/cmd/argocd-application-controller/commands"
	repository "github.com/argoproj/argo-cd/v2/cmd/argocd-repo-server/commands"
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
  rm -rf "$tools/source/argo"
)

build_redis() (
  missing redis-server || exit 0
  work=$(mktemp -d)
  trap 'rm -r "$work"' EXIT
  chmod 755 "$work" # apt downloads as a user of its own
  cd "$work"
  apt-get download -q redis-server redis-tools libjemalloc2 liblzf1 libatomic1 >/dev/null
  for package in *.deb; do dpkg -x "$package" .; done
  mkdir -p "$bin/lib"
  find . -name '*.so*' -exec cp -P {} "$bin/lib/" \;
  install usr/bin/redis-check-rdb "$bin/redis-server"
)

[ $# -gt 0 ] || set -- etcd kwok redis kubernetes argo
for part in "$@"; do "build_$part"; done
echo "$bin"
