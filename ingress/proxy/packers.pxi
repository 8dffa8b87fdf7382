# The compressors: gzip, brotli and zstd behind one face, a piece of a response at a time.

cdef enum Coding:
    IDENTITY, GZIP, BROTLI, ZSTD

cdef enum PackStep:
    PACK_MORE, PACK_FLUSH, PACK_END

cdef enum:
    PIECE_SIZE = 32768
    GZIP_WINDOW = 31          # 15 bits, and 16 for gzip's own head and tail
    BROTLI_WINDOW = 19        # bits

cdef u8 PIECE[PIECE_SIZE]

cdef extern from "<zlib.h>" nogil:
    ctypedef struct z_stream:
        u8* next_in
        unsigned int avail_in
        u8* next_out
        unsigned int avail_out
    enum:
        Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH, Z_STREAM_END, Z_OK, Z_DEFLATED, Z_DEFAULT_STRATEGY, Z_BUF_ERROR
    int deflateInit2(z_stream* z, int level, int method, int window, int memory, int strategy)
    int deflate(z_stream* z, int flush)
    int deflateEnd(z_stream* z)

cdef extern from "<brotli/encode.h>" nogil:
    ctypedef struct BrotliEncoderState:
        pass
    enum:
        BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN, BROTLI_PARAM_SIZE_HINT
        BROTLI_OPERATION_PROCESS, BROTLI_OPERATION_FLUSH, BROTLI_OPERATION_FINISH
    BrotliEncoderState* BrotliEncoderCreateInstance(void* allocate, void* release, void* opaque)
    void BrotliEncoderDestroyInstance(BrotliEncoderState* state)
    int BrotliEncoderSetParameter(BrotliEncoderState* state, int parameter, uint32_t value)
    int BrotliEncoderCompressStream(BrotliEncoderState* state, int operation, size_t* in_n, const u8** in_,
                                    size_t* out_n, u8** out, size_t* total)
    int BrotliEncoderIsFinished(BrotliEncoderState* state)
    int BrotliEncoderHasMoreOutput(BrotliEncoderState* state)

cdef extern from "<zstd.h>" nogil:
    ctypedef struct ZSTD_CCtx:
        pass
    ctypedef struct ZSTD_inBuffer:
        const void* src
        size_t size
        size_t pos
    ctypedef struct ZSTD_outBuffer:
        void* dst
        size_t size
        size_t pos
    enum:
        ZSTD_c_compressionLevel, ZSTD_c_windowLog, ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end
    ZSTD_CCtx* ZSTD_createCCtx()
    size_t ZSTD_freeCCtx(ZSTD_CCtx* state)
    size_t ZSTD_CCtx_setParameter(ZSTD_CCtx* state, int parameter, int value)
    size_t ZSTD_compressStream2(ZSTD_CCtx* state, ZSTD_outBuffer* out, ZSTD_inBuffer* in_, int operation)
    unsigned int ZSTD_isError(size_t result)

cdef struct Packer:
    int coding
    bint content          # it goes on without the chunked coding
    bint flush            # a response that comes bit by bit goes on bit by bit
    Span etag             # of the head being rewritten
    z_stream gzip
    BrotliEncoderState* brotli
    ZSTD_CCtx* zstd


