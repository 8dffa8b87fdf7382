/* An HTTP/1.1 server that does as little as one can, with faults planted on request: the known truth that a load
 * generator is held against, and the endpoint that tells which head reached it.
 *
 *   endpoint PORT [bytes=N] [echo=1] [every=N late_ms=M] [stall_after_ms=A stall_ms=M] [burn_us=N] [any=1]
 *
 * bytes: of the body. echo: the body is the request's head. every/late_ms: each Nth request is answered M ms late, the
 * rest at once. stall_*: so long after the first request nothing is read or answered for M ms. burn_us: CPU time spent
 * on each request. any: listen on all addresses. PORT 0 takes a free one; the port is printed when it listens. Bodies of requests are read
 * by Content-Length or chunk, and the field X-Body-Octets tells how long it was, X-Endpoint the port. A path of /SIZE (a number) overrides
 * bytes, one that ends in /echo is answered with the head. A request to upgrade is granted; each frame of the WebSocket is
 * sent back unmasked. 64-bit Linux.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_ROOM = 65536, HEAD_MAX = 32768, EVENTS = 512 };

typedef struct Conn {
  int fd, head_length, chunked, chunk_stage, closing;
  long body_left;          /* of the request's body, or of its present chunk */
  char *out;               /* what a full socket did not take */
  long out_left, out_at;
  long filler_left;        /* of a long body, sent after `out` */
  long body_octets;        /* of the request under way */
  uint64_t due;            /* ns; 0: nothing is held back */
  struct Conn *next_late;
  int late_dead;           /* closed while an answer was held back */
  long late_bytes;
  int upgraded, frame_stage, frame_at;   /* stage 0: header, 1: payload */
  unsigned char frame[16], mask[4];
  char head[HEAD_MAX];
} Conn;

static long bytes = 12, echo, every, late_ms, stall_after_ms, stall_ms, burn_us, any;
static uint64_t served, first_at;
static int epoll, port, stalled;
static Conn *late_first, *late_last;
static char *filler, buffer[READ_ROOM];
static const long FILLER = 1 << 20;

