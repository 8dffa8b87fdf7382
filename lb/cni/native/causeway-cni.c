/* The CNI plugin for nodes that have no Python of ours: the same as plugin.py, and as loopback.py if called `loopback`.
 *
 * A node agent in a container cannot leave its interpreter on the node, where the container runtime calls the plugin.
 * This is compiled statically, so it needs nothing there; it knows no more than plugin.py and keeps no state. Tests run
 * both against the same expectations (tests/lb/cni/). Source: CNI specification 1.1.0, section 2 "Execution protocol".
 *
 * Beyond that, `causeway-cni --ready SOCKET` asks the agent whether it can attach pods: the readiness probe of its pod.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define NEWEST "1.1.0"
#define VERSIONS "[\"0.3.1\", \"0.4.0\", \"1.0.0\", \"1.1.0\"]"
enum { ENVIRONMENT = 4, INPUT_OUTPUT, UNDECODABLE, BAD_CONFIG, TRY_LATER = 11 };
enum { AGENT_TIMEOUT_SECONDS = 60, TEXT_MAX = 4096 };

extern char **environ;

/* What an error says; the configuration's own version as soon as that is known. */
static char version[TEXT_MAX] = "1.0.0";

struct bytes {
    char *data; /* a 0 follows the last one */
    size_t length, room;
};

static int fail(int code, const char *message, const char *details) {
    printf("{\"cniVersion\": \"%s\", \"code\": %d, \"msg\": \"%s\", \"details\": \"%s\"}\n", version, code, message, details);
    return 1;
}

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static int append(struct bytes *to, const void *data, size_t length) {
    if (to->length + length + 1 > to->room) {
        size_t room = 2 * (to->length + length) + 65536;
        char *grown = realloc(to->data, room);
        if (!grown) return -1;
        to->data = grown;
        to->room = room;
    }
    memcpy(to->data + to->length, data, length);
    to->length += length;
    to->data[to->length] = 0;
    return 0;
}

/* Read to the end. Returns 0, or -1 with errno. */
static int read_all(int fd, struct bytes *to) {
    char piece[65536];
    ssize_t got;
    if (append(to, "", 0) < 0) return -1;
    while ((got = read(fd, piece, sizeof piece)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 || append(to, piece, got) < 0) return -1;
    }
    return 0;
}

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " \t\r\n");
}

/* The quote that ends the string which begins behind `at`, or NULL. */
static const char *string_end(const char *at) {
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && !*++at) return NULL;
    return *at ? at : NULL;
}

/* Copy the text that `key` has in a JSON object; "" if it has none, or one with escapes. Returns -1 if it is no object. */
static int find(const char *json, const char *key, char *value) {
    int depth = 0;
    const char *at = skip_blanks(json), *end, *next;
    value[0] = 0;
    if (*at != '{') return -1;
    for (; *at; at++) {
        if (*at == '{' || *at == '[') depth++;
        if ((*at == '}' || *at == ']') && --depth == 0) return *skip_blanks(at + 1) ? -1 : 0;
        if (*at != '"') continue;
        if (!(end = string_end(at))) return -1;
        next = skip_blanks(end + 1);
        if (depth == 1 && *next == ':' && (size_t)(end - at - 1) == strlen(key) && !strncmp(at + 1, key, strlen(key))) {
            const char *text = skip_blanks(next + 1), *text_end = *text == '"' ? string_end(text) : NULL;
            size_t length = text_end ? (size_t)(text_end - text - 1) : 0;
            if (length < TEXT_MAX && !memchr(text, '\\', length + 1)) {
                memcpy(value, text + 1, length);
                value[length] = 0;
            }
        }
        at = end;
    }
    return -1;
}

/* Which command needs which variables: as plugin.py. */
static int check_variables(const char *command) {
    static const char *const needed[][2] = {
        {"CNI_CONTAINERID", "ADD CHECK DEL"},
        {"CNI_NETNS", "ADD CHECK"},
        {"CNI_IFNAME", "ADD CHECK DEL"},
        {"CNI_PATH", "ADD CHECK DEL GC STATUS"},
    };
    char message[512] = "";
    if (!*command) strcat(message, ", CNI_COMMAND");
    for (size_t i = 0; *command && i < sizeof needed / sizeof *needed; i++) {
        if (!strstr(needed[i][1], command) || *variable(needed[i][0])) continue;
        strcat(strcat(message, ", "), needed[i][0]);
    }
    if (!*message) return 0;
    char whole[600];
    snprintf(whole, sizeof whole, "required environment variables missing: %s", message + 2);
    return fail(ENVIRONMENT, whole, "");
}

