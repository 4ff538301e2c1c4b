#!/usr/bin/env bash
# The start-up script of a machine of the instance group: fetches the release, writes the unit, starts it. Terraform replaces $${…};
# all other expansions are the shell's.
set -euo pipefail

id -u tidemark >/dev/null 2>&1 || useradd --system --no-create-home tidemark
install -d -o tidemark /opt/tidemark /etc/tidemark

token() {
  curl -sf -H 'Metadata-Flavor: Google' http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token \
    | sed -nE 's/.*"access_token" *: *"([^"]+)".*/\1/p'
}

fetch() { # gs:// URL, file
  local path=$${1#gs://}
  curl -sf --retry 10 -H "Authorization: Bearer $(token)" -o "$2.new" "https://storage.googleapis.com/$path"
  chmod 755 "$2.new"
  mv "$2.new" "$2"
}

fetch "${release}" /opt/tidemark/order-analytics
fetch "${run}" /opt/tidemark/run.sh

cat >/etc/tidemark/job.env <<'ENVIRONMENT'
${environment}
JOB_HOSTS=${hosts}
ENVIRONMENT
process=$(curl -sf -H 'Metadata-Flavor: Google' http://metadata.google.internal/computeMetadata/v1/instance/attributes/process)
echo "JOB_PROCESS=$process" >>/etc/tidemark/job.env

cat >/etc/systemd/system/order-analytics.service <<'UNIT'
${unit}
UNIT
systemctl daemon-reload
systemctl enable order-analytics.service
systemctl restart order-analytics.service
