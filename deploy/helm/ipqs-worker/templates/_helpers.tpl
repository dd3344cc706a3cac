{{- define "ipqs-worker.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ipqs-worker.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ipqs-worker.labels" -}}
{{ include "ipqs-worker.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "ipqs-worker.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "ipqs-worker.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "ipqs-worker.secret" -}}
{{- default (include "ipqs-worker.fullname" .) .Values.secret.existing -}}
{{- end -}}

{{- define "ipqs-worker.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* A value as text: numbers of YAML are floats to Helm, lists are written with commas. */}}
{{- define "ipqs-worker.text" -}}
{{- if kindIs "float64" . -}}
{{- int64 . -}}
{{- else if kindIs "slice" . -}}
{{- join "," . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* An option of config as text; nothing where it is not set, which is what an empty one means to the worker. */}}
{{- define "ipqs-worker.option" -}}
{{- $value := index .root.Values.config .name -}}
{{- if not (kindIs "invalid" $value) -}}
{{- include "ipqs-worker.text" $value -}}
{{- end -}}
{{- end -}}

{{/* The port of /livez, /readyz and /metrics. */}}
{{- define "ipqs-worker.metricsPort" -}}
{{- $port := default "9095" (include "ipqs-worker.option" (dict "root" . "name" "CONNECTOR_METRICS_PORT")) -}}
{{- if eq $port "0" -}}
{{- fail "config.CONNECTOR_METRICS_PORT is 0, want a port: the probes ask there" -}}
{{- end -}}
{{- $host := include "ipqs-worker.option" (dict "root" . "name" "WORKER_METRICS_HOST") -}}
{{- if not (has $host (list "" "0.0.0.0" "::" "[::]")) -}}
{{- fail (printf "config.WORKER_METRICS_HOST is %s, want it not set: the probes ask at the pod's own address" $host) -}}
{{- end -}}
{{- $port -}}
{{- end -}}

{{/* The port that OpenCTI's workers post jobs to, or nothing where jobs come over RabbitMQ. */}}
{{- define "ipqs-worker.callbackPort" -}}
{{- if eq (upper (toString .Values.config.CONNECTOR_LISTEN_PROTOCOL)) "API" -}}
{{- include "ipqs-worker.text" (default 7070 .Values.config.CONNECTOR_LISTEN_PROTOCOL_API_PORT) -}}
{{- end -}}
{{- end -}}

{{/* Something where jobs come and results go over OpenCTI's API, so that there are no queues. */}}
{{- define "ipqs-worker.withoutRabbitMQ" -}}
{{- if and (eq (upper (toString .Values.config.CONNECTOR_LISTEN_PROTOCOL)) "API") (eq (lower (toString .Values.config.CONNECTOR_QUEUE_PROTOCOL)) "api") -}}
true
{{- end -}}
{{- end -}}

{{/* The Deployments there are: "all", or the five hops. */}}
{{- define "ipqs-worker.components" -}}
{{- if .Values.perHop.enabled -}}
{{- if include "ipqs-worker.withoutRabbitMQ" . -}}
{{- fail "perHop.enabled needs RabbitMQ between the hops, and config has both ways over OpenCTI's API" -}}
{{- end -}}
resolve lookup score bundle publish
{{- else -}}
all
{{- end -}}
{{- end -}}

{{- define "ipqs-worker.componentName" -}}
{{- $name := include "ipqs-worker.fullname" .root -}}
{{- if eq .component "all" -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" $name .component -}}
{{- end -}}
{{- end -}}

{{/* The topics that a hop reads: lookup also has a lane for jobs that somebody waits for, and resolve reads OpenCTI's queue
unless jobs are posted. */}}
{{- define "ipqs-worker.lanes" -}}
{{- .hop -}}
{{- if eq .hop "lookup" }} lookup.urgent{{ end -}}
{{- if and (eq .hop "resolve") (not (include "ipqs-worker.callbackPort" .root)) }} resolve.listen{{ end -}}
{{- end -}}

{{/* The queue of such a topic. */}}
{{- define "ipqs-worker.queue" -}}
{{- $id := .root.Values.config.CONNECTOR_ID -}}
{{- if eq .lane "resolve.listen" -}}
{{- $prefix := .root.Values.keda.queuePrefix -}}
{{- printf "%slisten_%s" (ternary (printf "%s_" $prefix) "" (ne $prefix "")) $id -}}
{{- else -}}
{{- printf "ipqs-worker.%s.%s" $id .lane -}}
{{- end -}}
{{- end -}}

{{/* The lookups that begin in a second: what the account allows, and what IPQS_RATE_LIMIT lets through. 0 is without bound. */}}
{{- define "ipqs-worker.lookupRate" -}}
{{- $rate := int .Values.keda.ipqs.requestsPerSecond -}}
{{- $limit := int (include "ipqs-worker.option" (dict "root" . "name" "IPQS_RATE_LIMIT")) -}}
{{- if and (gt $limit 0) (or (eq $rate 0) (lt $limit $rate)) -}}
{{- $rate = $limit -}}
{{- end -}}
{{- $rate -}}
{{- end -}}

{{/* The lookups that one worker has under way at once: WORKER_CONCURRENCY goes before WORKER_LOOKUP_CONCURRENCY, as in the worker. */}}
{{- define "ipqs-worker.lookupConcurrency" -}}
{{- $each := default "16" (include "ipqs-worker.option" (dict "root" . "name" "WORKER_LOOKUP_CONCURRENCY")) -}}
{{- range $entry := splitList "," (include "ipqs-worker.option" (dict "root" . "name" "WORKER_CONCURRENCY")) -}}
{{- $parts := splitList "=" (nospace $entry | lower) -}}
{{- if eq (first $parts) "lookup" -}}
{{- $each = last $parts -}}
{{- end -}}
{{- end -}}
{{- if lt (int $each) 1 -}}
{{- fail (printf "config has %s lookups at once, want a whole number from 1 on" $each) -}}
{{- end -}}
{{- $each -}}
{{- end -}}

{{/* How many replicas keep busy what IPQS allows: rate times latency, over the lookups that one worker has under way. */}}
{{- define "ipqs-worker.lookupCap" -}}
{{- $most := int .max -}}
{{- $rate := int (include "ipqs-worker.lookupRate" .root) -}}
{{- if gt $rate 0 -}}
{{- $each := int (include "ipqs-worker.lookupConcurrency" .root) -}}
{{- $atOnce := mul $rate (int .root.Values.keda.ipqs.latencyMilliseconds) -}}
{{- $replicas := div (add $atOnce (sub (mul $each 1000) 1)) (mul $each 1000) -}}
{{- $most = min $most (max 1 $replicas) -}}
{{- end -}}
{{- $most -}}
{{- end -}}

{{/* The workers that ask IPQS, at most. */}}
{{- define "ipqs-worker.lookupReplicas" -}}
{{- $values := .Values -}}
{{- if $values.keda.enabled -}}
{{- include "ipqs-worker.lookupCap" (dict "root" . "max" (ternary $values.keda.hops.lookup.max $values.keda.all.max $values.perHop.enabled)) -}}
{{- else -}}
{{- ternary $values.perHop.hops.lookup.replicas $values.replicas $values.perHop.enabled -}}
{{- end -}}
{{- end -}}

{{/* IPQS_RATE_SHARE where it is not set and something is to be shared: the number of those that may ask. With a CACHE_URL it
counts only while that is away. */}}
{{- define "ipqs-worker.rateShare" -}}
{{- $limited := false -}}
{{- range $name := list "IPQS_RATE_LIMIT" "IPQS_DAILY_BUDGET" -}}
{{- if gt (int (include "ipqs-worker.option" (dict "root" $ "name" $name))) 0 -}}
{{- $limited = true -}}
{{- end -}}
{{- end -}}
{{- $share := int (include "ipqs-worker.lookupReplicas" .) -}}
{{- if and $limited (gt $share 1) (not (include "ipqs-worker.option" (dict "root" . "name" "IPQS_RATE_SHARE"))) -}}
{{- $share -}}
{{- end -}}
{{- end -}}
