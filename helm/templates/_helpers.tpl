{{/* Names and labels. Every template is given the root context, or a dict of `root` and the service's `name`. */}}

{{- define "tidemark.labels" -}}
app.kubernetes.io/part-of: tidemark
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{ include "tidemark.selector" . }}
{{- end }}

{{- define "tidemark.selector" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/name: {{ .name }}
{{- end }}

{{/* A pod's labels: what stays the same when the chart's version does not, so that a new version alone rolls nothing. */}}
{{- define "tidemark.podLabels" -}}
app.kubernetes.io/part-of: tidemark
{{ include "tidemark.selector" . }}
{{- end }}

{{/* Whether new pods of a service first get a share of its requests. */}}
{{- define "tidemark.hasCanary" -}}
{{- if and .root.Values.canary.enabled (has .name .root.Values.canary.services) }}yes{{ end -}}
{{- end }}

{{- define "tidemark.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ required "image.digest is not set: the release pipeline writes it (image.tag is for local images)" $image.tag }}
{{- end -}}
{{- end }}

{{/* Restricted Pod Security, and a read-only root beside it. */}}
{{- define "tidemark.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tidemark.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Whether a secret is for this workload: `.secret` names stores and services, the workload has `.name` and `.stores`. */}}
{{- define "tidemark.takesSecret" -}}
{{- $workload := . -}}
{{- if has .name (.secret.services | default list) }}yes{{ end -}}
{{- range .secret.stores | default list }}{{ if has . ($workload.stores | default list) }}yes{{ end }}{{ end -}}
{{- end }}

{{/* The names of a workload's secrets, separated by spaces. */}}
{{- define "tidemark.secretNames" -}}
{{- $workload := . -}}
{{- range $variable, $secret := .root.Values.externalSecrets.secrets -}}
{{- if include "tidemark.takesSecret" (dict "name" $workload.name "stores" $workload.stores "secret" $secret) }}{{ $variable }} {{ end -}}
{{- end -}}
{{- end }}

{{/* Reloader starts a workload's pods anew when its secret has changed: they read it only when they start. */}}
{{- define "tidemark.reloads" -}}
secret.reloader.stakater.com/reload: {{ . }}
{{- end }}

{{/* Whether Prometheus reads a stream job, here or elsewhere: without one, its alerts would never be silent. */}}
{{- define "tidemark.readsTheJob" -}}
{{- if or .Values.job.enabled .Values.job.targets }}yes{{ end -}}
{{- end }}

{{/* Ways out to stores, as egress rules; the credentials agent where a store is reached with a cloud role. */}}
{{- define "tidemark.storeEgress" -}}
{{- $root := .root -}}
{{- range .stores }}
{{- $store := index $root.Values.stores . }}
{{- if $store.cidrs }}
- to: {{- range $store.cidrs }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
  ports: [{port: {{ $store.port }}, protocol: TCP}]
{{- end }}
{{- end }}
{{- if or (has "dynamodb" .stores) (has "objects" .stores) (has "kafka" .stores) }}
- to: [{ipBlock: {cidr: {{ $root.Values.network.podIdentity.cidr }}}}]
  ports: [{port: {{ $root.Values.network.podIdentity.port }}, protocol: TCP}]
{{- end }}
{{- end }}

{{/* The way out for traces, where there is a collector. */}}
{{- define "tidemark.traceEgress" -}}
{{- with .Values.tracing }}
{{- if .endpoint }}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .namespace }}}}
      podSelector: {matchLabels: {{ toJson .podLabels }}}
  ports: [{port: {{ .port }}, protocol: TCP}]
{{- end }}
{{- end }}
{{- end }}

{{/* What a service is told: the settings of all, its own, its stores' and the addresses of those it calls. */}}
{{- define "tidemark.environment" -}}
{{- $root := .root -}}
{{- $service := .service -}}
{{- $settings := dict -}}
{{- range $service.calls | default list }}
{{- $called := index $root.Values.services . | required (printf "calls names %q, which is no service" .) }}
{{- $_ := set $settings (printf "TIDEMARK_%s_URL" (upper .)) (printf "http://%s:%v" . $called.port) }}
{{- end }}
{{- /* Who calls users asks it for the keys that verify access tokens. */}}
{{- if has "users" ($service.calls | default list) }}
{{- $_ := set $settings "TIDEMARK_JWKS_URL" (printf "http://users:%v/.well-known/jwks.json" $root.Values.services.users.port) }}
{{- end }}
{{- range $service.stores | default list }}
{{- range $variable, $value := (index $root.Values.stores .).environment }}
{{- $_ := set $settings $variable $value }}
{{- end }}
{{- end }}
{{- /* Whoever serves sends traces; the migrations do not. */}}
{{- if and $service.port $root.Values.tracing.endpoint }}
{{- $_ := set $settings "TIDEMARK_OTLP_ENDPOINT" $root.Values.tracing.endpoint }}
{{- end }}
{{- /* Whose word on the client's address counts: the Ingress' load balancer, a proxy, and nobody where there is none. */}}
{{- if and $service.public $root.Values.public.ingress.enabled $root.Values.network.publicFrom }}
{{- $_ := set $settings "TIDEMARK_GATEWAY_TRUSTED_PROXIES" (join "," $root.Values.network.publicFrom) }}
{{- end }}
{{- range $variable, $value := mergeOverwrite (dict) $root.Values.environment $settings ($service.environment | default dict) }}
{{ $variable }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}

{{/* The secret of a workload, kept in step with the cloud's secret manager. */}}
{{- define "tidemark.externalSecret" -}}
{{- $root := .root -}}
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata:
  name: {{ .name }}
  labels: {{- .labels | nindent 4 }}
  annotations:
    argocd.argoproj.io/sync-wave: "-2"
spec:
  refreshInterval: {{ .refresh | default $root.Values.externalSecrets.refreshInterval }}
  secretStoreRef: {kind: SecretStore, name: tidemark}
  target:
    name: {{ .name }}
    creationPolicy: Owner
    template:
      engineVersion: v2
      data:
        {{- $variables := dict }}
        {{- range splitList " " .secrets }}
        {{- $secret := index $root.Values.externalSecrets.secrets . }}
        {{- $variable := $secret.variable | default . }}
        {{- if hasKey $variables $variable }}{{ fail (printf "%s would have %s from two secrets" $.name $variable) }}{{ end }}
        {{- $_ := set $variables $variable true }}
        {{ $variable }}: {{ $secret.template | quote }}
        {{- end }}
  data:
    {{- range splitList " " .secrets }}
    {{- $secret := index $root.Values.externalSecrets.secrets . }}
    {{- range $name, $property := $secret.properties }}
    - secretKey: {{ $name }}
      remoteRef: {key: {{ $secret.key | quote }}, property: {{ $property }}}
    {{- end }}
    {{- end }}
{{- end }}

{{/* Prometheus reads every pod. The program says itself which service a series is of; its label wins. */}}
{{- define "tidemark.serviceMonitor" -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ .name }}
  labels: {{- merge (dict) (fromYaml .labels) .root.Values.monitoring.labels | toYaml | nindent 4 }}
spec:
  selector:
    matchLabels: {{- .selector | nindent 6 }}
  endpoints:
    - port: {{ .port | default "http" }}
      path: /metrics
      interval: {{ .root.Values.monitoring.interval }}
      honorLabels: true
{{- end }}

{{/* The port of health and metrics: ten above the one that serves, as the program has it. */}}
{{- define "tidemark.operatorPort" -}}
{{ add .port 10 }}
{{- end }}

{{/* The way in for Prometheus, which reads /metrics on the operator's port; the stream job has that one alone. */}}
{{- define "tidemark.monitoringIngress" -}}
{{- if .root.Values.monitoring.enabled }}
- from:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .root.Values.network.monitoringNamespace }}}}
      podSelector: {matchLabels: {app.kubernetes.io/name: prometheus}}
  ports: [{port: {{ .port }}, protocol: TCP}]
{{- end }}
{{- end }}

