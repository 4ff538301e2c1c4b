#!/usr/bin/env bash
# Builds the image with the steps of the Dockerfile, and runs it as a pod does: as the base image's user, without capabilities, on a
# read-only root in which only /data and /tmp are writable. Takes half a minute.
#
#   helm/tests/image.sh [program]      the last stage alone, with a built program: target/release/platform unless given
#   helm/tests/image.sh --whole        all stages; with OPT_LEVEL=0, without optimisation, ten minutes on two cores
#
# Needs root, buildah, mmdebstrap and openssl of Debian 12. It uses no registry of images. The base images are replaced: distroless
# by the Debian packages that it is made of, Rust's by Debian with gcc, g++, make and perl and this machine's toolchain. The
# Dockerfile's caches stay in /var/tmp/buildah-cache.
set -uo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=helm/tests/verdict.sh
. "$root/helm/tests/verdict.sh"
for tool in buildah mmdebstrap openssl; do
  command -v $tool >/dev/null || cannot "$tool is not installed"
done
[ "$(id -u)" = 0 ] || cannot "only the user root can make the root file system read-only"

work=$(mktemp -d)
chmod 755 "$work" # apt downloads as another user
trap 'images umount --all >/dev/null; images rm --all >/dev/null; umount "$work/storage/overlay" 2>/dev/null; rm -rf "$work"' EXIT

images() { buildah --root "$work/storage" --runroot "$work/run" "$@"; }

play() { # creates a base image: its name, its files (a folder or a tar), settings…
  local container name=$1 files=$2; shift 2
  container=$(images from scratch) && images add -q "$container" "$files" / >/dev/null &&
    images config "$@" "$container" && images commit -q "$container" "$name" >/dev/null && images rm "$container" >/dev/null
}

