/* progress.c - how far a long run is, on stderr; and what Ctrl-C does to it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
    interrupted = 1;
    signal(signal_number, SIG_DFL); /* a second Ctrl-C kills */
}

void progress_catch_interrupt(void) {
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    signal(SIGHUP, on_interrupt);
    signal(SIGPIPE, SIG_IGN);
}

bool progress_interrupted(void) {
    return interrupted != 0;
}

double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_start(progress_t *p, const char *label, bool quiet) {
    *p = (progress_t){.quiet = quiet, .label = label, .start = clock_seconds()};
}

/* [########----------------] step 12/50  0.83 s/step  32 s left */
static void print_bar(const progress_t *p, size_t step, size_t steps, double each, double left) {
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    size_t filled = steps ? step * WIDTH / steps : 0;
    memset(bar, '-', WIDTH);
    memset(bar, '#', filled);
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r\033[K%s [%s] step %zu/%zu", p->label, bar, step, steps);
    if (step) fprintf(stderr, "  %.2f s/step  %.0f s left", each, left);
    fflush(stderr);
}

bool progress_step(void *who, size_t step, size_t steps) {
    progress_t *p = who;
    if (interrupted) return false;
    if (p->quiet) return true;
    double now = clock_seconds(), spent = now - p->start;
    double each = step ? spent / (double)step : 0, left = each * (double)(steps - step);
    if (isatty(STDERR_FILENO)) {
        print_bar(p, step, steps, each, left);
    } else if (step && (now - p->last > 10 || step == steps)) { /* a log: a line now and then */
        fprintf(stderr, "%s: step %zu/%zu, %.2f s/step, %.0f s left\n", p->label, step, steps, each,
                left);
        p->last = now;
    } else if (!step) {
        p->last = now;
    }
    return true;
}

void progress_end(progress_t *p) {
    if (!p->quiet && isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K");
}
