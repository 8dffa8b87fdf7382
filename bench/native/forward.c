/* A TCP forwarder: what every proxy must at least do, and nothing else. The floor of any comparison.
 *
 *   forward PORT TARGET_PORT [burn_ns=N]
 *
 * Each connection accepted on 127.0.0.1:PORT gets one to 127.0.0.1:TARGET_PORT; bytes go both ways through one buffer, a
 * full socket holds up its other side. burn_ns: CPU time burnt on each piece from the client, to plant a regression.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 262144, EVENTS = 512 };

typedef struct Side {
  int fd, is_client, dead, ended;   /* ended: nothing more comes from this side */
  struct Side *other;
  char *out;                        /* what this side's socket did not take */
  long out_left, out_at;
  uint32_t mask;
  struct Side *next_dead;
} Side;

static int epoll;
static long burn_ns;
static char buffer[ROOM];
static Side *dead;

static void burn(void) {
  struct timespec at;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
  int64_t until = at.tv_sec * 1000000000ll + at.tv_nsec + burn_ns;
  do clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
  while (at.tv_sec * 1000000000ll + at.tv_nsec < until);
}

static void watch(Side *side, uint32_t mask) {
  struct epoll_event event = {.events = mask, .data.ptr = side};
  if (side->mask == mask) return;
  epoll_ctl(epoll, side->mask == UINT32_MAX ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, side->fd, &event);
  side->mask = mask;
}

/* Freed after the batch: an event for it may still be in it. */
static void end(Side *side) {
  Side *both[2] = {side, side->other};
  for (int i = 0; i < 2; i++) {
    if (both[i]->dead) continue;
    both[i]->dead = 1;
    close(both[i]->fd);
    both[i]->next_dead = dead;
    dead = both[i];
  }
}

static void wanted(Side *side) {
  uint32_t mask = side->out ? EPOLLOUT : 0;
  if (!side->other->out && !side->ended) mask |= EPOLLIN;
  watch(side, mask);
}

static void forward(Side *from) {
  Side *to = from->other;
  ssize_t got = recv(from->fd, buffer, ROOM, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got < 0) return end(from);
  if (got == 0) {
    from->ended = 1;
    if (to->ended) return end(from);
    shutdown(to->fd, SHUT_WR);
    return wanted(from);
  }
  if (burn_ns && from->is_client) burn();
  ssize_t done = send(to->fd, buffer, (size_t)got, MSG_NOSIGNAL);
  if (done < 0 && errno != EAGAIN && errno != ENOTCONN) return end(from);
  if (done < 0) done = 0;
  if (done == got) return;
  to->out = malloc((size_t)(got - done));
  memcpy(to->out, buffer + done, (size_t)(got - done));
  to->out_at = 0, to->out_left = got - done;
  wanted(to), wanted(from);
}

static void flush(Side *side) {
  ssize_t done = send(side->fd, side->out + side->out_at, (size_t)side->out_left, MSG_NOSIGNAL);
  if (done < 0 && errno == EAGAIN) return;
  if (done < 0) return end(side);
  side->out_at += done, side->out_left -= done;
  if (side->out_left) return;
  free(side->out);
  side->out = NULL;
  wanted(side), wanted(side->other);
}

static Side *made(int fd, int is_client) {
  int one = 1;
  Side *side = calloc(1, sizeof *side);
  side->fd = fd, side->is_client = is_client, side->mask = UINT32_MAX;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return side;
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "forward PORT TARGET_PORT [burn_ns=N]\n"), 2;
  if (argc > 3 && !strncmp(argv[3], "burn_ns=", 8)) burn_ns = atol(argv[3] + 8);
  signal(SIGPIPE, SIG_IGN);
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, target = here;
  here.sin_port = htons((uint16_t)atoi(argv[1])), target.sin_port = htons((uint16_t)atoi(argv[2]));
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, fd;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 8192)) return perror("forward"), 1;
  epoll = epoll_create1(0);
  struct epoll_event events[EVENTS], listening = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening);
  for (;;) {
    int count = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
      Side *side = events[i].data.ptr;
      if (side) {
        if (!side->dead && side->out && events[i].events & EPOLLOUT) flush(side);
        if (!side->dead && !side->ended && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) forward(side);
        else if (!side->dead && events[i].events & (EPOLLHUP | EPOLLERR)) end(side);
        continue;
      }
      while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        Side *client = made(fd, 1), *server = made(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
        client->other = server, server->other = client;
        if (connect(server->fd, (struct sockaddr *)&target, sizeof target) && errno != EINPROGRESS) {
          end(client);
          continue;
        }
        watch(client, EPOLLIN), watch(server, EPOLLIN);
      }
    }
    while (dead) {
      Side *gone = dead;
      dead = gone->next_dead;
      free(gone->out);
      free(gone);
    }
  }
}
