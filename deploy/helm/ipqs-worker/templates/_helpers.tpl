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

{{/* The port of /livez, /readyz and /metrics. */}}
{{- define "ipqs-worker.metricsPort" -}}
{{- $port := "9095" -}}
{{- if not (kindIs "invalid" .Values.config.CONNECTOR_METRICS_PORT) -}}
{{- $port = include "ipqs-worker.text" .Values.config.CONNECTOR_METRICS_PORT -}}
{{- end -}}
{{- if eq $port "0" -}}
{{- fail "config.CONNECTOR_METRICS_PORT is 0, want a port: the probes ask there" -}}
{{- end -}}
{{- $port -}}
{{- end -}}

{{/* The port that OpenCTI's workers post jobs to, or nothing where jobs come over RabbitMQ. */}}
{{- define "ipqs-worker.callbackPort" -}}
{{- if eq (upper (toString .Values.config.CONNECTOR_LISTEN_PROTOCOL)) "API" -}}
{{- include "ipqs-worker.text" (default 7070 .Values.config.CONNECTOR_LISTEN_PROTOCOL_API_PORT) -}}
{{- end -}}
{{- end -}}

{{/* The Deployments there are: "all", or the five hops. */}}
{{- define "ipqs-worker.components" -}}
{{- if .Values.perHop.enabled -}}
{{- if eq (upper (toString .Values.config.CONNECTOR_LISTEN_PROTOCOL)) "API" -}}
{{- if eq (lower (toString .Values.config.CONNECTOR_QUEUE_PROTOCOL)) "api" -}}
{{- fail "perHop.enabled needs RabbitMQ between the hops, and config has both ways over OpenCTI's API" -}}
{{- end -}}
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

{{/* The queue that a hop reads. */}}
{{- define "ipqs-worker.queue" -}}
{{- $id := .root.Values.config.CONNECTOR_ID -}}
{{- if eq .hop "resolve" -}}
{{- $prefix := .root.Values.keda.queuePrefix -}}
{{- if include "ipqs-worker.callbackPort" .root -}}
{{- printf "ipqs-worker.%s.resolve" $id -}}
{{- else -}}
{{- printf "%slisten_%s" (ternary (printf "%s_" $prefix) "" (ne $prefix "")) $id -}}
{{- end -}}
{{- else -}}
{{- printf "ipqs-worker.%s.%s" $id .hop -}}
{{- end -}}
{{- end -}}

{{/* How many replicas keep busy what IPQS allows: rate times latency, over the lookups that one worker has under way. */}}
{{- define "ipqs-worker.lookupCap" -}}
{{- $ipqs := .root.Values.keda.ipqs -}}
{{- $most := int .max -}}
{{- if gt (int $ipqs.requestsPerSecond) 0 -}}
{{- $each := int (include "ipqs-worker.text" (default 16 .root.Values.config.WORKER_LOOKUP_CONCURRENCY)) -}}
{{- $atOnce := mul (int $ipqs.requestsPerSecond) (int $ipqs.latencyMilliseconds) -}}
{{- $replicas := div (add $atOnce (sub (mul $each 1000) 1)) (mul $each 1000) -}}
{{- $most = min $most (max 1 $replicas) -}}
{{- end -}}
{{- $most -}}
{{- end -}}
