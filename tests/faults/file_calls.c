/* Counts the calls by which a process changes files below a folder, and kills it at one of them,
   or lets the disk be full from there on. Sets the clock, too.

   Loaded before the C library (LD_PRELOAD), so that it sees the calls of Python, Arrow and Rust. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t folder_length = 0;
static long fatal_call = -1;
static enum { DIE_BEFORE, DIE_AFTER, DISK_FULL } fault;
static int log_file = -1;
static atomic_long calls = 0;

/* Watch the calls below a folder from now on; the fault happens at one of them. */
void watch_file_calls(const char *root, long at, int what, int log) {
    snprintf(folder, sizeof folder, "%s/", root);
    fatal_call = at, fault = what, log_file = log;
    atomic_store(&calls, 0);
    folder_length = strlen(folder);
}

static int is_below(int directory, const char *path) {
    char whole[2 * PATH_MAX];
    if (!folder_length) return 0;
    if (path && path[0] == '/') return !strncmp(path, folder, folder_length);
    if (directory < 0) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, whole, PATH_MAX);
    if (length < 0) return 0;
    snprintf(whole + length, sizeof whole - length, "/%s", path ? path : "");
    return !strncmp(whole, folder, folder_length);
}

/* Note a call; returns whether the fault is due. */
static int noted(const char *name, int directory, const char *path) {
    if (!is_below(directory, path)) return 0;
    long number = atomic_fetch_add(&calls, 1);
    if (log_file >= 0) dprintf(log_file, "%s %s\n", name, path ? path : "");
    if (fatal_call < 0) return 0;
    if (number == fatal_call && fault == DIE_BEFORE) kill(getpid(), SIGKILL);
    return fault == DISK_FULL ? number >= fatal_call : number == fatal_call;
}

#define CALL(type, original, arguments, needs_space)                                               \
    if (due && fault == DISK_FULL && needs_space) {                                                \
        errno = ENOSPC;                                                                            \
        return -1;                                                                                 \
    }                                                                                              \
    type result = original arguments;                                                              \
    if (due && fault == DIE_AFTER) kill(getpid(), SIGKILL);                                        \
    return result;

#define WATCHED(type, name, parameters, arguments, directory, path, needs_space)                   \
    type name parameters {                                                                         \
        static type(*original) parameters;                                                         \
        if (!original) original = dlsym(RTLD_NEXT, #name);                                         \
        int due = noted(#name, directory, path);                                                   \
        CALL(type, original, arguments, needs_space)                                               \
    }

/* dprintf writes to the log through the C library's own write, not through this one. */
WATCHED(ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n), fd, 0, 1)
WATCHED(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), fd, 0, 1)
WATCHED(ssize_t, pwrite64, (int fd, const void *d, size_t n, off64_t at), (fd, d, n, at), fd, 0, 1)
WATCHED(int, fsync, (int fd), (fd), fd, 0, 1)
WATCHED(int, fdatasync, (int fd), (fd), fd, 0, 1)
WATCHED(int, rename, (const char *from, const char *to), (from, to), -1, to, 0)
WATCHED(int, renameat, (int f, const char *from, int t, const char *to), (f, from, t, to), t, to, 0)
WATCHED(int, link, (const char *from, const char *to), (from, to), -1, to, 0)
WATCHED(int, linkat, (int f, const char *from, int t, const char *to, int flags),
        (f, from, t, to, flags), t, to, 0)
WATCHED(int, unlink, (const char *path), (path), -1, path, 0)
WATCHED(int, unlinkat, (int d, const char *path, int flags), (d, path, flags), d, path, 0)
WATCHED(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, path, 1)
WATCHED(int, mkdirat, (int d, const char *path, mode_t mode), (d, path, mode), d, path, 1)
WATCHED(int, rmdir, (const char *path), (path), -1, path, 0)

#define OPENED(name, parameters, first, directory, path)                                           \
    int name parameters {                                                                          \
        static int(*original) parameters;                                                          \
        if (!original) original = dlsym(RTLD_NEXT, #name);                                         \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                    \
        va_end(rest);                                                                              \
        int due = flags & (O_WRONLY | O_RDWR | O_CREAT) ? noted(#name, directory, path) : 0;       \
        CALL(int, original, first, flags & O_CREAT)                                                \
    }

OPENED(open, (const char *path, int flags, ...), (path, flags, mode), -1, path)
OPENED(open64, (const char *path, int flags, ...), (path, flags, mode), -1, path)
OPENED(openat, (int d, const char *path, int flags, ...), (d, path, flags, mode), d, path)
OPENED(openat64, (int d, const char *path, int flags, ...), (d, path, flags, mode), d, path)

static long clock_ahead_s = 0;

/* Set this process's clock by so many seconds. */
void set_clock_ahead(long seconds) { clock_ahead_s = seconds; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*original)(clockid_t, struct timespec *);
    if (!original) original = dlsym(RTLD_NEXT, "clock_gettime");
    int result = original(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += clock_ahead_s;
    return result;
}