{{/* Ingress rules of a service: its callers, the public where it is public, Prometheus. */}}
{{- define "tidemark.waysIn" -}}
{{- $root := .root -}}
{{- $name := .name -}}
{{- $port := .service.port -}}
{{- range $caller, $other := $root.Values.services }}
{{- if and (dig "enabled" true $other) (has $name ($other.calls | default list)) }}
- from:
    - podSelector:
        matchLabels: {{- include "tidemark.selector" (dict "root" $root "name" $caller) | nindent 10 }}
  ports: [{port: {{ $port }}, protocol: TCP}]
{{- end }}
{{- end }}
{{- if and .service.public $root.Values.network.publicFrom }}
- from: {{- range $root.Values.network.publicFrom }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
  ports: [{port: {{ $port }}, protocol: TCP}]
{{- end }}
{{- include "tidemark.monitoringIngress" (dict "root" $root "port" (include "tidemark.operatorPort" .service)) }}
{{- end }}

{{/* Egress rules of a service: whom it calls, its stores, the collector of traces. */}}
{{- define "tidemark.waysOut" -}}
{{- $root := .root -}}
{{- range .service.calls | default list }}
- to:
    - podSelector:
        matchLabels: {{- include "tidemark.selector" (dict "root" $root "name" .) | nindent 10 }}
  ports: [{port: {{ (index $root.Values.services .).port }}, protocol: TCP}]
{{- end }}
{{- include "tidemark.storeEgress" (dict "root" $root "stores" (.service.stores | default list)) }}
{{- include "tidemark.traceEgress" $root }}
{{- end }}
