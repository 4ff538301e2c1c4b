#!/usr/bin/env bash
# Writes an image's digest into the values of an environment, and opens a pull request with the change.
#
#   .github/propose.sh dev|prod DIGEST WHY      as the release workflow does; needs git and gh
#   .github/propose.sh write FILE DIGEST        only writes it
#   .github/propose.sh read dev|prod            prints the digest of the environment
set -euo pipefail

cd "$(dirname "$0")/.."
line='^  digest: sha256:[0-9a-f]{64}'

write() { # file, digest
  [[ $2 =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "$2 is not a digest" >&2; return 1; }
  [ "$(grep -cE "$line" "$1")" = 1 ] || { echo "$1 must have exactly one digest" >&2; return 1; }
  sed -Ei "s/$line/  digest: $2/" "$1"
}

case ${1:-} in
  write) write "$2" "$3" ;;
  read)
    digest=$(grep -oE "$line" "helm/values-${2:?dev or prod}.yaml" | grep -oE 'sha256:.*')
    [ "$digest" != "sha256:$(printf '0%.0s' {1..64})" ] || { echo "$2 has no release yet" >&2; exit 1; }
    echo "$digest" ;;
  dev | prod)
    file=helm/values-$1.yaml
    write "$file" "${2:?the digest}"
    branch=release-$1-${2:7:12}
    git config user.name release && git config user.email release@users.noreply.github.com
    git checkout -q -b "$branch"
    git commit -qm "Release ${3:?why} to $1" -m "$2" "$file"
    git push -q origin "$branch"
    gh pr create --base main --head "$branch" --title "Release $3 to $1" --body "$2, signed, with its SBOM attested. Argo CD rolls it out when this is merged; reverting it rolls back." ;;
  *) echo "usage: propose.sh dev|prod DIGEST WHY, write FILE DIGEST, read dev|prod" >&2; exit 2 ;;
esac