static uint64_t now_ns(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static void burn(void) {
  struct timespec at;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
  int64_t until = at.tv_sec * 1000000000ll + at.tv_nsec + burn_us * 1000;
  do clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
  while (at.tv_sec * 1000000000ll + at.tv_nsec < until);
}

static void watch(Conn *conn, int operation, uint32_t mask) {
  struct epoll_event event = {.events = mask, .data.ptr = conn};
  epoll_ctl(epoll, operation, conn->fd, &event);
}

static void end(Conn *conn) {
  close(conn->fd);
  free(conn->out);
  conn->out = NULL;
  if (conn->due) conn->late_dead = 1;
  else free(conn);
}

/* 0: the connection is gone. */
static int put(Conn *conn, const char *data, long length) {
  long done = 0;
  while (!conn->out && done < length) {
    ssize_t now = send(conn->fd, data + done, (size_t)(length - done), MSG_NOSIGNAL);
    if (now < 0 && errno == EAGAIN) break;
    if (now < 0) return end(conn), 0;
    done += now;
  }
  if (done == length) return 1;
  long kept = conn->out ? conn->out_left : 0;
  char *all = malloc((size_t)(kept + length - done));
  if (kept) memcpy(all, conn->out + conn->out_at, (size_t)kept);
  memcpy(all + kept, data + done, (size_t)(length - done));
  free(conn->out);
  conn->out = all, conn->out_at = 0, conn->out_left = kept + length - done;
  watch(conn, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
  return 1;
}

/* The rest of a long body, as far as the socket takes it. 0: the connection is gone. */
static int pump(Conn *conn) {
  while (conn->filler_left) {
    long step = conn->filler_left < FILLER ? conn->filler_left : FILLER;
    ssize_t now = send(conn->fd, filler, (size_t)step, MSG_NOSIGNAL);
    if (now < 0 && errno == EAGAIN) return watch(conn, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT), 1;
    if (now < 0) return end(conn), 0;
    conn->filler_left -= now;
  }
  return conn->closing ? (end(conn), 0) : 1;
}

static int flush(Conn *conn) {
  while (conn->out_left) {
    ssize_t now = send(conn->fd, conn->out + conn->out_at, (size_t)conn->out_left, MSG_NOSIGNAL);
    if (now < 0 && errno == EAGAIN) return 1;
    if (now < 0) return end(conn), 0;
    conn->out_at += now, conn->out_left -= now;
  }
  free(conn->out);
  conn->out = NULL;
  if (!pump(conn)) return 0;
  if (!conn->filler_left) watch(conn, EPOLL_CTL_MOD, EPOLLIN);
  return 1;
}

static int answer(Conn *conn, const char *body, long length) {
  char small[HEAD_MAX + 512];
  int head = snprintf(small, 512, "HTTP/1.1 200 OK\r\nServer: endpoint\r\nX-Endpoint: %d\r\nContent-Type: text/plain\r\n"
                      "X-Body-Octets: %ld\r\nContent-Length: %ld\r\n%s\r\n", port, conn->body_octets, length,
                      conn->closing ? "Connection: close\r\n" : "");
  long now = length <= HEAD_MAX ? length : 0;
  memcpy(small + head, body, (size_t)now);
  if (!put(conn, small, head + now)) return 0;
  conn->filler_left = length - now;
  return conn->out ? 1 : pump(conn);
}

static int complete(Conn *conn) {
  long length = bytes;
  char *path = memchr(conn->head, ' ', (size_t)conn->head_length);
  if (path && path[1] == '/' && path[2] >= '1' && path[2] <= '9') length = atol(path + 2);
  char *path_end = path ? memchr(path + 1, ' ', (size_t)(conn->head + conn->head_length - path - 1)) : NULL;
  int echoes = echo || (path_end && path_end - path > 5 && !memcmp(path_end - 5, "/echo", 5));
  if (echoes) length = conn->head_length;
  if (length > 1 << 28) length = 1 << 28;
  served++;
  if (!first_at) first_at = now_ns();
  if (burn_us) burn();
  if (every && served % (uint64_t)every == 0) {
    conn->due = now_ns() + (uint64_t)late_ms * 1000000u;
    conn->late_bytes = length;
    conn->next_late = NULL;
    if (late_last) late_last->next_late = conn;
    else late_first = conn;
    late_last = conn;
    return 1;
  }
  return answer(conn, echoes ? conn->head : filler, length);
}

static const char *field(const char *head, const char *name) {
  size_t length = strlen(name);
  for (const char *line = strchr(head, '\n'); line && line[1] != '\r'; line = strchr(line + 1, '\n'))
    if (!strncasecmp(line + 1, name, length)) return line + 1 + length + strspn(line + 1 + length, " ");
  return NULL;
}

/* A body in chunks ends with the line "0"; sizes and lines are followed, trailers are not expected. */
static int chunk_octet(Conn *conn, char c) {
  if (conn->chunk_stage == 0) {
    if (c == '\n') {
      conn->chunk_stage = conn->body_left ? 1 : 2;
      if (conn->body_left) conn->body_left += 2;
    } else if (c != '\r') {
      int digit = c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
      conn->body_left = conn->body_left * 16 + digit;
    }
  } else if (conn->chunk_stage == 1) {
    if (--conn->body_left == 0) conn->chunk_stage = 0;
  } else if (c == '\n') {
    conn->chunked = conn->chunk_stage = 0;
    return 1;
  }
  return 0;
}

static int upgrade(Conn *conn, const char *key) {
  unsigned char joined[128], digest[EVP_MAX_MD_SIZE];
  char out[256], accept[64];
  size_t length = strcspn(key, "\r");
  if (length > 60) return end(conn), 0;
  memcpy(joined, key, length);
  memcpy(joined + length, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);   /* RFC 6455, section 1.3 */
  EVP_Digest(joined, length + 36, digest, NULL, EVP_sha1(), NULL);
  EVP_EncodeBlock((unsigned char *)accept, digest, 20);
  conn->upgraded = 1;
  length = (size_t)snprintf(out, sizeof out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
  return put(conn, out, (long)length);
}

/* Octets of the header: 2, the longer forms of the length, the mask. */
static int frame_header(const Conn *conn) {
  int length = conn->frame[1] & 127;
  return conn->frame_at < 2 ? 2 : 6 + (length == 126 ? 2 : length == 127 ? 8 : 0);
}

/* Frames in, the same frames out without their mask; pieces of a payload are sent on as they come. */
static int take_frames(Conn *conn, char *data, long length) {
  char out[READ_ROOM + 64];
  long at = 0, made = 0;
  while (at < length) {
    if (conn->frame_stage == 0) {
      conn->frame[conn->frame_at++] = (unsigned char)data[at++];
      int whole = frame_header(conn);
      if (conn->frame_at < whole) continue;
      if (!(conn->frame[1] & 128)) return end(conn), 0;
      conn->body_left = conn->frame[1] & 127;
      if (whole > 6) conn->body_left = 0;
      for (int i = 2; i < whole - 4; i++) conn->body_left = conn->body_left << 8 | conn->frame[i];
      memcpy(conn->mask, conn->frame + whole - 4, 4);
      conn->frame[1] &= 127;
      if (made + 16 > READ_ROOM) {
        if (!put(conn, out, made)) return 0;
        made = 0;
      }
      memcpy(out + made, conn->frame, (size_t)whole - 4);
      made += whole - 4;
      conn->frame_at = 0, conn->frame_stage = conn->body_left > 0;
    } else {
      if (made == READ_ROOM) {
        if (!put(conn, out, made)) return 0;
        made = 0;
      }
      out[made++] = (char)(data[at++] ^ conn->mask[conn->frame_at++ & 3]);
      if (--conn->body_left == 0) conn->frame_stage = conn->frame_at = 0;
    }
  }
  return put(conn, out, made);
}

/* 0: the connection is gone. */
static int take(Conn *conn, const char *data, long length) {
  long at = 0;
  while (at < length) {
    if (conn->chunked) {
      conn->body_octets += conn->chunk_stage == 1 && conn->body_left > 2;
      if (chunk_octet(conn, data[at++]) && !complete(conn)) return 0;
      if (!conn->chunked) conn->head_length = 0;
      continue;
    }
    if (conn->body_left) {
      long step = conn->body_left < length - at ? conn->body_left : length - at;
      conn->body_left -= step, conn->body_octets += step, at += step;
      if (!conn->body_left) {
        if (!complete(conn)) return 0;
        conn->head_length = 0;
      }
      continue;
    }
    if (conn->head_length == HEAD_MAX - 1) return end(conn), 0;
    /* The head's end lies at the end of what was read unless requests are pipelined or have bodies. */
    const char *stop = memchr(data + at, '\n', (size_t)(length - at));
    long step = (stop ? stop - data + 1 : length) - at;
    if (conn->head_length + step > HEAD_MAX - 1) return end(conn), 0;
    memcpy(conn->head + conn->head_length, data + at, (size_t)step);
    conn->head_length += (int)step, at += step;
    if (!stop || conn->head_length < 4 || memcmp(conn->head + conn->head_length - 4, "\r\n\r\n", 4)) continue;
    conn->head[conn->head_length] = 0;
    const char *value = field(conn->head, "content-length:");
    conn->body_left = value ? atol(value) : 0;
    value = field(conn->head, "transfer-encoding:");
    conn->chunked = value && !strncasecmp(value, "chunked", 7);
    conn->chunk_stage = 0;
    conn->body_octets = 0;
    value = field(conn->head, "connection:");
    conn->closing = value && !strncasecmp(value, "close", 5);
    if (conn->body_left || conn->chunked) continue;
    if ((value = field(conn->head, "sec-websocket-key:"))) return upgrade(conn, value);
    if (!complete(conn)) return 0;
    conn->head_length = 0;
  }
  return 1;
}

static void serve(Conn *conn, uint32_t events) {
  if ((events & EPOLLOUT) && !flush(conn)) return;
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  ssize_t got = recv(conn->fd, buffer, READ_ROOM, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) end(conn);
  else if (conn->upgraded) take_frames(conn, buffer, got);
  else take(conn, buffer, got);
}

static void answer_late(void) {
  while (late_first && late_first->due <= now_ns()) {
    Conn *conn = late_first;
    late_first = conn->next_late;
    if (!late_first) late_last = NULL;
    conn->due = 0;
    if (conn->late_dead) free(conn);
    else answer(conn, filler, conn->late_bytes);
  }
}

static void stall(void) {
  if (!stall_ms || stalled || !first_at || now_ns() - first_at < (uint64_t)stall_after_ms * 1000000u) return;
  stalled = 1;
  struct timespec wait = {stall_ms / 1000, stall_ms % 1000 * 1000000};
  nanosleep(&wait, NULL);
}

static void option(const char *text) {
  static const struct { const char *name; long *value; } known[] = {
      {"bytes=", &bytes}, {"echo=", &echo}, {"every=", &every}, {"late_ms=", &late_ms},
      {"stall_after_ms=", &stall_after_ms}, {"stall_ms=", &stall_ms}, {"burn_us=", &burn_us}, {"any=", &any}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strncmp(text, known[i].name, strlen(known[i].name))) {
      *known[i].value = atol(text + strlen(known[i].name));
      return;
    }
  fprintf(stderr, "endpoint: %s is no option\n", text);
  exit(2);
}

static int next_wait_ms(void) {
  uint64_t at = now_ns();
  if (late_first) return late_first->due <= at ? 0 : (int)((late_first->due - at) / 1000000u);
  return stall_ms && !stalled ? 10 : -1;
}

int main(int argc, char **argv) {
  for (int i = 2; i < argc; i++) option(argv[i]);
  signal(SIGPIPE, SIG_IGN);
  filler = malloc((size_t)FILLER);
  memset(filler, 'x', (size_t)FILLER);
  if (bytes == 12) memcpy(filler, "hello world\n", 12);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0)),
                                .sin_addr.s_addr = htonl(any ? INADDR_ANY : INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8192)) return perror("endpoint"), 1;
  getsockname(listener, (struct sockaddr *)&address, &size);
  printf("%d\n", port = ntohs(address.sin_port));
  fflush(stdout);
  epoll = epoll_create1(0);
  struct epoll_event events[EVENTS], listening = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening);
  for (;;) {
    int count = epoll_wait(epoll, events, EVENTS, next_wait_ms());
    for (int i = 0; i < count; i++) {
      if (events[i].data.ptr) {
        serve(events[i].data.ptr, events[i].events);
        continue;
      }
      int fd;
      while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        Conn *conn = calloc(1, sizeof *conn);
        conn->fd = fd;
        watch(conn, EPOLL_CTL_ADD, EPOLLIN);
      }
    }
    answer_late();
    stall();
  }
}
