"""nginx.conf."""

from bench.peers.configs import Place
from bench.peers.work import Work

LOG_FORMAT = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" '
    "$request_length $request_time $upstream_addr $upstream_response_length $upstream_response_time $upstream_status"
)
"""What ingress-nginx calls upstreaminfo, as far as plain nginx has its fields."""


def config(work: Work, place: Place) -> str:
    listen = f"listen 127.0.0.1:{place.port}{' ssl' if work.tls else ''} backlog=8192;"
    tls = f"ssl_certificate {place.certificate}; ssl_certificate_key {place.key};" if work.tls else ""
    session = "ssl_protocols TLSv1.3;" if work.tls else ""
    buffers = (
        "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;" if work.buffers == "large" else ""
    )
    body = "client_max_body_size 0; proxy_request_buffering off;"
    upgraded = "map $http_upgrade $onward { default upgrade; '' ''; }" if work.websocket else ""
    upgrade = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $onward;" if work.websocket else ""
    unknown = listen.replace("backlog=8192", "default_server backlog=8192")
    servers = f"server {{ {unknown} {tls} location / {{ return 404; }} }}\n" + "\n".join(
        f"server {{ {listen.replace(' backlog=8192', '')} server_name {host}; {tls}\n"
        + "".join(f"  location {prefix} {{ proxy_pass http://endpoint; }}\n" for prefix in work.prefixes)
        + "}"
        for host in work.host_names()
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
{session} {buffers} {body} proxy_max_temp_file_size 0;
upstream endpoint {{ server 127.0.0.1:{place.endpoint_port}; keepalive 320; keepalive_requests 1000000000; }}
{upgraded}
proxy_http_version 1.1; {upgrade or 'proxy_set_header Connection "";'} proxy_set_header Host $http_host;
proxy_set_header X-Request-ID $request_id; proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $http_host;
proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Forwarded-Scheme $scheme; proxy_set_header X-Scheme $scheme;
{servers}
}}
"""
