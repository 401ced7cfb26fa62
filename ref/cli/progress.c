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
    /* A second Ctrl-C kills. NOLINTNEXTLINE(bugprone-signal-handler,cert-sig30-c): see signals.c */
    signal(signal_number, cli_leave);
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

void progress_start(progress_t *p, const char *label, bool quiet, const progress_list_t *list) {
    *p = (progress_t){.quiet = quiet, .start = clock_seconds(), .list = list};
    text_shown(p->label, label);
}

/* "45 s", "12 min 05 s", "3 h 20 min" */
static const char *duration(char text[32], double seconds) {
    long s = seconds > 0 ? (long)(seconds + 0.5) : 0;
    if (s < 60)
        snprintf(text, 32, "%ld s", s);
    else if (s < 3600)
        snprintf(text, 32, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(text, 32, "%ld h %02ld min", s / 3600, s % 3600 / 60);
    return text;
}

/* ", picture 3 of 40, 1 h 20 min left for all"; nothing for a single picture. */
static void print_list(const progress_t *p, size_t step, size_t steps, double now) {
    const progress_list_t *list = p->list;
    if (!list) return;
    fprintf(stderr, ", picture %zu of %zu", list->number, list->count);
    double done = list->done + list->now * (double)step / (double)steps;
    char left[32];
    if (done > 0)
        fprintf(stderr, ", %s left for all",
                duration(left, (now - list->start) / done * (list->work - done)));
}

/* [########----------------] step 12/50  0.83 s/step  32 s left */
static void print_bar(const progress_t *p, size_t step, size_t steps, double now) {
    enum { WIDTH = 30 };
    char bar[WIDTH + 1], left[32];
    size_t filled = steps ? step * WIDTH / steps : 0;
    memset(bar, '-', WIDTH);
    memset(bar, '#', filled);
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r\033[K%s [%s] step %zu/%zu", p->label, bar, step, steps);
    if (step) {
        double each = (now - p->start) / (double)step;
        fprintf(stderr, "  %.2f s/step  %s left", each,
                duration(left, each * (double)(steps - step)));
    }
    print_list(p, step, steps, now);
    fflush(stderr);
}

bool progress_step(void *who, size_t step, size_t steps) {
    progress_t *p = who;
    if (interrupted) return false;
    if (p->quiet) return true;
    double now = clock_seconds();
    if (isatty(STDERR_FILENO)) {
        print_bar(p, step, steps, now);
    } else if (step && (now - p->last > 10 || step == steps)) { /* a log: a line now and then */
        double each = (now - p->start) / (double)step;
        char left[32];
        fprintf(stderr, "%s: step %zu/%zu, %.2f s/step, %s left", p->label, step, steps, each,
                duration(left, each * (double)(steps - step)));
        print_list(p, step, steps, now);
        fputc('\n', stderr);
        p->last = now;
    } else if (!step) {
        p->last = now;
    }
    return true;
}

void progress_end(progress_t *p) {
    if (!p->quiet && isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K");
}
