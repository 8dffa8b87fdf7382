# The access log's format: text with nginx's $variables, compiled once to a list of items.
# What comes from the head is copied when the request begins; the rest is known at its end.

cdef enum LogVariable:
    V_TEXT
    # from the head
    V_REQUEST, V_METHOD, V_REQUEST_URI, V_URI, V_ARGS, V_PROTOCOL, V_HOST, V_REMOTE_USER, V_FIELD, V_FORWARDED_FOR
    V_LABEL, V_REQUEST_ID
    # at the end
    V_REMOTE_ADDR, V_SCHEME, V_SERVER_PORT, V_TIME_LOCAL, V_TIME_ISO, V_MSEC, V_STATUS, V_BODY_SENT, V_BYTES_SENT
    V_REQUEST_LENGTH, V_REQUEST_TIME, V_UPSTREAM_NAME, V_ALTERNATIVE, V_UPSTREAM_ADDR, V_UPSTREAM_LENGTH, V_UPSTREAM_TIME
    V_UPSTREAM_STATUS, V_CONNECTION_REQUESTS, V_PROXY_ADDR

cdef enum:
    LOG_ITEMS_MAX = 96
    LOG_FORMAT_MAX = 8192
    ESCAPE_DEFAULT = 0
    ESCAPE_JSON = 1
    ESCAPE_NONE = 2

cdef struct LogItem:
    int variable
    int at            # of the text, or of the field's name, in the format's text; of a label: which
    int n

cdef struct LogFormat:
    int item_n
    int escape
    LogItem items[LOG_ITEMS_MAX]
    u8 text[LOG_FORMAT_MAX]

UPSTREAMINFO = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" '
    '$request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr '
    '$upstream_response_length $upstream_response_time $upstream_status $req_id'
)
LABELS = ("namespace", "ingress_name", "service_name", "service_port", "location_path")
cdef dict VARIABLES = {
    "request": V_REQUEST, "request_method": V_METHOD, "request_uri": V_REQUEST_URI, "uri": V_URI,
    "document_uri": V_URI, "args": V_ARGS, "query_string": V_ARGS, "server_protocol": V_PROTOCOL, "host": V_HOST,
    "server_name": V_HOST, "remote_user": V_REMOTE_USER, "request_id": V_REQUEST_ID, "req_id": V_REQUEST_ID,
    "remote_addr": V_REMOTE_ADDR, "realip_remote_addr": V_REMOTE_ADDR, "the_real_ip": V_REMOTE_ADDR,
    "scheme": V_SCHEME, "pass_access_scheme": V_SCHEME, "server_port": V_SERVER_PORT, "pass_server_port": V_SERVER_PORT,
    "time_local": V_TIME_LOCAL, "time_iso8601": V_TIME_ISO, "msec": V_MSEC, "status": V_STATUS,
    "body_bytes_sent": V_BODY_SENT, "bytes_sent": V_BYTES_SENT, "request_length": V_REQUEST_LENGTH,
    "request_time": V_REQUEST_TIME, "proxy_upstream_name": V_UPSTREAM_NAME, "proxy_alternative_upstream_name": V_ALTERNATIVE,
    "upstream_addr": V_UPSTREAM_ADDR, "upstream_response_length": V_UPSTREAM_LENGTH,
    "upstream_response_time": V_UPSTREAM_TIME, "upstream_status": V_UPSTREAM_STATUS,
    "connection_requests": V_CONNECTION_REQUESTS, "proxy_protocol_addr": V_PROXY_ADDR,
}
VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


cdef void compile_log_format(LogFormat* f, str text, str escape) except *:
    """Raises ValueError for an unknown variable or escape, and for a format that is too long."""
    cdef int at = 0
    cdef list pieces = []
    if escape not in ("default", "json", "none"):
        raise ValueError(f"access log escape {escape!r}: must be default, json or none")
    f.escape = ("default", "json", "none").index(escape)
    f.item_n = 0
    for found in VARIABLE.finditer(text):
        pieces.append((V_TEXT, text[at:found.start()]))
        pieces.append(log_variable(found[1] or found[2]))
        at = found.end()
    pieces.append((V_TEXT, text[at:] + "\n"))
    at = 0
    for variable, content in pieces:
        octets = content if isinstance(content, bytes) else content.encode()
        if f.item_n == LOG_ITEMS_MAX or at + len(octets) > LOG_FORMAT_MAX:
            raise ValueError(f"access log format: more than {LOG_ITEMS_MAX // 2} variables or {LOG_FORMAT_MAX} octets")
        f.items[f.item_n].variable = variable
        f.items[f.item_n].at = LABELS.index(content) if variable == V_LABEL else at
        f.items[f.item_n].n = len(octets)
        f.item_n += 1
        memcpy(f.text + at, <const char*>octets, len(octets))
        at += len(octets)


cdef tuple log_variable(str name):
    if name in LABELS:
        return V_LABEL, name
    if name == "proxy_add_x_forwarded_for":
        return V_FORWARDED_FOR, b"x-forwarded-for"
    if name in ("content_length", "content_type"):
        return V_FIELD, name.replace("_", "-").encode()
    if name.startswith("http_"):
        return V_FIELD, name[len("http_"):].replace("_", "-").lower().encode()
    if name in VARIABLES:
        return VARIABLES[name], b""
    raise ValueError(f"access log format: unknown variable ${name}; known are $http_NAME, "
                     + ", ".join("$" + known for known in sorted([*VARIABLES, *LABELS, "proxy_add_x_forwarded_for"])))


cdef void put_escaped(Writer* w, const u8* p, int n, int how) noexcept nogil:
    """A value of strangers: no octet of it ends a line or a quoted string."""
    cdef int i, begun = 0
    if n <= 0:
        if how == ESCAPE_DEFAULT:
            put_text(w, b"-")
        return
    if how == ESCAPE_NONE:
        put(w, p, n)
        return
    for i in range(n):
        if LOG_PLAIN[p[i]] or (how == ESCAPE_JSON and p[i] >= 128):
            continue
        put(w, p + begun, i - begun)
        put_escape(w, p[i], how)
        begun = i + 1
    put(w, p + begun, n - begun)


cdef void put_escape(Writer* w, u8 octet, int how) noexcept nogil:
    if how == ESCAPE_DEFAULT:
        put_text(w, b"\\x")
    elif octet == c'"' or octet == c'\\':
        put_text(w, b"\\")
        put(w, &octet, 1)
        return
    else:
        put_text(w, b"\\u00")
    put_hex(w, octet >> 4)
    put_hex(w, octet & 15)


cdef inline void put_hex(Writer* w, u8 digit) noexcept nogil:
    """In capitals, as nginx: what reads logs may look for "\\x5C"."""
    digit += c"0" if digit < 10 else c"A" - 10
    put(w, &digit, 1)
