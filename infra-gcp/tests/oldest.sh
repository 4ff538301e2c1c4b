#!/usr/bin/env bash
# Checks that a release binary runs where it is deployed: on Debian 12 (the machines of `submit gce`, Dataproc 2.2 and 2.3, distroless)
# and on Ubuntu 22.04. Reads the versions of glibc that the binary needs, and then runs it in a root file system that has nothing
# but the C library of Debian 12. Needs root, and Debian's packages the first time (2 MB).
#
#   cargo build --release -p order-analytics && infra-gcp/tests/oldest.sh target/release/order-analytics
set -euo pipefail

binary=${1:?the binary is missing, as in target/release/order-analytics}
[ -x "$binary" ] || { echo "there is no program $binary"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The C libraries of Ubuntu 22.04 and Debian 12 are 2.35 and 2.36; that of Rocky Linux 9, the third image of Dataproc, is 2.34.
newest_allowed=2.34
libraries_allowed='ld-linux-(x86-64|aarch64)\.so\.[12]|lib(c|m|gcc_s|pthread|dl|rt)\.so\.[0-9]'

needs_no_newer_glibc() {
  local newest
  newest=$(objdump -T "$binary" | grep -oE 'GLIBC_[0-9.]+' | sed 's/GLIBC_//' | sort -Vu | tail -n 1)
  [ -n "$newest" ] || { echo "$binary names no version of glibc: objdump -T shows none"; return 1; }
  echo "needs glibc $newest"
  [ "$(printf '%s\n' "$newest" "$newest_allowed" | sort -V | tail -n 1)" = "$newest_allowed" ] && return
  objdump -T "$binary" | grep -F "GLIBC_$newest)"
  return 1
}

needs_no_other_library() {
  local others
  others=$(objdump -p "$binary" | awk '$1 == "NEEDED" { print $2 }' | grep -vxE "$libraries_allowed" || true)
  [ -z "$others" ] || { echo "needs $others, which Debian 12 and distroless lack"; return 1; }
}

make_root() { # of Debian 12's packages: the libraries, and no program
  mkdir -p "$work/root/tmp" "$work/root/dev" "$work/packages"
  local suite='Dir::Etc::SourceList='$work/sources.list
  echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main' >"$work/sources.list"
  mkdir -p "$work/lists/partial"
  local apt=(-qq -o "$suite" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update
  (cd "$work/packages" && apt-get "${apt[@]}" download libc6 libgcc-s1)
  for package in "$work"/packages/*.deb; do dpkg-deb -x "$package" "$work/root"; done
  # Debian's merged folders.
  local folder
  for folder in lib lib64; do [ -e "$work/root/$folder" ] || ln -s "usr/$folder" "$work/root/$folder"; done
  : >"$work/root/dev/null"
  install -m 755 "$binary" "$work/root/order-analytics"
}

runs_there() { # counts an order of a file, and prints the result
  make_root || return 1
  mkdir "$work/root/orders"
  printf '%s\n' '{"event_id": "00000000-0000-0000-0000-000000000001", "event_type": "order.created", "order_id": 1, "user_id": 7,
    "total_cents": 100, "currency": "USD", "created_at": "2026-11-22T10:00:00.000Z",
    "items": [{"product_id": "00000000-0000-0000-0000-000000000000", "quantity": 1, "unit_price_cents": 100}]}' | tr -d '\n' >"$work/root/orders/orders"
  timeout 20 chroot "$work/root" /order-analytics --version || return 1
  timeout 60 chroot "$work/root" /order-analytics --input /orders --log error >"$work/results" || return 1
  cat "$work/results"
  grep -q '"user_id": *7' "$work/results"
}

failed=0
for check in needs_no_newer_glibc needs_no_other_library runs_there; do
  if $check; then echo "ok   $check"; else echo "FAIL $check"; failed=1; fi
done
echo "size: $(stat -c %s "$binary") bytes"
exit $failed
