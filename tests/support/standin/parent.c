/*
 * parent: plays lightningd's operating-system side for tests and development.
 *
 *   parent <listener socket path> <program> [args...]
 *
 * It starts <program> the way lightningd starts its hsmd: fd 0 = status socket,
 * fd 3 = request socket, stdout, stderr and environment inherited, nothing
 * else open. Every stream is bridged to a stand-in that listens on <listener
 * socket path>, because the stand-in runs on a runtime that can neither make
 * socket pairs nor receive descriptors. For each stream we connect and send
 * eight bytes first: a kind, three zero bytes, a big-endian number.
 *
 *   kind  stream                                  number
 *   'p'   none, closed at once                    process id of the program
 *   's'   status: program -> stand-in             0
 *   'm'   master: requests and replies, both ways 0
 *   'c'   a client connection, both ways          1, 2, 3... in order
 *   'x'   none: a hand-over without descriptor    as for 'c'
 *   'e'   none: the program ended                 exit code, or 256 + signal
 *
 * On fd 3 we read exactly as lightningd does: four bytes of length, the body,
 * and after a frame of type 109 one byte with its control message. A program
 * that attaches the descriptor to anything else loses it here as well.
 *
 * Each direction of each stream is a process of its own, so that one that is
 * blocked never delays another; and each closes all but its own two
 * descriptors, or nobody would ever see an end of stream. We exit when the
 * program and all of these have ended.
 */
#include "../../../src/fdpass/syscalls.h"

enum { CLIENT_REPLY = 109 };
enum { HEADER_LENGTH = 4, FRAME_LIMIT = 1 << 27 };
enum { BUFFER_LENGTH = 65536 };
enum { PROGRAM_STATUS = 0, PROGRAM_MASTER = 3 };

/* A socket pair: what lightningd keeps, and what its hsmd gets. */
struct pair {
  int ours;
  int theirs;
};

static void complain(const char *text) {
  word length = 0;
  while (text[length] != '\0') length++;
  write_all(2, text, length);
}

__attribute__((noreturn)) static void fail(const char *text) {
  complain(text);
  sys_exit(70);
}

static long fork_process(void) {
  long pid = syscall5(NR_clone, SIGCHLD, 0, 0, 0, 0);
  if (pid < 0) fail("parent: cannot fork\n");
  return pid;
}

static void duplicate(int from, int to) {
  syscall5(NR_dup3, (word)from, (word)to, 0, 0, 0);
}

static void shut(int fd, int how) {
  syscall5(NR_shutdown, (word)fd, (word)how, 0, 0, 0);
}

static struct pair make_pair(void) {
  int ends[2];
  if (syscall5(NR_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, (word)ends, 0) < 0)
    fail("parent: cannot make a socket pair\n");
  return (struct pair){ends[0], ends[1]};
}

/* Connects to the stand-in and says what comes. Negative if it is gone. */
static long announce(const struct unix_address *standin, char kind, u32 number) {
  byte header[8] = {(byte)kind, 0, 0, 0, (byte)(number >> 24), (byte)(number >> 16),
                    (byte)(number >> 8), (byte)number};
  long fd = connect_to(standin);
  if (fd >= 0) write_all((int)fd, header, sizeof header);
  return fd;
}

static void announce_only(const struct unix_address *standin, char kind, u32 number) {
  long fd = announce(standin, kind, number);
  if (fd >= 0) sys_close((int)fd);
}

/* Copies until either side ends, then passes the end on. */
__attribute__((noreturn)) static void pump(int from, int to) {
  byte buffer[BUFFER_LENGTH];
  for (;;) {
    long count = sys_read(from, buffer, sizeof buffer);
    if (count == -EINTR) continue;
    if (count <= 0 || write_all(to, buffer, (word)count) < 0) break;
  }
  shut(to, SHUT_WR);
  sys_exit(0);
}

/*
 * Leaves open only the two descriptors that a bridging process needs, as 0 and
 * 1, and stderr. Everything we open comes after these three.
 */
static void keep_only(int from, int to) {
  duplicate(from, 0);
  duplicate(to, 1);
  close_from(3);
}

static void start_pump(int from, int to) {
  if (fork_process() != 0) return;
  keep_only(from, to);
  pump(0, 1);
}

/* Waits for every child to end. */
static void wait_for_all(void) {
  int status;
  for (;;) {
    long pid = syscall5(NR_wait4, (word)-1, (word)&status, 0, 0, 0);
    if (pid < 0 && pid != -EINTR) return;
  }
}

/* Takes the data byte after frame 109. Returns its descriptor, -1 if none came. */
static int receive_descriptor(int master) {
  byte data;
  struct io_vector vector = {&data, 1};
  struct descriptor_message attached;
  struct message message = {0, 0, &vector, 1, &attached, sizeof attached, 0};
  long count;
  do count = syscall5(NR_recvmsg, (word)master, (word)&message, MSG_CMSG_CLOEXEC, 0, 0);
  while (count == -EINTR);
  if (count != 1 || message.control_length < DESCRIPTOR_MESSAGE_LENGTH) return -1;
  if (attached.length != DESCRIPTOR_MESSAGE_LENGTH) return -1;
  if (attached.level != SOL_SOCKET || attached.type != SCM_RIGHTS) return -1;
  return attached.fd;
}

