/* Makes calls on files below some folders fail, as a disk or a network file system may. Preloaded by tests/faults.rs.
 *
 *   FAULT_UNDER   paths, separated by colons
 *   FAULT_CALLS   of read, write, fsync, rename, separated by commas
 *   FAULT_NTH     the calls that fail, separated by commas, counted from 1 over all of these; 0: every one
 *   FAULT_ERRNO   the error, a number; 5, EIO, without it
 *   FAULT_COUNT   a file into which the number of calls is written at the end
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;

static int is_below(const char *path) {
    const char *under = getenv("FAULT_UNDER");
    while (under && *under) {
        size_t length = strcspn(under, ":");
        if (strncmp(path, under, length) == 0 && (path[length] == '/' || path[length] == 0)) return 1;
        under += length + (under[length] == ':');
    }
    return 0;
}

static int fails(const char *call, const char *path) {
    const char *which = getenv("FAULT_CALLS"), *nth = getenv("FAULT_NTH");
    if (!which || !nth || !strstr(which, call) || !is_below(path)) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1;
    for (char *end; *nth; nth = end + (*end == ',')) {
        long wanted = strtol(nth, &end, 10);
        if (wanted == 0 || wanted == number) return 1;
    }
    return 0;
}

static int fd_fails(const char *call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int before = errno;
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("FAULT_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%ld\n", atomic_load(&calls));
        fclose(file);
    }
}

static int error(void) {
    const char *number = getenv("FAULT_ERRNO");
    return number ? atoi(number) : EIO;
}

#define REAL(result, name, types, arguments)                          \
    static result (*real) types;                                      \
    if (!real) real = (result(*) types)dlsym(RTLD_NEXT, #name);       \
    if (failing) { errno = error(); return -1; }                      \
    return real arguments;

ssize_t read(int fd, void *to, size_t n) {
    int failing = fd_fails("read", fd);
    REAL(ssize_t, read, (int, void *, size_t), (fd, to, n))
}
ssize_t pread(int fd, void *to, size_t n, off_t at) {
    int failing = fd_fails("read", fd);
    REAL(ssize_t, pread, (int, void *, size_t, off_t), (fd, to, n, at))
}
ssize_t pread64(int fd, void *to, size_t n, off64_t at) {
    int failing = fd_fails("read", fd);
    REAL(ssize_t, pread64, (int, void *, size_t, off64_t), (fd, to, n, at))
}
ssize_t readv(int fd, const struct iovec *to, int n) {
    int failing = fd_fails("read", fd);
    REAL(ssize_t, readv, (int, const struct iovec *, int), (fd, to, n))
}
ssize_t write(int fd, const void *from, size_t n) {
    int failing = fd_fails("write", fd);
    REAL(ssize_t, write, (int, const void *, size_t), (fd, from, n))
}
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) {
    int failing = fd_fails("write", fd);
    REAL(ssize_t, pwrite64, (int, const void *, size_t, off64_t), (fd, from, n, at))
}
ssize_t writev(int fd, const struct iovec *from, int n) {
    int failing = fd_fails("write", fd);
    REAL(ssize_t, writev, (int, const struct iovec *, int), (fd, from, n))
}
int fsync(int fd) {
    int failing = fd_fails("fsync", fd);
    REAL(int, fsync, (int), (fd))
}
int fdatasync(int fd) {
    int failing = fd_fails("fsync", fd);
    REAL(int, fdatasync, (int), (fd))
}
int rename(const char *from, const char *to) {
    int failing = fails("rename", to);
    REAL(int, rename, (const char *, const char *), (from, to))
}
