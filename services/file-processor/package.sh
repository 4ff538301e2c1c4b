#!/usr/bin/env bash
# Builds the zips for AWS Lambda, target/lambda/file-processor/{arm64,x86-64}/bootstrap.zip, checks that each is smaller than
# 10 MiB, and runs the tests with the binary in each zip.
#
#   services/file-processor/package.sh [arm64|x86-64]…      both by default
#
# Needs rustup and Python 3. Installs cargo-lambda from PyPI into a separate folder, with the zig that links against the C
# library of Amazon Linux 2023. A binary for another architecture than this machine's is tested in QEMU. This needs Debian's
# qemu-user, and libc6-arm64-cross with libgcc-s1-arm64-cross, or libc6-amd64-cross with libgcc-s1-amd64-cross.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
version=1.9.2
tools=${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/cargo-lambda-$version
most_bytes=$((10 << 20))

if ! [ -x "$tools/bin/cargo-lambda" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet "cargo-lambda==$version"
fi
export PATH=$tools/bin:$PATH
CARGO_ZIGBUILD_ZIG_PATH=$("$tools/bin/python" -c 'import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), "zig"))')
export CARGO_ZIGBUILD_ZIG_PATH # set here, because otherwise the search for zig depends on the shell

build() { # architecture, folder
  # The settings make the binary small. Panics still unwind, because a panic of a reader must refuse the file.
  CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_STRIP=symbols \
    cargo lambda build --release --locked --disable-optimizations "--$1" --package file-processor --bin bootstrap \
    --output-format zip --lambda-dir "$2" --flatten bootstrap
  bytes=$(stat -c %s "$2/bootstrap.zip")
  echo "$2/bootstrap.zip: $bytes bytes"
  [ "$bytes" -lt "$most_bytes" ] || { echo "package.sh: the zip must be smaller than $most_bytes bytes" >&2 && exit 1; }
}

run_tests() { # machine, folder
  if [ "$1" != "$(uname -m)" ]; then
    if ! command -v "qemu-$1" >/dev/null || ! [ -d "/usr/$1-linux-gnu/lib" ]; then
      echo "SKIPPED: the tests of $2/bootstrap.zip, because qemu-$1 or its C library is missing" >&2
      return
    fi
    export TIDEMARK_TEST_EMULATOR="qemu-$1 -L /usr/$1-linux-gnu"
  fi
  unpacked=$(mktemp -d)
  python3 -m zipfile -e "$2/bootstrap.zip" "$unpacked"
  chmod +x "$unpacked/bootstrap"
  TIDEMARK_TEST_BOOTSTRAP=$unpacked/bootstrap cargo test --locked --package file-processor --test it
  unset TIDEMARK_TEST_EMULATOR
  rm -r "$unpacked"
}

[ $# -gt 0 ] || set -- arm64 x86-64
cd "$root"
for architecture in "$@"; do
  case $architecture in
  arm64) machine=aarch64 ;;
  x86-64) machine=x86_64 ;;
  *)
    echo "package.sh: unknown architecture $architecture; use arm64 or x86-64" >&2
    exit 2
    ;;
  esac
  rustup target add "$machine-unknown-linux-gnu" >/dev/null 2>&1
  folder=target/lambda/file-processor/$architecture
  build "$architecture" "$folder"
  run_tests "$machine" "$folder"
done