cdef bint packer_new(Exchange* x, const Head* h) noexcept:
    """A compressor for the coding the client takes; False when there is none to be had."""
    cdef Packing* o = &x.k.o.packing
    cdef Packer* q = <Packer*>calloc(1, sizeof(Packer))
    cdef bint made = False
    packer_free(x)
    if q == NULL:
        return False
    q.coding = x.accepts
    q.content = x.content
    q.flush = h.content_length < 0 and not x.options & BUFFER_RESPONSE
    if q.coding == GZIP:
        made = deflateInit2(&q.gzip, o.gzip_level, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK
    elif q.coding == BROTLI:
        q.brotli = BrotliEncoderCreateInstance(NULL, NULL, NULL)
        made = (q.brotli != NULL and BrotliEncoderSetParameter(q.brotli, BROTLI_PARAM_QUALITY, o.brotli_level)
                and BrotliEncoderSetParameter(q.brotli, BROTLI_PARAM_LGWIN, BROTLI_WINDOW))
        if made and 0 < h.content_length < <int64_t>1 << 30:
            BrotliEncoderSetParameter(q.brotli, BROTLI_PARAM_SIZE_HINT, <uint32_t>h.content_length)
    else:
        q.zstd = ZSTD_createCCtx()
        made = (q.zstd != NULL
                and not ZSTD_isError(ZSTD_CCtx_setParameter(q.zstd, ZSTD_c_compressionLevel, o.zstd_level))
                and not ZSTD_isError(ZSTD_CCtx_setParameter(q.zstd, ZSTD_c_windowLog, BROTLI_WINDOW)))
    if not made:
        x.k.counters.no_memory += 1
        if q.brotli != NULL:
            BrotliEncoderDestroyInstance(q.brotli)
        ZSTD_freeCCtx(q.zstd)
        free(q)
        return False
    x.packer = q
    return True


cdef void packer_free(Exchange* x) noexcept:
    cdef Packer* q = x.packer
    if q == NULL:
        return
    if q.coding == GZIP:
        deflateEnd(&q.gzip)
    elif q.coding == BROTLI:
        BrotliEncoderDestroyInstance(q.brotli)
    else:
        ZSTD_freeCCtx(q.zstd)
    free(q)
    x.packer = NULL


cdef bint put_piece(const Packer* q, Buffer* out, const u8* p, int n) noexcept:
    """One chunk of the chunked coding, unless the carrier takes content."""
    return buffer_add(out, p, n) if q.content else put_chunk(out, p, n)


cdef bint pack_gzip(Packer* q, u8* p, int n, int step, Buffer* out) noexcept:
    cdef z_stream* z = &q.gzip
    cdef int done, how = Z_FINISH if step == PACK_END else Z_SYNC_FLUSH if step == PACK_FLUSH else Z_NO_FLUSH
    z.next_in = p
    z.avail_in = n
    while True:
        z.next_out = PIECE
        z.avail_out = PIECE_SIZE
        done = deflate(z, how)
        if done != Z_OK and done != Z_STREAM_END and done != Z_BUF_ERROR:
            return False
        if not put_piece(q, out, PIECE, PIECE_SIZE - <int>z.avail_out):
            return False
        if done == Z_STREAM_END or (z.avail_out and step != PACK_END):
            return True


cdef bint pack_brotli(Packer* q, const u8* p, int n, int step, Buffer* out) noexcept:
    cdef size_t in_n = n, out_n
    cdef u8* to
    cdef int how = (BROTLI_OPERATION_FINISH if step == PACK_END else BROTLI_OPERATION_FLUSH if step == PACK_FLUSH
                    else BROTLI_OPERATION_PROCESS)
    while True:
        to = PIECE
        out_n = PIECE_SIZE
        if not BrotliEncoderCompressStream(q.brotli, how, &in_n, &p, &out_n, &to, NULL):
            return False
        if not put_piece(q, out, PIECE, PIECE_SIZE - <int>out_n):
            return False
        if in_n == 0 and not BrotliEncoderHasMoreOutput(q.brotli) and (
                step != PACK_END or BrotliEncoderIsFinished(q.brotli)):
            return True


cdef bint pack_zstd(Packer* q, const u8* p, int n, int step, Buffer* out) noexcept:
    cdef ZSTD_inBuffer source
    cdef ZSTD_outBuffer to
    cdef size_t left
    cdef int how = ZSTD_e_end if step == PACK_END else ZSTD_e_flush if step == PACK_FLUSH else ZSTD_e_continue
    source.src = p
    source.size = n
    source.pos = 0
    while True:
        to.dst = PIECE
        to.size = PIECE_SIZE
        to.pos = 0
        left = ZSTD_compressStream2(q.zstd, &to, &source, how)
        if ZSTD_isError(left) or not put_piece(q, out, PIECE, <int>to.pos):
            return False
        if source.pos == source.size and (left == 0 or step == PACK_MORE):
            return True
