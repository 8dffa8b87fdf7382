"""haproxy.cfg, and its map of hosts and paths to backends."""

from bench.peers.configs import Place
from bench.peers.work import Work


def config(work: Work, place: Place) -> str:
    bind = f"bind 127.0.0.1:{place.port} backlog 8192"
    if work.tls:
        bind += f" ssl crt {place.folder}/pair.pem ssl-min-ver TLSv1.3"
    return f"""
global
  nbthread 1
  maxconn 4096
  log {place.folder}/log.sock len 2048 format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 75s
  timeout tunnel 1h
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


def hosts_map(work: Work) -> str:
    return "".join(f"{host}{prefix} endpoint\n" for host in work.host_names() for prefix in work.prefixes)
