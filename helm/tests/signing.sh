#!/usr/bin/env bash
# Runs the steps of the release workflow that list the contents of an image, sign it and promote it, with the real syft and cosign and
# a registry on this machine. The image has two architectures, each with Cargo.lock at the place of the Dockerfile. Then signatures of
# other identities, other images and a changed list must be refused. Takes a minute.
#
#   helm/tests/signing.sh [sed expression]      a mistake in the workflow, with which it must fail
#
# Signing is keyless in the workflow: Sigstore issues a certificate for GitHub's identity token, and a public log records it. Both need
# the internet. Here an authority of the drill issues certificates with the same fields, and cosign verifies without the log. The
# workflow's own text decides which identities it accepts.
set -uo pipefail

folder=$(cd "$(dirname "$0")" && pwd)
root=$folder/../..
tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}
export PATH="$tools/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
# shellcheck source=helm/tests/verdict.sh
. "$folder/verdict.sh"

if [ -z "${TIDEMARK_ALONE:-}" ]; then
  "$folder/tools.sh" syft cosign crane >/dev/null || cannot "syft, cosign and crane are not available"
  map=()
  [ "$(id -u)" = 0 ] || map=(--map-root-user)
  # Without a network, so that no program can reach Sigstore.
  TIDEMARK_ALONE=1 exec unshare "${map[@]}" --net --pid --fork --kill-child --mount-proc bash "$0" "$@"
fi

ip link set lo up
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
registry=127.0.0.1:5000 image=127.0.0.1:5000/tidemark prod_image=127.0.0.1:5000/tidemark-prod
export HOME=$work/home COSIGN_PASSWORD='' SYFT_CHECK_FOR_APP_UPDATE=false SYFT_REGISTRY_INSECURE_USE_HTTP=true

github=https://token.actions.githubusercontent.com
release=https://github.com/shop/tidemark/.github/workflows/release.yml@refs/tags/v1.0.0

registry_up() {
  crane registry serve --address "$registry" >"$work/registry.log" 2>&1 &
  until crane catalog --insecure "$registry" >/dev/null 2>&1; do kill -0 $! || return 1; sleep 0.1; done
}

image_of() { # architecture, note beside the program, tag: pushes it as the workflow's build does
  mkdir -p "$work/layer/usr/local/bin" "$work/layer/usr/share/doc/tidemark"
  echo "the program, $2" >"$work/layer/usr/local/bin/platform"
  cp "$root/Cargo.lock" "$work/layer$(sed -n 's/^COPY .*Cargo.lock //p' "$root/Dockerfile")"
  tar -C "$work/layer" -czf "$work/layer.tgz" usr
  crane append --insecure -f "$work/layer.tgz" -t "$image:built" && crane mutate --insecure --set-platform "linux/$1" -t "$image:$3-$1" "$image:built"
}

index_of() { # tag, note: pushes an image of both architectures, and prints its digest
  { image_of amd64 "$2" "$1" && image_of arm64 "$2" "$1" &&
    crane index append --insecure -m "$image:$1-amd64" -m "$image:$1-arm64" -t "$image:$1"; } >"$work/said" 2>&1 && crane digest --insecure "$image:$1"
}

