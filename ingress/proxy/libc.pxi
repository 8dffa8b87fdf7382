# The C library as the engine sees it. Constants come from the headers: none is written out here.

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport errno, EAGAIN, ECONNREFUSED, EINPROGRESS, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove, memset, strlen

ctypedef uint8_t u8

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP
        EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        uint16_t sa_family
    struct sockaddr_storage:
        uint16_t ss_family
    enum:
        AF_INET, AF_INET6, SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC
        SOL_SOCKET, SO_ERROR, SO_RCVLOWAT, MSG_MORE, MSG_NOSIGNAL, MSG_PEEK, SHUT_WR
    int socket(int domain, int type, int protocol)
    int connect(int fd, const sockaddr* address, socklen_t length)
    int accept4(int fd, sockaddr* address, socklen_t* length, int flags)
    Py_ssize_t recv(int fd, void* buffer, size_t length, int flags)
    Py_ssize_t send(int fd, const void* buffer, size_t length, int flags)
    int shutdown(int fd, int how)
    int getsockname(int fd, sockaddr* address, socklen_t* length)
    int setsockopt(int fd, int level, int name, const void* value, socklen_t length)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* length)

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct in6_addr:
        u8 s6_addr[16]
    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr
    enum:
        IPPROTO_TCP, INET6_ADDRSTRLEN
    uint16_t htons(uint16_t port)
    uint16_t ntohs(uint16_t port)

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_CORK, TCP_NODELAY

cdef extern from "<arpa/inet.h>" nogil:
    const char* inet_ntop(int family, const void* source, char* text, socklen_t size)
    int inet_pton(int family, const char* text, void* address)

cdef extern from "<unistd.h>" nogil:
    int close_fd "close"(int fd)
    int dup_fd "dup"(int fd)
    Py_ssize_t write_fd "write"(int fd, const void* buffer, size_t length)

cdef extern from "<fcntl.h>" nogil:
    enum:
        F_GETFL, F_SETFL, O_NONBLOCK
    int fcntl(int fd, int command, ...)

cdef extern from "<sys/random.h>" nogil:
    Py_ssize_t getrandom(void* buffer, size_t length, unsigned int flags)

cdef extern from "<time.h>" nogil:
    ctypedef long time_t
    struct timespec:
        long tv_sec
        long tv_nsec
    struct tm:
        int tm_sec
        int tm_min
        int tm_hour
        int tm_mday
        int tm_mon
        int tm_year
        int tm_wday
        long tm_gmtoff
    enum:
        CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_REALTIME_COARSE
    int clock_gettime(int clock, timespec* now)
    tm* gmtime_r(const time_t* seconds, tm* out)
    tm* localtime_r(const time_t* seconds, tm* out)
