# The access log of what is no request: a line for each TCP stream and each session of datagrams.

cdef struct Session:
    # What is logged of something that is no request.
    const char* protocol
    const u8* address
    int address_n
    int status
    uint64_t sent             # to the client
    uint64_t received
    int64_t ns


cdef void log_stream(Exchange* x) noexcept:
    cdef Session s
    s.protocol = b"TCP"
    s.address = x.peer.address
    s.address_n = x.peer.address_n
    s.status = x.status
    s.sent = x.octets_out
    s.received = x.octets_in
    s.ns = x.k.now_ns - x.started_ns
    log_session(x.k, &s)


cdef void log_session(Core* k, const Session* s) noexcept:
    """[remote_addr] [time_local] protocol status bytes_sent bytes_received session_time, as ingress-nginx."""
    cdef Writer w
    if not k.log.on:
        return
    w = log_room(k, LOG_ROOM)
    if w.p == NULL:
        return
    put_text(&w, b"[")
    put(&w, s.address, s.address_n)
    put_text(&w, b"] [")
    put_local_time(&w, &k.log)
    put_text(&w, b"] ")
    put_text(&w, s.protocol)
    put_text(&w, b" ")
    put_number(&w, s.status)
    put_text(&w, b" ")
    put_number(&w, s.sent)
    put_text(&w, b" ")
    put_number(&w, s.received)
    put_text(&w, b" ")
    put_seconds(&w, s.ns)
    put_text(&w, b"\n")
    log_take(k, &w)


cdef void log_datagrams(Core* k, bytes address, int status, object counted, double seconds) except *:
    cdef Session s
    s.protocol = b"UDP"
    s.address = address
    s.address_n = <int>len(address)
    s.status = status
    s.sent, s.received = counted
    s.ns = <int64_t>(seconds * 1e9)
    log_session(k, &s)