authority() { # name
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -days 2 -keyout "$work/$1.key" -out "$work/$1.crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}

# Issues a certificate with the fields of Fulcio's: the workflow as URI, and the issuer of its token.
identity() { # name, URI, issuer, authority
  local place=$work/$1
  mkdir -p "$place"
  openssl ecparam -name prime256v1 -genkey -noout -out "$place/plain.key" && openssl req -new -key "$place/plain.key" -subj / -out "$place/request" || return 1
  printf '%s\n' keyUsage=critical,digitalSignature extendedKeyUsage=codeSigning "subjectAltName=critical,URI:$2" \
    "1.3.6.1.4.1.57264.1.1=DER:$(printf %s "$3" | od -An -v -tx1 | tr -d ' \n')" "1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:$3" >"$place/extensions"
  openssl x509 -req -in "$place/request" -CA "$work/$4.crt" -CAkey "$work/$4.key" -CAcreateserial -days 1 -extfile "$place/extensions" -out "$place/cosign.crt" &&
    cosign import-key-pair --key "$place/plain.key" --output-key-prefix "$place/cosign"
}

identities() {
  mkdir -p "$work/home"
  authority sigstore && authority impostor && identity release "$release" "$github" sigstore &&
    identity another-repository "${release/shop/shopp}" "$github" sigstore &&
    identity repository-with-a-longer-name "${release/tidemark/tidemark-fork}" "$github" sigstore &&
    identity another-workflow "${release/release.yml/nightly.yml}" "$github" sigstore &&
    identity workflow-with-a-longer-name "${release/release.yml/release.yml.yml}" "$github" sigstore &&
    identity release-on-a-branch "${release/tags/heads}" "$github" sigstore &&
    identity release-on-a-pull-request "${release/tags\/v1.0.0/pull/1/merge}" "$github" sigstore &&
    identity another-issuer "$release" https://gitlab.com sigstore &&
    identity another-authority "$release" "$github" impostor
}

# Programs in the workflow's PATH: cosign with the drill's certificates in place of Sigstore's, and syft where `go install` puts it.
stand_ins() {
  mkdir -p "$work/bin" "$work/go/bin" "$work/.github"
  ln -s "$tools/bin/syft" "$work/go/bin/syft"
  cat >"$work/bin/go" <<GO
#!/bin/sh
case "\$*" in
  "env GOPATH") echo "$work/go" ;;
  "install github.com/anchore/syft/cmd/syft@v"*) ;;
  *) echo "the drill has no go \$*" >&2; exit 1 ;;
esac
GO
  cat >"$work/bin/cosign" <<COSIGN
#!/bin/sh
command=\$1; shift
case \$command in
  sign | attest) set -- --key "$work/\$SIGNER/cosign.key" --certificate "$work/\$SIGNER/cosign.crt" --certificate-chain "\$CHAIN" --tlog-upload=false "\$@" ;;
  verify | verify-attestation) set -- --ca-roots "$work/sigstore.crt" --insecure-ignore-sct --insecure-ignore-tlog=true "\$@" ;;
