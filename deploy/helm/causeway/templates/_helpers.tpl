{{- define "causeway.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "causeway.controller" -}}
{{ include "causeway.fullname" . }}-{{ .Values.controller.name }}
{{- end -}}

{{- define "causeway.admission" -}}
{{ include "causeway.controller" . }}-{{ .Values.controller.admissionWebhooks.name }}
{{- end -}}

{{- define "causeway.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "causeway.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "causeway.election" -}}
{{ .Values.controller.electionID | default (printf "%s-leader" (include "causeway.fullname" .)) }}
{{- end -}}

{{- define "causeway.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "causeway.labels" -}}
{{ include "causeway.ownLabels" . }}
app.kubernetes.io/component: controller
{{- end -}}

{{/* Without the component. */}}
{{- define "causeway.ownLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "causeway.image" -}}
{{- $image := .Values.controller.image -}}
{{- $name := $image.repository | default (ternary (printf "%s/%s" $image.registry $image.image) $image.image (ne $image.registry "")) -}}
{{ $name }}:{{ $image.tag | default .Chart.AppVersion }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- define "causeway.publishesService" -}}
{{- $c := .Values.controller -}}
{{- if and $c.publishService.enabled (or (and $c.service.enabled $c.service.external.enabled) $c.publishService.pathOverride) -}}
yes
{{- end -}}
{{- end -}}

{{/* Nothing else says where clients come to, so statuses name the nodes of the pods. */}}
{{- define "causeway.publishesNodes" -}}
{{- $given := .Values.controller.extraArgs -}}
{{- $off := eq (toString (get $given "update-status")) "false" -}}
{{- if not (or (include "causeway.publishesService" .) (hasKey $given "publish-status-address") (hasKey $given "publish-service") $off) -}}
yes
{{- end -}}
{{- end -}}

{{/* The command line. Every flag here is checked against the command by tests/deploy. */}}
{{- define "causeway.args" -}}
{{- $c := .Values.controller -}}
- ingress
- --http=:{{ $c.containerPort.http }}
- --https=:{{ $c.containerPort.https }}
- --admin={{ $c.healthCheckHost }}:{{ $c.metrics.port }}
- --controller-class={{ $c.ingressClassResource.controllerValue }}
- --ingress-class={{ $c.ingressClass }}
{{- if $c.ownIngressClass.enabled }}
- --controller-class=causeway.dev/ingress-controller
- --ingress-class={{ $c.ownIngressClass.name }}
{{- end }}
{{- if $c.watchIngressWithoutClass }}
- --watch-ingress-without-class
{{- end }}
{{- if $c.ingressClassByName }}
- --ingress-class-by-name
{{- end }}
{{- if $c.enableTopologyAwareRouting }}
- --enable-topology-aware-routing
{{- end }}
{{- if $c.scope.enabled }}
- --watch-namespace={{ $c.scope.namespace | default "$(POD_NAMESPACE)" }}
{{- else if $c.scope.namespaceSelector }}
- --watch-namespace-selector={{ $c.scope.namespaceSelector }}
{{- end }}
- --lease-namespace=$(POD_NAMESPACE)
- --election-id={{ include "causeway.election" . }}
{{- if include "causeway.publishesService" . }}
- --publish-service={{ $c.publishService.pathOverride | default (printf "$(POD_NAMESPACE)/%s" (include "causeway.controller" .)) }}
{{- end }}
- --configmap={{ $c.configMapNamespace | default "$(POD_NAMESPACE)" }}/{{ include "causeway.controller" . }}
{{- if .Values.tcp }}
- --tcp-services-configmap=$(POD_NAMESPACE)/{{ include "causeway.controller" . }}-tcp
{{- end }}
{{- if .Values.udp }}
- --udp-services-configmap=$(POD_NAMESPACE)/{{ include "causeway.controller" . }}-udp
{{- end }}
{{- if $c.reportNodeInternalIp }}
- --report-node-internal-ip-address
{{- end }}
{{- if not (hasKey $c.extraArgs "access-log") }}
- --access-log=-
{{- end }}
{{- if .Values.defaultBackend.enabled }}
- --default-backend-service=$(POD_NAMESPACE)/{{ include "causeway.fullname" . }}-{{ .Values.defaultBackend.name }}
{{- end }}
{{- if $c.admissionWebhooks.enabled }}
- --validating-webhook=:{{ $c.admissionWebhooks.port }}
- --validating-webhook-certificate=/etc/causeway/admission/tls.crt
- --validating-webhook-key=/etc/causeway/admission/tls.key
{{- end }}
- --drain-delay={{ $c.drainDelaySeconds }}
- --drain={{ max 1 (sub (int $c.terminationGracePeriodSeconds) 20) }}
{{- if $c.workers }}
- --workers={{ $c.workers }}
{{- end }}
{{- range $name, $value := $c.extraArgs }}
{{- if kindIs "slice" $value }}
{{- range $value }}
- {{ printf "--%s=%v" $name . | quote }}
{{- end }}
{{- else if eq (toString $value) "" }}
- --{{ $name }}
{{- else }}
- {{ printf "--%s=%v" $name $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Name of a port of `tcp` or `udp`: (list .Values PORT PROTOCOL) */}}
{{- define "causeway.portName" -}}
{{- with (index . 0).portNamePrefix }}{{ . }}-{{ end }}{{ index . 1 }}-{{ index . 2 -}}
{{- end -}}

{{- define "causeway.env" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- if .Values.controller.enableTopologyAwareRouting }}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- end }}
{{- with .Values.controller.extraEnvs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "causeway.securityContext" -}}
{{- $image := .Values.controller.image -}}
{{- if .Values.controller.containerSecurityContext -}}
{{ toYaml .Values.controller.containerSecurityContext }}
{{- else -}}
runAsUser: {{ $image.runAsUser }}
runAsGroup: {{ $image.runAsGroup }}
runAsNonRoot: {{ $image.runAsNonRoot }}
readOnlyRootFilesystem: {{ $image.readOnlyRootFilesystem }}
allowPrivilegeEscalation: {{ $image.allowPrivilegeEscalation }}
seccompProfile: {{ toJson $image.seccompProfile }}
# NET_BIND_SERVICE is the interpreter's file capability: without it in the set the program could not even start.
capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
{{- end -}}
{{- end -}}
