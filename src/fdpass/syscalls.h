/*
 * The few Linux system calls that our two small C programs need, for x86-64
 * and aarch64, without a C library.
 *
 * Why no C library: the programs travel inside TypeScript modules as text, so
 * every kilobyte counts, and they must run on any distribution, whatever its
 * libc. A call returns what the kernel returns: a result, or a negative errno.
 *
 * Where the two architectures differ we use the call that both have (ppoll,
 * dup3, clone, unlinkat), never the older one that only x86-64 kept.
 *
 * Nothing here keeps state: no globals, hence one read-only segment in the
 * executable, which any page size can map.
 */
#ifndef SYSCALLS_H
#define SYSCALLS_H

typedef unsigned char byte;
typedef unsigned int u32;
typedef unsigned long word; /* 64 bits on both architectures */

#if defined(__x86_64__)

enum {
  NR_read = 0,
  NR_write = 1,
  NR_close = 3,
  NR_rt_sigaction = 13,
  NR_socket = 41,
  NR_connect = 42,
  NR_sendmsg = 46,
  NR_recvmsg = 47,
  NR_shutdown = 48,
  NR_getsockname = 51,
  NR_socketpair = 53,
  NR_clone = 56,
  NR_execve = 59,
  NR_wait4 = 61,
  NR_exit_group = 231,
  NR_unlinkat = 263,
  NR_ppoll = 271,
  NR_dup3 = 292,
  NR_close_range = 436,
};

static inline long syscall5(long nr, word a, word b, word c, word d, word e) {
  register word r10 __asm__("r10") = d;
  register word r8 __asm__("r8") = e;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory");
  return result;
}

/* The kernel leaves argc, argv and envp on the stack; C wants a pointer. */
__asm__(".globl _start\n"
        "_start:\n"
        "  xor %ebp, %ebp\n"
        "  mov %rsp, %rdi\n"
        "  and $-16, %rsp\n"
        "  call start\n");

#elif defined(__aarch64__)

enum {
  NR_dup3 = 24,
  NR_unlinkat = 35,
  NR_close = 57,
  NR_read = 63,
  NR_write = 64,
  NR_ppoll = 73,
  NR_exit_group = 94,
  NR_rt_sigaction = 134,
  NR_socket = 198,
  NR_socketpair = 199,
  NR_connect = 203,
  NR_getsockname = 204,
  NR_shutdown = 210,
  NR_sendmsg = 211,
  NR_recvmsg = 212,
  NR_clone = 220,
  NR_execve = 221,
  NR_wait4 = 260,
  NR_close_range = 436,
};

static inline long syscall5(long nr, word a, word b, word c, word d, word e) {
  register long x8 __asm__("x8") = nr;
  register word x0 __asm__("x0") = a;
  register word x1 __asm__("x1") = b;
  register word x2 __asm__("x2") = c;
  register word x3 __asm__("x3") = d;
  register word x4 __asm__("x4") = e;
  __asm__ volatile("svc #0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
                   : "memory");
  return (long)x0;
}

__asm__(".globl _start\n"
        "_start:\n"
        "  mov x29, #0\n"
        "  mov x30, #0\n"
        "  mov x0, sp\n"
        "  bl start\n");

#else
#error "Only x86-64 and aarch64 are supported"
#endif

/* Where each program begins: stack[0] is argc, then argv, NULL, envp, NULL. */
__attribute__((noreturn, used)) void start(word *stack);

enum { EINTR = 4, EAGAIN = 11, EINVAL = 22, EMFILE = 24, ENAMETOOLONG = 36 };

enum { SIGHUP = 1, SIGINT = 2, SIGUSR1 = 10, SIGPIPE = 13, SIGTERM = 15, SIGCHLD = 17 };
enum { SIG_DFL = 0, SIG_IGN = 1 };

enum { AF_UNIX = 1, SOCK_STREAM = 1, SOCK_CLOEXEC = 02000000 };
enum { SHUT_RD = 0, SHUT_WR = 1, SHUT_RDWR = 2 };
enum { SOL_SOCKET = 1, SCM_RIGHTS = 1 };
enum { MSG_NOSIGNAL = 0x4000, MSG_CMSG_CLOEXEC = 0x40000000 };
enum { POLLOUT = 4, POLLERR = 8, POLLHUP = 16 };
enum { AT_FDCWD = -100, AT_REMOVEDIR = 0x200 };

