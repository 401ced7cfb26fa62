/* signals.c - see cli.h. What a signal handler calls is async-signal-safe (POSIX.1-2017, 2.4.3). */
#include <signal.h>
#include <unistd.h>

#include "cli/cli.h"
#include "io/file.h"

void cli_leave(int signal_number) {
    out_files_abandon(); /* NOLINT(bugprone-signal-handler,cert-sig30-c): calls unlink alone */
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* A mapped file has fewer pages than when it was opened, or its disk cannot read them. */
static void on_lost_pages(int signal_number) {
    static const char message[] = "mole: a file shrank, or could not be read, while it was in use: "
                                  "run again when nothing writes to "
                                  "the model's and the traces' files\n";
    (void)signal_number;
    out_files_abandon(); /* NOLINT(bugprone-signal-handler,cert-sig30-c): as above */
    ssize_t ignored = write(STDERR_FILENO, message, sizeof message - 1);
    (void)ignored;
    _exit(EXIT_INPUT);
}

/* Not where the signal is ignored already, as nohup does with SIGHUP. */
static void leave_on(int signal_number) {
    if (signal(signal_number, cli_leave) == SIG_IGN) signal(signal_number, SIG_IGN);
}

void cli_signals(void) {
    leave_on(SIGABRT); /* out of memory, a broken contract */
    leave_on(SIGHUP);
    leave_on(SIGINT);
    leave_on(SIGPIPE);
    leave_on(SIGTERM);
    leave_on(SIGXCPU);
    signal(SIGXFSZ, SIG_IGN); /* the write fails instead, and says so */
    signal(SIGBUS, on_lost_pages);
}