/* Send the variables and the configuration, take the answer. Returns 0, or -1 with errno. */
static int ask_agent(const char *path, const struct bytes *config, struct bytes *answer) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = AGENT_TIMEOUT_SECONDS};
    struct bytes call = {0};
    int agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (agent < 0) return -1;
    if (strlen(path) >= sizeof address.sun_path) return errno = ENAMETOOLONG, -1;
    strcpy(address.sun_path, path);
    setsockopt(agent, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(agent, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    for (char **each = environ; *each; each++)
        if (!strncmp(*each, "CNI_", 4) && append(&call, *each, strlen(*each) + 1) < 0) return -1;
    if (append(&call, "", 1) < 0 || append(&call, config->data, config->length) < 0) return -1;
    if (connect(agent, (struct sockaddr *)&address, sizeof address) < 0) return -1;
    for (size_t sent = 0; sent < call.length;) {
        ssize_t took = send(agent, call.data + sent, call.length - sent, MSG_NOSIGNAL);
        if (took < 0 && errno != EINTR) return -1;
        if (took > 0) sent += took;
    }
    if (shutdown(agent, SHUT_WR) < 0 || read_all(agent, answer) < 0) return -1;
    /* An exit status, what to print, a line's end: without that the agent has died in the middle. */
    int whole = answer->length >= 2 && strchr("01", answer->data[0]) && answer->data[answer->length - 1] == '\n';
    return whole ? 0 : (errno = EPROTO, -1);
}

static int plugin(const struct bytes *config) {
    char path[TEXT_MAX], message[TEXT_MAX + 256];
    struct bytes answer = {0};
    find(config->data, "socket", path);
    if (!*path) return fail(BAD_CONFIG, "the plugin's configuration has no \\\"socket\\\"", "it names the node agent's socket");
    if (ask_agent(path, config, &answer) < 0) {
        snprintf(message, sizeof message, "the node agent does not answer on %s (%s); trying again later may help", path,
                 strerror(errno));
        return fail(TRY_LATER, message, "the agent is `causeway node`; is it running on this node, with this run folder?");
    }
    if (answer.length > 2) fwrite(answer.data + 1, 1, answer.length - 1, stdout);
    return answer.data[0] - '0';
}

static int ready(const char *path) {
    struct bytes config = {0};
    char text[TEXT_MAX];
    snprintf(text, sizeof text, "{\"cniVersion\": \"%s\", \"name\": \"causeway\", \"socket\": \"%.4000s\"}", NEWEST, path);
    setenv("CNI_COMMAND", "STATUS", 1);
    return append(&config, text, strlen(text)) < 0 ? 1 : plugin(&config);
}

/* Returns 0, or -1 with errno. This process stays in the namespace: it ends after this. */
static int bring_lo_up(const char *namespace) {
    struct ifreq lo = {.ifr_name = "lo"};
    int opened = open(namespace, O_RDONLY | O_CLOEXEC), kernel;
    if (opened < 0 || setns(opened, CLONE_NEWNET) < 0) return -1;
    if ((kernel = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0 || ioctl(kernel, SIOCGIFFLAGS, &lo) < 0) return -1;
    if (lo.ifr_flags & IFF_UP) return 0;
    lo.ifr_flags |= IFF_UP;
    return ioctl(kernel, SIOCSIFFLAGS, &lo);
}

static int loopback(const char *command) {
    const char *namespace = variable("CNI_NETNS");
    char message[TEXT_MAX + 256];
    if (strcmp(command, "ADD") && strcmp(command, "CHECK")) return 0; /* DEL, GC, STATUS: lo goes with its namespace */
    if (!*namespace) return fail(ENVIRONMENT, "required environment variables missing: CNI_NETNS", "");
    if (bring_lo_up(namespace) < 0) {
        snprintf(message, sizeof message, "lo of %.4000s cannot be brought up: %s", namespace, strerror(errno));
        return fail(INPUT_OUTPUT, message, "");
    }
    if (!strcmp(command, "ADD"))
        printf("{\"cniVersion\": \"%s\", \"interfaces\": [{\"name\": \"lo\", \"mac\": \"00:00:00:00:00:00\", "
               "\"sandbox\": \"%s\"}], \"dns\": {}}\n", version, namespace);
    return 0;
}

int main(int argc, char **argv) {
    const char *command = variable("CNI_COMMAND"), *slash = argc ? strrchr(argv[0], '/') : NULL;
    int is_loopback = argc && !strcmp(slash ? slash + 1 : argv[0], "loopback");
    struct bytes config = {0};
    char asked[TEXT_MAX];
    if (argc == 3 && !strcmp(argv[1], "--ready")) return ready(argv[2]);
    /* VERSION first: it must not need standard input, a configuration or an agent. */
    if (!strcmp(command, "VERSION")) {
        printf("{\"cniVersion\": \"%s\", \"supportedVersions\": %s}\n", NEWEST, VERSIONS);
        return 0;
    }
    if (!is_loopback && check_variables(command)) return 1;
    if (read_all(0, &config) < 0) return fail(INPUT_OUTPUT, "standard input cannot be read", strerror(errno));
    if (find(config.data, "cniVersion", asked) < 0)
        return fail(UNDECODABLE, "the network configuration on standard input is not a JSON object", "");
    if (*asked) strcpy(version, asked);
    return is_loopback ? loopback(command) : plugin(&config);
}
