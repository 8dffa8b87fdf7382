"""The same routes and duties in each proxy's own configuration: one worker, the Host kept, X-Forwarded-* set, an access
log in the same form, time-outs as each has them by default. Pure: text in, text out.
"""

from dataclasses import dataclass

from bench.peers.work import Work

LOG_FORMAT = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" '
    "$request_length $request_time $upstream_addr $upstream_response_length $upstream_response_time $upstream_status"
)
"""What ingress-nginx calls upstreaminfo, as far as plain nginx has its fields."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy listens, where its endpoint is, and a folder for its files."""

    folder: str
    port: int
    endpoint_port: int
    certificate: str
    key: str


def nginx(work: Work, place: Place) -> str:
    listen = f"listen 127.0.0.1:{place.port}{' ssl' if work.tls else ''} backlog=8192;"
    tls = f"ssl_certificate {place.certificate}; ssl_certificate_key {place.key};" if work.tls else ""
    session = "ssl_session_cache off; ssl_session_tickets off; ssl_protocols TLSv1.3;" if work.tls else ""
    buffers = (
        "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;" if work.buffers == "large" else ""
    )
    servers = "\n".join(
        f"server {{ {listen if number == 0 else listen.replace(' backlog=8192', '')} server_name {host}; {tls}\n"
        + "".join(f"  location {prefix} {{ proxy_pass http://endpoint; }}\n" for prefix in work.prefixes)
        + "}"
        for number, host in enumerate(work.host_names())
    )
    f = place.folder
    return f"""
worker_processes 1; daemon off; pid {f}/pid; error_log {f}/error.log;
worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
log_format upstreaminfo '{LOG_FORMAT}';
access_log {f}/access.log upstreaminfo buffer=64k flush=1s;
keepalive_requests 1000000000; server_names_hash_max_size 131072; server_names_hash_bucket_size 128;
client_body_temp_path {f}/body; proxy_temp_path {f}/proxy; fastcgi_temp_path {f}/fastcgi;
uwsgi_temp_path {f}/uwsgi; scgi_temp_path {f}/scgi;
{session} {buffers} proxy_max_temp_file_size 0;
upstream endpoint {{ server 127.0.0.1:{place.endpoint_port}; keepalive 320; keepalive_requests 1000000000; }}
proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
proxy_set_header X-Request-ID $request_id; proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $http_host;
proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Forwarded-Scheme $scheme; proxy_set_header X-Scheme $scheme;
{servers}
}}
"""


def endpoint(folder: str, port: int) -> str:
    """The server behind all proxies: nginx answering from memory, a file of 1 MiB by sendfile."""
    return f"""
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 16384; }}
http {{
access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; sendfile on;
client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
open_file_cache max=10;
server {{ listen 127.0.0.1:{port} backlog=8192;
  location = /big {{ root {folder}; }}
  location / {{ return 200 "hello world\\n"; }}
}}
}}
"""


def haproxy(work: Work, place: Place) -> str:
    bind = f"bind 127.0.0.1:{place.port} backlog 8192"
    if work.tls:
        bind += f" ssl crt {place.folder}/pair.pem ssl-min-ver TLSv1.3 no-tls-tickets"
    session = "tune.ssl.cachesize 0" if work.tls else ""
    return f"""
global
  nbthread 1
  maxconn 4096
  log {place.folder}/log.sock len 2048 format raw local0
  {session}
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 75s
  http-reuse always
frontend in
  {bind}
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Scheme %[ssl_fc,iif(https,http)]
  http-request set-header X-Scheme %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  use_backend %[base,map_beg({place.folder}/hosts.map,none)]
backend endpoint
  server one 127.0.0.1:{place.endpoint_port} pool-max-conn 320
backend none
  http-request deny deny_status 404
"""


def haproxy_map(work: Work) -> str:
    return "".join(f"{host}{prefix} endpoint\n" for host in work.host_names() for prefix in work.prefixes)


def manifests(work: Work, place: Place, certificate_pem: str, key_pem: str) -> str:
    """Ours: an Ingress, its Service and one EndpointSlice."""
    rules = "".join(
        f"  - host: {host}\n    http:\n      paths:\n"
        + "".join(
            f"      - {{path: {prefix}, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}\n"
            for prefix in work.prefixes
        )
        for host in work.host_names()
    )
    tls = "  tls: [{secretName: tls, hosts: [" + ", ".join(work.host_names()) + "]}]\n" if work.tls else ""

    def block(text: str) -> str:
        return "".join(f"    {line}\n" for line in text.strip().splitlines())

    return f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: bench}}
spec: {{clusterIP: 10.96.0.1, ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: bench, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: "", port: {place.endpoint_port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: tls, namespace: bench}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{block(certificate_pem)}  tls.key: |
{block(key_pem)}---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web, namespace: bench}}
spec:
{tls}  rules:
{rules}"""
