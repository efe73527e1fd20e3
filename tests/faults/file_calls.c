/* Counts the calls by which a process changes files below a folder, and kills it at one of them.

   Loaded before the C library (LD_PRELOAD), so that it sees the calls of Python, Arrow and Rust. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t folder_length = 0;
static long fatal_call = -1;
static int fatal_after = 0, log_file = -1;
static atomic_long calls = 0;

/* Watch the calls below a folder from now on; die at one of them, before or after it is made. */
void watch_file_calls(const char *root, long at, int after, int log) {
    snprintf(folder, sizeof folder, "%s/", root);
    fatal_call = at, fatal_after = after, log_file = log;
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

/* Note a call; returns whether to die after it. */
static int noted(const char *name, int directory, const char *path) {
    if (!is_below(directory, path)) return 0;
    long number = atomic_fetch_add(&calls, 1);
    if (log_file >= 0) dprintf(log_file, "%s %s\n", name, path ? path : "");
    if (number != fatal_call) return 0;
    if (!fatal_after) kill(getpid(), SIGKILL);
    return 1;
}

static void die_if(int now) {
    if (now) kill(getpid(), SIGKILL);
}

#define WATCHED(type, name, parameters, arguments, directory, path)                                \
    type name parameters {                                                                         \
        static type(*original) parameters;                                                         \
        if (!original) original = dlsym(RTLD_NEXT, #name);                                         \
        int last = noted(#name, directory, path);                                                  \
        type result = original arguments;                                                          \
        die_if(last);                                                                              \
        return result;                                                                             \
    }

/* dprintf writes to the log through the C library's own write, not through this one. */
WATCHED(ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n), fd, 0)
WATCHED(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), fd, 0)
WATCHED(ssize_t, pwrite64, (int fd, const void *d, size_t n, off64_t at), (fd, d, n, at), fd, 0)
WATCHED(int, fsync, (int fd), (fd), fd, 0)
WATCHED(int, fdatasync, (int fd), (fd), fd, 0)
WATCHED(int, rename, (const char *from, const char *to), (from, to), -1, to)
WATCHED(int, renameat, (int f, const char *from, int t, const char *to), (f, from, t, to), t, to)
WATCHED(int, link, (const char *from, const char *to), (from, to), -1, to)
WATCHED(int, linkat, (int f, const char *from, int t, const char *to, int flags),
        (f, from, t, to, flags), t, to)
WATCHED(int, unlink, (const char *path), (path), -1, path)
WATCHED(int, unlinkat, (int d, const char *path, int flags), (d, path, flags), d, path)
WATCHED(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, path)
WATCHED(int, mkdirat, (int d, const char *path, mode_t mode), (d, path, mode), d, path)
WATCHED(int, rmdir, (const char *path), (path), -1, path)

#define OPENED(name, parameters, first, directory, path)                                           \
    int name parameters {                                                                          \
        static int(*original) parameters;                                                          \
        if (!original) original = dlsym(RTLD_NEXT, #name);                                         \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                    \
        va_end(rest);                                                                              \
        int last = flags & (O_WRONLY | O_RDWR | O_CREAT) ? noted(#name, directory, path) : 0;      \
        int result = original first;                                                               \
        die_if(last);                                                                              \
        return result;                                                                             \
    }

OPENED(open, (const char *path, int flags, ...), (path, flags, mode), -1, path)
OPENED(open64, (const char *path, int flags, ...), (path, flags, mode), -1, path)
OPENED(openat, (int d, const char *path, int flags, ...), (d, path, flags, mode), d, path)
OPENED(openat64, (int d, const char *path, int flags, ...), (d, path, flags, mode), d, path)
