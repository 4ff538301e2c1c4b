#!/usr/bin/env bash
# Runs the program as the chart's pods do, without containers: as the user nobody, without capabilities, on a read-only root in
# which only /tmp is writable, in a network of its own, with only the environment of its ConfigMap. Each service must become live
# and ready by its probes, and shut down within its grace period. Stores are the embedded ones.
#
#   helm/tests/pods.sh [path of the platform binary]      target/release/platform unless given; needs root
set -uo pipefail

folder=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "${1:-$folder/../../target/release/platform}")
tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}
export PATH="$tools/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
# shellcheck source=helm/tests/verdict.sh
. "$folder/verdict.sh"
[ -x "$program" ] || cannot "$program is not built"
[ "$(id -u)" = 0 ] || cannot "only the user root can make the root file system read-only"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for environment in prod kind; do
  helm template tidemark "$folder/.." --kube-version 1.35 -f "$folder/../values-$environment.yaml" \
    --set job.checkpoints=s3://tidemark-checkpoints/prod --set "job.enabled=$([ $environment = prod ] && echo true || echo false)" >"$work/$environment.yaml" || exit 1
done
python3 "$folder/pods.py" describe "$work/prod.yaml" "$work/kind.yaml" >"$work/pods.json"
unshare --mount --net --pid --fork --kill-child --mount-proc bash -c '
  ip link set lo up
  mount --make-rprivate /
  exec 9<"$1"
  mount -t tmpfs -o mode=1777 tmpfs /tmp
  mount -o remount,bind,ro /
  exec python3 "$2" run "$3" <&9' - "$work/pods.json" "$folder/pods.py" "$program"
