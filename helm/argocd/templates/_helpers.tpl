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
