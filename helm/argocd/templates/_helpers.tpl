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
