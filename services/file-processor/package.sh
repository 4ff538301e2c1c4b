#!/usr/bin/env bash
# Builds what AWS Lambda runs: target/lambda/file-processor/{arm64,x86-64}/bootstrap.zip, each under 10 MiB.
#
#   services/file-processor/package.sh [arm64|x86-64]…      both, unless said
#
# Needs rustup and Python 3. cargo-lambda, and the zig it links with against the C library of Amazon Linux 2023, come from PyPI
# into a folder of their own.
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
export CARGO_ZIGBUILD_ZIG_PATH # named, or it is looked for in ways that depend on the shell
# Small, and as the tests know it: a reader that panics is a refused file, so panics unwind.
export CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_STRIP=symbols

[ $# -gt 0 ] || set -- arm64 x86-64
cd "$root"
for architecture in "$@"; do
  case $architecture in
  arm64) target=aarch64-unknown-linux-gnu ;;
  x86-64) target=x86_64-unknown-linux-gnu ;;
  *)
    echo "package.sh: there is no $architecture; arm64 or x86-64" >&2
    exit 2
    ;;
  esac
  rustup target add "$target" >/dev/null 2>&1
  folder=target/lambda/file-processor/$architecture
  cargo lambda build --release --locked --disable-optimizations "--$architecture" --package file-processor --bin bootstrap \
    --output-format zip --lambda-dir "$folder" --flatten bootstrap
  bytes=$(stat -c %s "$folder/bootstrap.zip")
  echo "$folder/bootstrap.zip: $bytes bytes"
  [ "$bytes" -lt "$most_bytes" ] || { echo "package.sh: that is more than $most_bytes" >&2 && exit 1; }
done
