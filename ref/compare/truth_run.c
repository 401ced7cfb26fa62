/* truth_run.c - see truth_run.h. */
#include "compare/truth_run.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The run may be ahead by so many numbers, or by one tensor, and by so many tensors. */
enum { AHEAD = 1 << 20, TENSORS = 256 };

typedef struct {
    size_t row, count;
    double *numbers;
} made_t;

struct truth_run {
    tap_sink_t sink; /* first: a pointer to the sink is a pointer to the run */
    truth_of_t of;
    pthread_t thread;
    arena_t *arena;
    real_t *torch; /* scratch of the run's thread */
    size_t room;
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t changed;
    made_t made[TENSORS]; /* a ring: `queued` from `first` on */
    size_t first, queued, numbers;
    bool over, leave; /* the run has ended; nobody wants anything more */
    int status;
    err_t err;
};

static double *in_torch_order(truth_run_t *t, const real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    double *out = xmalloc((count + 1) * sizeof *out);
    if (count > t->room) {
        t->room = count;
        t->torch = xrealloc(t->torch, count * sizeof *t->torch);
    }
    view_to_torch(t->torch, x, view);
    for (size_t i = 0; i < count; i++) out[i] = (double)t->torch[i];
    return out;
}

static void come_by(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    truth_run_t *t = (truth_run_t *)self;
    size_t at = t->of.row(t->of.who, name, view.shape), count = shape_count(view.shape);
    if (at == SIZE_MAX) return;
    pthread_mutex_lock(&t->lock);
    while (!t->leave && t->queued && (t->queued == TENSORS || t->numbers + count > AHEAD))
        pthread_cond_wait(&t->changed, &t->lock);
    bool leave = t->leave;
    pthread_mutex_unlock(&t->lock);
    if (leave) return;
    double *numbers = in_torch_order(t, x, view);
    pthread_mutex_lock(&t->lock);
    t->made[(t->first + t->queued++) % TENSORS] = (made_t){at, count, numbers};
    t->numbers += count;
    if (t->queued == 1) pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

static void *go(void *who) {
    truth_run_t *t = who;
    run_t run = *t->of.run;
    run.arena = t->arena;
    run.sink = &t->sink;
    run.form = MOLE_DIRECT;
    int status = golden_execute(&run, t->of.golden, t->of.pipeline, &t->err);
    pthread_mutex_lock(&t->lock);
    t->status = status;
    t->over = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

int truth_run_start(truth_run_t **out, truth_of_t of, err_t *err) {
    truth_run_t *t = xcalloc(1, sizeof *t);
    t->sink = (tap_sink_t){come_by, true};
    t->of = of;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    int status = arena_create(&t->arena, 0, err);
    if (!status && pthread_create(&t->thread, NULL, go, t)) {
        arena_destroy(t->arena);
        status = err_set(err, "no thread can be started for the reference's second run");
    }
    if (status) {
        pthread_mutex_destroy(&t->lock);
        pthread_cond_destroy(&t->changed);
        free(t);
    } else {
        *out = t;
    }
    return status;
}

/* The oldest tensor goes; the run may wait for that. */
static void drop_first(truth_run_t *t) {
    made_t *made = &t->made[t->first];
    free(made->numbers);
    t->numbers -= made->count;
    t->first = (t->first + 1) % TENSORS;
    t->queued--;
    if (2 * t->numbers <= AHEAD) pthread_cond_signal(&t->changed);
}

/* The row's tensor, when it is there; NULL: the run ended without it. The lock is held. */
static const made_t *wait_for(truth_run_t *t, size_t row) {
    for (;;) {
        while (t->queued && t->made[t->first].row != row) drop_first(t);
        if (t->queued) return &t->made[t->first];
        if (t->over) return NULL;
        pthread_cond_wait(&t->changed, &t->lock);
    }
}

int truth_run_read(truth_run_t *t, size_t row, size_t first, size_t count, double *out,
                   err_t *err) {
    pthread_mutex_lock(&t->lock);
    const made_t *made = wait_for(t, row);
    if (made) memcpy(out, made->numbers + first, count * sizeof *out);
    pthread_mutex_unlock(&t->lock);
    if (made) return 0;
    if (t->status) return err_set(err, "%s", t->err.text);
    return err_set(err, "the reference comes by a tap no more that it came by before");
}

void truth_run_end(truth_run_t *t) {
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    t->leave = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    while (t->queued) drop_first(t);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->changed);
    arena_destroy(t->arena);
    free(t->torch);
    free(t);
}