struct unix_address {
  unsigned short family;
  char path[108]; /* with its final NUL: hence the limit of 107 bytes */
};

struct poll_entry {
  int fd;
  short wanted;
  short seen;
};

struct io_vector {
  void *base;
  word length;
};

/* A control message that carries one descriptor, padded to whole words. */
struct descriptor_message {
  word length;
  int level;
  int type;
  int fd;
  int padding;
};

/* cmsg_len counts the header and the descriptor, not the padding. */
enum { DESCRIPTOR_MESSAGE_LENGTH = 20 };

struct message {
  void *name;
  word name_length;
  struct io_vector *vectors;
  word vector_count;
  void *control;
  word control_length;
  word flags;
};

__attribute__((noreturn)) static inline void sys_exit(int code) {
  for (;;) syscall5(NR_exit_group, (word)code, 0, 0, 0, 0);
}

static inline long sys_read(int fd, void *to, word length) {
  return syscall5(NR_read, (word)fd, (word)to, length, 0, 0);
}

static inline long sys_write(int fd, const void *from, word length) {
  return syscall5(NR_write, (word)fd, (word)from, length, 0, 0);
}

static inline long sys_close(int fd) {
  return syscall5(NR_close, (word)fd, 0, 0, 0, 0);
}

static inline long sys_unix_socket(void) {
  return syscall5(NR_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, 0, 0);
}

static inline long sys_connect(int fd, const struct unix_address *address) {
  return syscall5(NR_connect, (word)fd, (word)address, sizeof *address, 0, 0);
}

static inline long sys_sendmsg(int fd, const struct message *message) {
  return syscall5(NR_sendmsg, (word)fd, (word)message, MSG_NOSIGNAL, 0, 0);
}

static inline long sys_poll(struct poll_entry *entries, word count) {
  return syscall5(NR_ppoll, (word)entries, count, 0, 0, 0);
}

/* What a signal does: SIG_IGN or SIG_DFL. No handlers here, so no restorer. */
static inline void set_signal(int number, word action) {
  word record[4] = {action, 0, 0, 0};
  syscall5(NR_rt_sigaction, (word)number, (word)record, 0, 8, 0);
}

/*
 * Closes every descriptor from `first` on. Kernels before 5.9 lack
 * close_range; there we close the numbers that can plausibly be in use, for a
 * loop up to the limit (a billion in some containers) would take minutes.
 */
static inline void close_from(int first) {
  if (syscall5(NR_close_range, (word)first, ~0u, 0, 0, 0) == 0) return;
  for (int fd = first; fd < 4096; fd++) sys_close(fd);
}

/* Writes all of it. Returns 0, or the negative errno that stopped it. */
static inline long write_all(int fd, const void *from, word length) {
  const byte *next = from;
  while (length > 0) {
    long count = sys_write(fd, next, length);
    if (count == -EINTR) continue;
    if (count < 0) return count;
    next += count;
    length -= (word)count;
  }
  return 0;
}

/* Reads `length` bytes; returns how many came before EOF or an error. */
static inline word read_all(int fd, void *to, word length) {
  word done = 0;
  while (done < length) {
    long count = sys_read(fd, (byte *)to + done, length - done);
    if (count == -EINTR) continue;
    if (count <= 0) break;
    done += (word)count;
  }
  return done;
}

/* Fills in an address. Returns 0, or a negative errno if the path is too long. */
static inline long set_address(struct unix_address *address, const char *path) {
  word i = 0;
  address->family = AF_UNIX;
  for (; path[i] != '\0'; i++) {
    if (i == sizeof address->path - 1) return -ENAMETOOLONG;
    address->path[i] = path[i];
  }
  for (; i < sizeof address->path; i++) address->path[i] = '\0';
  return 0;
}

/* Returns a connected stream socket (close-on-exec), or a negative errno. */
static inline long connect_to(const struct unix_address *address) {
  long fd = sys_unix_socket();
  if (fd < 0) return fd;
  long result;
  do result = sys_connect((int)fd, address);
  while (result == -EINTR);
  if (result == 0) return fd;
  sys_close((int)fd);
  return result;
}

#endif