play_distroless() {
  mkdir -p "$work/packages" "$work/base/"{home/nonroot,tmp,proc,data}
  (cd "$work/packages" && apt-get download -q base-files netbase tzdata media-types ca-certificates libc6 libssl3 libgcc-s1 libgomp1 libstdc++6) >/dev/null || return
  for package in "$work/packages"/*.deb; do dpkg -x "$package" "$work/base"; done
  rm -r "$work/base"/usr/{bin,sbin} "$work/base"/{bin,sbin} "$work/base"/usr/share/{doc,man} 2>/dev/null
  cat "$work/base"/usr/share/ca-certificates/mozilla/*.crt >"$work/base/etc/ssl/certs/ca-certificates.crt"
  printf '%s:x:%d:%d::/home/nonroot:/sbin/nologin\n' root 0 0 nonroot 65532 65532 >"$work/base/etc/passwd"
  play gcr.io/distroless/cc-debian12:nonroot "$work/base" --user 65532:65532 --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
}

play_rust() {
  mmdebstrap --quiet --variant=minbase --include=gcc,g++,libc6-dev,make,perl,ca-certificates bookworm "$work/rust.tar" || return
  mkdir -p "$work/rust/usr/local/cargo/bin" && cp -a "${CARGO_HOME:-$HOME/.cargo}/bin/"{rustup,cargo,rustc} "$work/rust/usr/local/cargo/bin/" || return
  tar rf "$work/rust.tar" -C "$work/rust" ./usr
  play docker.io/library/rust:1.95-bookworm "$work/rust.tar" --env PATH=/usr/local/cargo/bin:/usr/bin:/bin \
    --env CARGO_HOME=/usr/local/cargo --env RUSTUP_HOME=/usr/local/rustup --env "CARGO_PROFILE_RELEASE_OPT_LEVEL=${OPT_LEVEL:-3}"
}

whole() {
  local toolchain
  toolchain=$(cd "$root" && rustc --print sysroot)
  images build --isolation chroot --pull-never --layers=false --tag tidemark --volume /etc/ssl/certs:/etc/ssl/certs:ro \
    --volume "$toolchain:/usr/local/rustup/toolchains/1.95.0-$(rustc -vV | sed -n 's/host: //p'):ro" "$root"
}

last_stage() { # program
  mkdir "$work/context" && cp "$1" "$work/context/platform" && cp "$root/Cargo.lock" "$work/context/" &&
    { echo 'FROM scratch AS build'; echo 'COPY platform /platform'; echo 'COPY Cargo.lock /src/Cargo.lock'; sed -n '/^FROM gcr/,$p' "$root/Dockerfile"; } >"$work/context/Dockerfile" &&
    images build --isolation chroot --pull-never --tag tidemark "$work/context"
}

# Drops all capabilities from the bounding set (24), and forbids child processes to gain privileges (38).
become='import ctypes, os, sys
call = ctypes.CDLL(None).prctl
root, user, *command = sys.argv[1:]
for capability in range(64): call(24, capability, 0, 0, 0)
os.chroot(root), os.chdir("/"), os.setgroups([])
uid, gid = map(int, user.split(":"))
os.setgid(gid), os.setuid(uid), call(38, 1, 0, 0, 0)
os.execv(command[0], command)'

# pod SETTING=value… -- arguments: starts the image's program as its user, with its settings; sets $pod to its process id.
pod() {
  local settings=()
  while [ "$1" != -- ]; do settings+=("$1"); shift; done
  shift
  mapfile -t said <"$work/environment"
  env -i "${said[@]}" "${settings[@]}" "$(command -v python3)" -c "$become" "$files" "$(cat "$work/user")" "$(cat "$work/entry")" "$@" >"$work/pod.log" 2>&1 &
  pod=$!
}

ended_with() { # code, words of the log
  wait "$pod"
  [ $? -eq "$1" ] && grep -q "$2" "$work/pod.log" || { cat "$work/pod.log"; return 1; }
}

becomes_ready() {
  local _
  for _ in $(seq 300); do
    curl -sf http://127.0.0.1:5000/health/ready >/dev/null && return
    [ -e "/proc/$pod" ] || break
    sleep 0.1
  done
  cat "$work/pod.log"
  return 1
}

is_nobody() {
  grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs)' "/proc/$pod/status" | tr -s '\t' ' ' | tee "$work/status"
  diff - "$work/status" <<<$'Uid: 65532 65532 65532 65532\nCapEff: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1'
}

# Succeeds if the program completes a TLS handshake with a server whose certificate is from this authority.
handshake() { # authority, arguments of the program…
  local authority=$1; shift
  mount --bind "$work/$authority.pem" "$files/etc/ssl/certs/ca-certificates.crt"
  openssl s_server -accept 9443 -cert "$work/server.pem" -key "$work/server.key" -WWW -msg >"$work/server.log" 2>&1 &
  local server=$! _
  pod TIDEMARK_HOST=127.0.0.1 AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_REGION=eu-central-1 -- "$@"
  for _ in $(seq 100); do grep -qE 'Alert|Finished' "$work/server.log" && grep -qE '<<<.*(Alert|Finished)' "$work/server.log" && break; sleep 0.1; done
  kill "$pod" "$server" 2>/dev/null
  wait "$pod" "$server" 2>/dev/null
  umount "$files/etc/ssl/certs/ca-certificates.crt"
  grep -E '<<<.*(Alert|Finished)' "$work/server.log" || tail -3 "$work/pod.log"
  grep -qE '<<<.*Finished' "$work/server.log"
}
no_handshake() { ! handshake "$@"; }

authorities() { # with the test's authority beside the image's own, and with the image's own alone
  openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=authority -days 2 -keyout "$work/ca.key" -out "$work/ca.pem"
  openssl req -newkey rsa:2048 -nodes -subj /CN=server -keyout "$work/server.key" -out "$work/server.csr"
  openssl x509 -req -in "$work/server.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 -out "$work/server.pem" \
    -extfile <(echo subjectAltName=IP:127.0.0.1)
  cp "$files/etc/ssl/certs/ca-certificates.crt" "$work/foreign.pem"
  cat "$work/foreign.pem" "$work/ca.pem" >"$work/known.pem"
}

run() { # in namespaces of its own
  ip link set lo up
  mount --make-rprivate /
  mount --bind "$files" "$files" && mount -o remount,bind,ro "$files"
  mount -t proc proc "$files/proc" # as every pod has; the service files starts this program again to process a file
  mount -t tmpfs -o mode=1777 tmpfs "$files/tmp" && mount -t tmpfs -o mode=0755,uid=65532 tmpfs "$files/data"
  pod -- --version
  holds "the program runs with only the files of the image" ended_with 0 '^platform '
  pod -- all --data /data
  holds "on a public address, it does not start without authentication" ended_with 1 'authentication is off'
  pod TIDEMARK_AUTH=enforced -- all --data /elsewhere
  holds "it cannot write to its root, and reports this" ended_with 1 'Read-only file system'
  pod TIDEMARK_AUTH=enforced -- all --data /data
  holds "the whole platform becomes ready" becomes_ready
  holds "it runs as a user without a name, which cannot change its identity" is_nobody
  kill "$pod"
  holds "it shuts down on request" ended_with 0 .
  authorities 2>/dev/null
  local dynamodb=(products --dynamodb https://127.0.0.1:9443)
  holds "DynamoDB is trusted with a certificate from the image's authorities" handshake known "${dynamodb[@]}"
  holds "and with no other" no_handshake foreign "${dynamodb[@]}"
  local kafka=(order-analytics --brokers 127.0.0.1:9443 --property security.protocol=ssl --data /data)
  handshake known "${kafka[@]}" >/dev/null
  if grep -q 'which this build lacks' "$work/pod.log"; then echo "NOT RUN: brokers likewise: $program is built without TLS for Kafka (feature tls)"
  else
    holds "brokers are trusted in the same way" handshake known "${kafka[@]}"
    holds "and with no other certificate" no_handshake foreign "${kafka[@]}"
  fi
  verdict
}

program=${1:-$root/target/release/platform}
holds "the replacement of distroless can be built" play_distroless
if [ "${1:-}" = --whole ]; then
  holds "the replacement of Rust's image can be built" play_rust
  holds "the Dockerfile builds" whole
else
  holds "the Dockerfile's last stage builds" last_stage "$program"
fi
[ $failed -eq 0 ] || exit 1
container=$(images from --pull-never tidemark)
images inspect --format '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' "$container" | sed '/^$/d' >"$work/environment"
images inspect --format '{{.OCIv1.Config.User}}' "$container" >"$work/user"
images inspect --format '{{index .OCIv1.Config.Entrypoint 0}}' "$container" >"$work/entry"
files=$(images mount "$container")
echo "        $(du -sm "$files" | cut -f 1) MiB, of which the program $(du -m "$files/usr/local/bin/platform" | cut -f 1)"
export work files program become passed failed
export -f say pass fail verdict pod holds ended_with becomes_ready is_nobody handshake no_handshake authorities run
unshare --mount --net --pid --fork --kill-child --mount-proc bash -c run