esac
exec "$tools/bin/cosign" "\$command" --allow-http-registry "\$@"
COSIGN
  printf '#!/bin/sh\necho "${DIGEST:?}"\n' >"$work/.github/propose.sh"
  chmod +x "$work/bin"/* "$work/.github/propose.sh"
}

step() { # words of its name: prints its script
  PYTHONPATH=$folder python3 - "$work/release.yml" "$1" <<'STEP'
import sys
import documents
(workflow,) = documents.read(sys.argv[1])
(found,) = [step for job in workflow["jobs"].values() for step in job["steps"] if sys.argv[2] in step.get("name", "")]
print(found["run"])
STEP
}

in_workflow() { # script, identity, variables…
  (cd "$work" && env SIGNER="$2" CHAIN="$work/$([ "$2" = another-authority ] && echo impostor || echo sigstore).crt" GITHUB_REPOSITORY=shop/tidemark \
    GITHUB_OUTPUT="$work/output" PATH="$work/bin:$PATH" "${@:3}" bash -eo pipefail "$work/$1")
}

publishes() { in_workflow sign "$1" NAME="$2"; }                                    # identity, image
promotes() { in_workflow promote release DIGEST="$1" FROM="$image" IMAGE="$prod_image"; } # digest
sign_as() { echo 'cosign sign --yes "$NAME"' >"$work/only-sign"; in_workflow only-sign "$1" NAME="$2"; }

# The refusal must be of the identity: a step that fails for another reason, such as a missing file, shows nothing.
refuses() { # words of the refusal, command…
  "${@:2}" >"$work/refusal" 2>&1 && { echo "it was accepted"; return 1; }
  grep -qiE "$1" "$work/refusal" || { tail -5 "$work/refusal"; return 1; }
}

refuses_signer() { # identity, words of the refusal: an image of its own, signed by it, is not promoted
  local digest
  digest=$(index_of "by-$1" "$1") && sign_as "$1" "$image@$digest" && refuses "$2" promotes "$digest"
}
refuses_publisher() { # identity, words of the refusal: the step that signs as this identity fails
  local digest
  digest=$(index_of "published-by-$1" "$1") && refuses "$2" publishes "$1" "$image@$digest"
}

promoted_is_signed() { # digest: its copy in prod's repository has the signature
  local promoted
  promoted=$(sed -n 's/^digest=//p' "$work/output" | tail -1)
  [ "$promoted" = "$1" ] && in_workflow verify-release release NAME="$prod_image@$1"
}

only_this_is_promoted() { # digest: prod's repository has its tag, and the tags that it had after the promotion
  crane ls --insecure "$prod_image" | sort >"$work/tags" && grep -qx "promoted-${1#sha256:}" "$work/tags" && diff "$work/promoted" "$work/tags"
}

# Puts the signature of an image at the tag at which cosign looks for another image's.
moved_signature() { # digest, other digest
  crane copy --insecure "$image:${1/:/-}.sig" "$image:${2/:/-}.sig" && refuses 'digest in claim' promotes "$2"
}

# Every package of Cargo.lock from a registry is in the list, with its version.
lists_the_packages() {
  python3 - "$root/Cargo.lock" "$work/sbom.spdx.json" <<'LIST'
import json, sys, tomllib
wanted = {(p["name"], p["version"]) for p in tomllib.load(open(sys.argv[1], "rb"))["package"] if "source" in p}
listed = {(p["name"], p.get("versionInfo")) for p in json.load(open(sys.argv[2]))["packages"]}
missing = sorted(wanted - listed)
print(f"{len(wanted)} packages in Cargo.lock, {len(listed)} listed, missing: {missing[:5]}")
sys.exit(bool(missing) or len(wanted) < 100)
LIST
}

attests_the_list() { # image: the attested list is the one that syft wrote
  in_workflow verify-list release NAME="$1" >"$work/attested" && python3 - "$work/attested" "$work/sbom.spdx.json" <<'ATTESTED'
import base64, json, sys
(envelope,) = [json.loads(line) for line in open(sys.argv[1])]
attested = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
sys.exit(attested["packages"] != json.load(open(sys.argv[2]))["packages"])
ATTESTED
}
attests_another_list() { # image
  ! attests_the_list "$1" && [ -s "$work/attested" ]
}

cp "$root/.github/workflows/release.yml" "$work/release.yml"
[ -z "${1:-}" ] || sed -i -E "$1" "$work/release.yml"
accepted="--certificate-oidc-issuer $github --certificate-identity $release"
echo "cosign verify \"\$NAME\" $accepted" >"$work/verify-release"
echo "cosign verify-attestation --type spdxjson \"\$NAME\" $accepted" >"$work/verify-list"

holds "the certificates of the drill are there" identities
holds "and its programs" stand_ins
holds "a registry answers on this machine" registry_up
holds "the workflow has the step that signs" step "Contents and signature"
cp "$work/said" "$work/sign"
holds "and the step that promotes" step "signed by this repository"
cp "$work/said" "$work/promote"
first=$(index_of v1 first) second=$(index_of v2 second)
holds "an unsigned image is not promoted" refuses 'no signatures found' promotes "$first"
holds "the workflow lists, signs, attests and verifies an image" publishes release "$image@$first"
holds "the list has every package of Cargo.lock" lists_the_packages
tail -1 "$work/said"
holds "the signature is of the digest, by the release" in_workflow verify-release release NAME="$image@$first"
holds "the list is attested for the digest" attests_the_list "$image@$first"
holds "the signed image is promoted" promotes "$first"
holds "and prod's copy of it has the signature" promoted_is_signed "$first"
crane ls --insecure "$prod_image" | sort >"$work/promoted"
holds "another image, under the signed one's tag, is not promoted" refuses 'no signatures found' promotes "$second"
holds "nor with the signature of the first" moved_signature "$first" "$second"
for other in another-repository repository-with-a-longer-name another-workflow workflow-with-a-longer-name release-on-a-branch release-on-a-pull-request another-issuer; do
  holds "refused: signed by ${other//-/ }" refuses_signer "$other" 'none of the expected identities matched'
done
holds "refused: certified by another authority" refuses_signer another-authority 'unknown authority'
holds "and the step that signs fails on a branch" refuses_publisher release-on-a-branch 'none of the expected identities matched'
holds "no refused image came into prod's repository" only_this_is_promoted "$first"
sed -i 's/"versionInfo": *"[^"]*"/"versionInfo":"0.0.0"/' "$work/sbom.spdx.json"
holds "a list that was changed afterwards is noticed" attests_another_list "$image@$first"
verdict
