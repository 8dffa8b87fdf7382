cdef struct LogLine:
    int x
cdef struct Log:
    int fd
cdef inline void log_attempt(Exchange* x, int status) noexcept: pass
cdef inline void log_exchange(Exchange* x) noexcept: pass
cdef inline void log_refused(Conn* c, int status, int n) noexcept: pass
cdef inline void log_request(Exchange* x, const u8* p, Head* h, Target* t) noexcept: pass
