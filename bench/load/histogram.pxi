# Latencies in microseconds, counted in the bucket layout of HdrHistogram(1, 1 hour, 3 digits): one increment per answer.
# result.py hands the counts to the hdrhistogram package, which owns percentiles and encoding.

cdef enum:
    SUB_BUCKETS = 2048              # 3 significant digits need 2 x 10^3, rounded up to a power of two
    HALF = 1024
    SUB_BUCKET_BITS = 11
    HISTOGRAM_LENGTH = 23 * 1024    # 22 doublings: 2048 << 21 us is the first beyond an hour

cdef uint64_t HIGHEST_US = <uint64_t>3600 * 1000000
HISTOGRAM_HIGHEST_US = HIGHEST_US

cdef extern from *:
    int __builtin_clzll(unsigned long long) nogil


cdef inline int histogram_index(uint64_t us) noexcept nogil:
    cdef int bucket
    if us > HIGHEST_US:
        us = HIGHEST_US
    bucket = 64 - __builtin_clzll(us | (SUB_BUCKETS - 1)) - SUB_BUCKET_BITS
    return (bucket << 10) + <int>(us >> bucket)


def value_at(int index):
    """The highest latency in microseconds that is counted at `index`."""
    cdef int bucket = (index >> 10) - 1
    cdef int sub = (index & (HALF - 1)) + HALF
    if bucket < 0:
        bucket, sub = 0, sub - HALF
    return ((sub + 1) << bucket) - 1