/* Bridges the client connection that the program has just handed over. */
static void accept_client(const struct unix_address *standin, int master, u32 number) {
  int client = receive_descriptor(master);
  if (client < 0) {
    announce_only(standin, 'x', number);
    return;
  }
  long bridge = announce(standin, 'c', number);
  if (bridge >= 0) {
    start_pump(client, (int)bridge);
    start_pump((int)bridge, client);
    sys_close((int)bridge);
  }
  sys_close(client);
}

/*
 * Reads one frame and forwards it; large bodies go in pieces. Returns the
 * type, or -1 at the end of either stream and for what lightningd would not
 * read either.
 */
static int forward_frame(int master, int bridge) {
  byte buffer[BUFFER_LENGTH];
  if (read_all(master, buffer, HEADER_LENGTH) < HEADER_LENGTH) return -1;
  u32 left = (u32)buffer[0] << 24 | (u32)buffer[1] << 16 |
             (u32)buffer[2] << 8 | buffer[3];
  int type = 0; /* a body below two bytes has none; 0 is no hsmd message */
  word used = HEADER_LENGTH;
  if (left >= FRAME_LIMIT) return -1;
  do {
    word piece = left < sizeof buffer - used ? left : sizeof buffer - used;
    if (read_all(master, buffer + used, piece) < piece) return -1;
    if (used == HEADER_LENGTH && piece >= 2) type = buffer[4] << 8 | buffer[5];
    if (write_all(bridge, buffer, used + piece) < 0) return -1;
    left -= (u32)piece;
    used = 0;
  } while (left > 0);
  return type;
}

/* The direction program -> stand-in of fd 3, as its own process. */
static void start_master(const struct unix_address *standin, int master, int bridge) {
  u32 clients = 0;
  if (fork_process() != 0) return;
  set_signal(SIGCHLD, SIG_IGN); /* the kernel reaps our pumps */
  keep_only(master, bridge);
  for (int type; (type = forward_frame(0, 1)) >= 0;)
    if (type == CLIENT_REPLY) accept_client(standin, 0, ++clients);
  shut(1, SHUT_WR);
  shut(0, SHUT_RD); /* a program that goes on writing shall learn of it */
  sys_close(0);
  sys_close(1);
  wait_for_all();
  sys_exit(0);
}

static void start_bridges(const struct unix_address *standin, int status, int master) {
  long status_bridge = announce(standin, 's', 0);
  long master_bridge = announce(standin, 'm', 0);
  if (status_bridge < 0 || master_bridge < 0) fail("parent: nobody listens\n");
  start_pump(status, (int)status_bridge);
  start_pump((int)master_bridge, master);
  start_master(standin, master, (int)master_bridge);
  sys_close((int)status_bridge);
  sys_close((int)master_bridge);
}

static long start_program(struct pair status, struct pair master, char **argv,
                          char **envp) {
  long pid = fork_process();
  if (pid != 0) return pid;
  set_signal(SIGPIPE, SIG_DFL);
  duplicate(status.theirs, PROGRAM_STATUS);
  duplicate(master.theirs, PROGRAM_MASTER);
  close_from(PROGRAM_MASTER + 1);
  syscall5(NR_execve, (word)argv[0], (word)argv, (word)envp, 0, 0);
  complain("parent: cannot execute the program\n");
  sys_exit(127);
}

/* Waits for the program; returns its exit code, or 256 + the signal. */
static u32 wait_for(long program) {
  int status = 0;
  for (;;) {
    long pid = syscall5(NR_wait4, (word)-1, (word)&status, 0, 0, 0);
    if (pid == program) break;
  }
  int signal = status & 0x7f;
  return signal != 0 ? 256 + (u32)signal : (u32)(status >> 8) & 0xff;
}

void start(word *stack) {
  int argc = (int)stack[0];
  char **argv = (char **)(stack + 1);
  char **envp = argv + argc + 1;
  struct unix_address standin;

  if (argc < 3 || set_address(&standin, argv[1]) < 0)
    fail("usage: parent <listener socket path> <program> [args...]\n");
  set_signal(SIGPIPE, SIG_IGN);
  set_signal(SIGCHLD, SIG_DFL);
  close_from(3);
  struct pair status = make_pair();
  struct pair master = make_pair();
  long program = start_program(status, master, argv + 2, envp);
  sys_close(status.theirs);
  sys_close(master.theirs);

  announce_only(&standin, 'p', (u32)program);
  start_bridges(&standin, status.ours, master.ours);
  sys_close(status.ours);
  sys_close(master.ours);
  announce_only(&standin, 'e', wait_for(program));
  wait_for_all();
  sys_exit(0);
}
