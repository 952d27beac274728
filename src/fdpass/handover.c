/*
 * handover: gives lightningd one end of a fresh stream socket.
 *
 * lightningd asks its hsmd for a connection per subdaemon and expects the
 * descriptor by SCM_RIGHTS on the hsmd's fd 3. Our hsmd runs on a runtime
 * without an interface for that. So it starts this program, which inherits
 * fd 3 and does the one thing that is missing.
 *
 *   argv[1]  path of the broker's private Unix socket
 *   fd 0     commands: 16 random bytes each, the name of one hand-over; 16
 *            zeros: there is no room for another connection, pass nothing
 *   fd 1     answers: one byte each: 0, or the errno of what failed
 *   fd 2     stderr, unused
 *   fd 3     lightningd
 *
 * One more answer comes at the start: 0 for "I am running", or why not. For
 * each command we connect to the broker's socket, send it the 16 bytes so that
 * it knows whose connection this is, and pass our end to lightningd. The broker
 * keeps the accepted end. lightningd's end is in blocking mode, because its
 * daemons read it with plain blocking reads.
 *
 * The program lives exactly as long as the broker: it ignores the signals that
 * a terminal or a service manager sends to a whole group, and ends when fd 0
 * does, however the broker ended. It then removes the socket and its
 * directory, which a killed broker could not do.
 *
 * It holds no key and reads nothing from fd 3.
 */
#include "syscalls.h"

enum { COMMANDS = 0, ANSWERS = 1, LIGHTNINGD = 3, FIRST_UNWANTED = 4 };
enum { TOKEN_LENGTH = 16 };

/* The broker is gone: take its socket away, then the directory around it. */
__attribute__((noreturn)) static void leave(struct unix_address *address) {
  word slash = 0;
  syscall5(NR_unlinkat, (word)AT_FDCWD, (word)address->path, 0, 0, 0);
  for (word i = 0; address->path[i] != '\0'; i++)
    if (address->path[i] == '/') slash = i;
  address->path[slash] = '\0';
  syscall5(NR_unlinkat, (word)AT_FDCWD, (word)address->path, AT_REMOVEDIR, 0, 0);
  sys_exit(0);
}

/*
 * Sends the one data byte that lightningd waits for, with `passed` attached
 * unless that is negative. Returns 0 or a negative errno.
 *
 * The broker put fd 3 into non-blocking mode, and that mode belongs to the
 * socket, not to the process: a full buffer shows as EAGAIN here too. While we
 * wait, the broker's end wakes us as well, or we would keep fd 3 open for it.
 */
static long send_byte(struct unix_address *address, int passed) {
  byte zero = 0;
  struct io_vector vector = {&zero, 1};
  struct descriptor_message attached = {DESCRIPTOR_MESSAGE_LENGTH, SOL_SOCKET,
                                        SCM_RIGHTS, passed, 0};
  struct message message = {0, 0, &vector, 1, 0, 0, 0};
  if (passed >= 0) {
    message.control = &attached;
    message.control_length = sizeof attached;
  }
  for (;;) {
    long result = sys_sendmsg(LIGHTNINGD, &message);
    if (result == -EAGAIN) {
      struct poll_entry waits[] = {{LIGHTNINGD, POLLOUT, 0}, {COMMANDS, 0, 0}};
      sys_poll(waits, 2);
      if (waits[1].seen & (POLLHUP | POLLERR)) leave(address);
    } else if (result != -EINTR) {
      return result < 0 ? result : 0;
    }
  }
}

static int is_refusal(const byte *token) {
  byte any = 0;
  for (word i = 0; i < TOKEN_LENGTH; i++) any |= token[i];
  return any == 0;
}

/*
 * One hand-over. When there is nothing to pass, or passing it fails, the byte
 * goes out alone: lightningd then gives up that one peer, where it would
 * otherwise wait for ever.
 */
static long hand_over(struct unix_address *address, const byte *token) {
  long passed = is_refusal(token) ? -EMFILE : connect_to(address);
  long result = passed;
  if (passed >= 0) {
    result = write_all((int)passed, token, TOKEN_LENGTH);
    if (result == 0) result = send_byte(address, (int)passed);
    sys_close((int)passed);
  }
  if (result < 0) send_byte(address, -1);
  return result;
}

static void ignore_signals(void) {
  set_signal(SIGHUP, SIG_IGN);
  set_signal(SIGINT, SIG_IGN);
  set_signal(SIGTERM, SIG_IGN);
  set_signal(SIGUSR1, SIG_IGN);
  set_signal(SIGPIPE, SIG_IGN);
}

static void answer(long result) {
  byte code = (byte)-result;
  write_all(ANSWERS, &code, 1);
}

/*
 * Returns 0 if we can work, or a negative errno. Without a socket as fd 3 we
 * must not begin: our own next socket would take that number.
 */
static long prepare(const word *stack, struct unix_address *address) {
  struct unix_address name;
  u32 length = sizeof name;
  ignore_signals();
  close_from(FIRST_UNWANTED);
  if (stack[0] != 2) return -EINVAL;
  long result = set_address(address, (const char *)stack[2]);
  if (result < 0) return result;
  return syscall5(NR_getsockname, LIGHTNINGD, (word)&name, (word)&length, 0, 0);
}

void start(word *stack) {
  struct unix_address address;
  byte token[TOKEN_LENGTH];

  long ready = prepare(stack, &address);
  answer(ready);
  if (ready < 0) sys_exit(1);
  while (read_all(COMMANDS, token, TOKEN_LENGTH) == TOKEN_LENGTH)
    answer(hand_over(&address, token));
  leave(&address);
}
