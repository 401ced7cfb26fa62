/* truth_run.c - see truth_run.h. */
#include "compare/truth_run.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct truth_run {
    tap_sink_t sink; /* first: a pointer to the sink is a pointer to the run */
    const comparison_t *c;
    pthread_t thread;
    sem_t go, halted;
    size_t wanted, held; /* rows; held: whose numbers are here */
    bool over, leave;    /* the run has ended; nobody wants anything more */
    double *numbers;
    real_t *torch;
    size_t room;
    arena_t *arena;
    int status;
    err_t err;
};

static void hold(truth_run_t *t, const real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    if (count > t->room) {
        t->room = count;
        t->numbers = xrealloc(t->numbers, count * sizeof *t->numbers);
        t->torch = xrealloc(t->torch, count * sizeof *t->torch);
    }
    view_to_torch(t->torch, x, view);
    for (size_t i = 0; i < count; i++) t->numbers[i] = (double)t->torch[i];
}

static void come_by(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    truth_run_t *t = (truth_run_t *)self;
    if (t->leave) return;
    size_t at = pass_find_row(t->c, name);
    if (at == SIZE_MAX || at != t->wanted || t->held == at) return;
    if (!shape_equal(t->c->result->row[at].shape, view.shape)) return;
    hold(t, x, view);
    t->held = at;
    sem_post(&t->halted);
    sem_wait(&t->go);
}

static void *go(void *who) {
    truth_run_t *t = who;
    sem_wait(&t->go);
    run_t run = *t->c->run;
    run.arena = t->arena;
    run.sink = &t->sink;
    run.form = MOLE_DIRECT;
    if (!t->leave) t->status = golden_execute(&run, t->c->golden, &t->c->pipeline, &t->err);
    t->over = true;
    sem_post(&t->halted);
    return NULL;
}

int truth_run_start(truth_run_t **out, const comparison_t *c, err_t *err) {
    truth_run_t *t = xcalloc(1, sizeof *t);
    *t = (truth_run_t){.sink = {come_by, true}, .c = c, .wanted = SIZE_MAX, .held = SIZE_MAX};
    sem_init(&t->go, 0, 0);
    sem_init(&t->halted, 0, 0);
    int status = arena_create(&t->arena, 0, err);
    if (!status && pthread_create(&t->thread, NULL, go, t)) {
        arena_destroy(t->arena);
        status = err_set(err, "no thread can be started for the reference's second run");
    }
    if (status)
        free(t);
    else
        *out = t;
    return status;
}

int truth_run_read(truth_run_t *t, size_t row, size_t first, size_t count, double *out, err_t *err) {
    if (t->held != row && !t->over) {
        t->wanted = row;
        sem_post(&t->go);
        sem_wait(&t->halted);
    }
    if (t->status) return err_set(err, "%s", t->err.text);
    if (t->held != row)
        return err_set(err, "the reference comes by '%s' no more", t->c->result->row[row].name);
    memcpy(out, t->numbers + first, count * sizeof *out);
    return 0;
}

void truth_run_end(truth_run_t *t) {
    if (!t) return;
    t->leave = true;
    sem_post(&t->go);
    pthread_join(t->thread, NULL);
    sem_destroy(&t->go);
    sem_destroy(&t->halted);
    arena_destroy(t->arena);
    free(t->numbers);
    free(t->torch);
    free(t);
}

