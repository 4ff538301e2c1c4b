{{/* How every application is kept: in step with Git, what Git no longer has removed, what people changed put back. */}}
{{- define "argocd.syncPolicy" -}}
automated: {prune: true, selfHeal: true}
retry:
  limit: 10
  backoff: {duration: 10s, factor: 2, maxDuration: 3m}
syncOptions:
  - CreateNamespace=true
  - ServerSideApply=true
  - PruneLast=true
  - RespectIgnoreDifferences=true
{{- end }}

{{/* How an application is compared: by a dry run of the API server. Argo CD's own schemas are older than the clusters', and a field
that they do not know (Deployments' status.terminatingReplicas, from Kubernetes 1.35 on) ends the comparison. */}}
{{- define "argocd.compareOptions" -}}
argocd.argoproj.io/compare-options: ServerSideDiff=true
{{- end }}

{{/* Alertmanager's configuration: who is told. Silence is no receiver: where nobody is named, nothing is rendered. */}}
{{- define "argocd.alerts" -}}
{{- $alerts := .Values.operators.alerts -}}
{{- $people := $alerts.receiver -}}
{{- if $alerts.topicArn -}}
{{- $message := `{{ range .Alerts }}{{ .Status }}: {{ .Annotations.summary }}{{ "\n" }}{{ .Annotations.description }}{{ "\n\n" }}{{ end }}` -}}
{{- /* SNS refuses a subject of 100 characters or more, or with others than ASCII, and the alert with it. */ -}}
{{- $subject := `{{ reReplaceAll "[^ -~]" "?" (printf "%s %s %s %s" (toUpper .Status) .CommonLabels.severity .GroupLabels.alertname .GroupLabels.service) | printf "%.99s" }}` -}}
{{- $people = dict "sns_configs" (list (dict
  "topic_arn" $alerts.topicArn "sigv4" (dict "region" (required "operators.alerts.region is not set" $alerts.region))
  "send_resolved" true "subject" $subject "message" $message)) -}}
{{- end -}}
{{- if and .Values.operators.monitoring.enabled (not $people) -}}
{{ fail "operators.alerts names nobody: set topicArn and region, or a receiver of Alertmanager's" }}
{{- end -}}
{{- mergeOverwrite (.Files.Get "operators/alerts.yaml" | fromYaml) (dict "receivers" (list (mergeOverwrite (dict "name" "people") $people) (dict "name" "nobody"))) | toYaml }}
{{- end }}
