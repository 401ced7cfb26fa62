/* causes_activation.c - activations by their input's tap, GEGLU, the timestep's embedding. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes/causes_hunt.h"
#include "core/fmath.h"

static double none(double x) {
    return x;
}

static double relu(double x) {
    return x > 0 ? x : 0;
}

static double silu_of(double x) {
    return x * fmath_sigmoid(x);
}

static double gelu_of(double x) {
    return x / 2 * (1 + fmath_erf(x * 0.7071067811865476));
}

/* 0.5 (1 + tanh z) = sigmoid(2 z), z = sqrt(2 / pi) (x + 0.044715 x^3) */
static double tanh_gelu(double x) {
    return x * fmath_sigmoid(2 * 0.7978845608028654 * (x + 0.044715 * x * x * x));
}

static double quick_gelu_of(double x) {
    return x * fmath_sigmoid(1.702 * x);
}

const cause_act_t cause_acts[CAUSE_ACTS] = {{none, "no activation"},
                                            {silu_of, "SiLU"},
                                            {gelu_of, "erf GELU"},
                                            {tanh_gelu, "the tanh approximation of GELU"},
                                            {quick_gelu_of, "quick GELU"},
                                            {relu, "ReLU"},
                                            {fmath_sigmoid, "the sigmoid alone"}};

/* What the reference uses: the one that gives the expected numbers. */
static int right_act(const hunt_t *h, const double *x) {
    for (int a = 0; a < CAUSE_ACTS; a++) {
        double sum = 0;
        for (size_t i = 0; i < h->c->count; i++) {
            double d = cause_acts[a].function(x[i]) - h->c->expected[i];
            sum += d * d;
        }
        if (sqrt(sum / (double)h->c->count) <= h->tolerance) return a;
    }
    return -1;
}

static void try_acts(hunt_t *h, const double *x) {
    int right = right_act(h, x);
    double *guess = hunt_doubles(h, h->c->count);
    for (int a = 0; a < CAUSE_ACTS && right >= 0; a++) {
        if (a == right) continue;
        for (size_t i = 0; i < h->c->count; i++) guess[i] = cause_acts[a].function(x[i]);
        hunt_try(h, guess, "activation", "%s gives your numbers; it should be %s",
                 cause_acts[a].name, cause_acts[right].name);
    }
    for (size_t i = 0; i < h->c->count && right >= 0; i++)
        guess[i] = cause_acts[right].function(h->c->expected[i]);
    if (right >= 0) hunt_try(h, guess, "activation", "%s is applied twice", cause_acts[right].name);
}

/* x (M,2N): value and gate. interleaved: value and gate take turns. */
static void try_geglu(hunt_t *h, const double *x, size_t M, size_t N) {
    double *guess = hunt_doubles(h, h->c->count);
    for (size_t i = 0; i < M * N; i++)
        guess[i] = x[i / N * 2 * N + i % N] * gelu_of(x[i / N * 2 * N + N + i % N]);
    if (!hunt_same(h, guess, h->c->expected, M * N)) return;
    for (int a = 0; a < CAUSE_ACTS; a++)
        for (int way = 0; way < 4; way++) { /* 1: halves swapped; 2: interleaved */
            bool swapped = way & 1, interleaved = way & 2;
            if (cause_acts[a].function == gelu_of && way == 0) continue;
            for (size_t i = 0; i < M * N; i++) {
                const double *row = x + i / N * 2 * N;
                double first = interleaved ? row[2 * (i % N)] : row[i % N];
                double second = interleaved ? row[2 * (i % N) + 1] : row[N + i % N];
                double value = swapped ? second : first, gate = swapped ? first : second;
                guess[i] = value * cause_acts[a].function(gate);
            }
            bool erf = cause_acts[a].function == gelu_of;
            hunt_try(h, guess, way ? "swapped-halves" : "activation", "GEGLU: %s%s%s%s",
                     swapped ? "the first part is taken for the gate; it is the value" : "",
                     interleaved ? (swapped ? ", and value and gate take turns; they are two halves"
                                            : "value and gate take turns; they are two halves")
                                 : "",
                     erf ? "" : (way ? "; and the gate goes through " : "the gate goes through "),
                     erf ? "" : cause_acts[a].name);
        }
}

void cause_activation(hunt_t *h) {
    static const char *const pairs[][2] = {{".activation_fn", ".fc1"},
                                           {"time_embedding.act", "time_embedding.linear_1"},
                                           {".conv_act", ".conv_norm_out"},
                                           {".ff.net.0", ".ff.net.0.proj"}};
    shape_t shape = SHAPE0();
    const double *x = NULL;
    if (*h->part) return;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && !x; i++)
        x = hunt_neighbour(h, pairs[i][0], pairs[i][1], &shape);
    if (!x) return;
    size_t count = shape_count(shape), N = h->c->shape.dim[h->c->shape.ndim - 1];
    if (count == h->c->count)
        try_acts(h, x);
    else if (count == 2 * h->c->count && shape.dim[shape.ndim - 1] == 2 * N)
        try_geglu(h, x, h->c->count / N, N);
}

/* ---- the timestep ---------------------------------------------------------------------------- */

void hunt_embed_time(double *out, size_t count, size_t dim, time_way_t way) {
    double half = (double)(dim / 2);
    REQUIRE(dim >= 2, "hunt_embed_time: %zu numbers for a timestep", dim);
    for (size_t i = 0; i < count; i++) {
        size_t j = i % dim, k = j % (dim / 2);
        double angle = way.t * fmath_exp(-fmath_log(way.period) * (double)k / (half - way.shift));
        bool cosine = (j < dim / 2) == way.flip;
        out[i] = cosine ? fmath_cos(angle) : fmath_sin(angle);
    }
}

static const double *embed(hunt_t *h, time_way_t way) {
    double *out = hunt_doubles(h, h->c->count);
    hunt_embed_time(out, h->c->count, h->c->count / h->c->shape.dim[0], way);
    return out;
}

static double rms_to(const hunt_t *h, const double *guess, const double *tensor) {
    double sum = 0;
    for (size_t i = 0; i < h->c->count; i++) sum += (guess[i] - tensor[i]) * (guess[i] - tensor[i]);
    return sqrt(sum / (double)h->c->count);
}

/* The whole timestep in 0 .. 1000 whose embedding `tensor` is; -1 when there is none. */
static int timestep_of(hunt_t *h, const double *tensor, time_way_t way) {
    int best = -1;
    double least = 1e-3 * h->scale; /* other whole timesteps are further away */
    for (int t = 0; t <= 1000; t++) {
        way.t = t;
        double rms = rms_to(h, embed(h, way), tensor);
        if (rms < least) least = rms, best = t;
    }
    return best;
}

void cause_time_proj(hunt_t *h) {
    size_t dim = h->c->shape.ndim == 2 ? h->c->shape.dim[1] : 0;
    if (!text_ends(h->name, "time_proj") || dim < 4 || dim % 2) return;
    time_way_t right = {0, 0, 10000, true};
    int t = -1;
    for (int way = 0; way < 4 && t < 0; way++) {
        right.flip = way % 2 == 0;
        right.shift = way / 2;
        t = timestep_of(h, h->c->expected, right);
    }
    if (t < 0) return;
    right.t = t;
    time_way_t way = right;
    way.shift = 1 - right.shift;
    hunt_try(h, embed(h, way), "shift",
             "frequencies divide by half - %g; it should be half - %g (downscale_freq_shift)",
             way.shift, right.shift);
    way = right, way.period = 1000;
    hunt_try(h, embed(h, way), "time", "max_period is 1000; it should be 10000");
    way = right, way.t = t / 1000.0;
    hunt_try(h, embed(h, way), "time", "the timestep is divided by 1000 (%g for %d)", way.t, t);
    way = right, way.t = t * 3.14159265358979323846 / 180;
    hunt_try(h, embed(h, way), "time", "the angles are taken for degrees");
    int other = timestep_of(h, h->c->candidate, right);
    way = right, way.t = other;
    if (other >= 0 && other != t)
        hunt_try(h, embed(h, way), "schedule",
                 "this is the embedding of timestep %d; expected %d%s", other, t,
                 other == t - 1 || other == t + 1 ? ", as with another steps_offset" : "");
}

/* ---- XL's six numbers ------------------------------------------------------------------------ */

enum { LARGEST_NUMBER = 16384 }; /* of a picture's sizes and corners */

/* out (dim) = the sinusoid of n; without shift, as XL has it. */
static void embed_number(double *out, double n, size_t dim, bool flip) {
    hunt_embed_time(out, dim, dim, (time_way_t){n, 0, 10000, flip});
}

int hunt_number_of(const double *row, size_t dim, bool flip, double *scratch) {
    for (int n = 0; n <= LARGEST_NUMBER; n++) {
        double worst = 0;
        embed_number(scratch, n, dim, flip);
        for (size_t j = 0; j < dim; j++) worst = fmax(worst, fabs(scratch[j] - row[j]));
        if (worst < 1e-3) return n; /* other whole numbers are further away */
    }
    return -1;
}

/* The numbers whose sinusoids the rows of a tensor are; NULL: some are none's. */
static int *numbers_of(hunt_t *h, const double *tensor, bool flip) {
    size_t rows = h->c->shape.dim[0], dim = h->c->count / rows;
    double *scratch = hunt_doubles(h, dim);
    int *n = (int *)hunt_doubles(h, rows);
    for (size_t r = 0; r < rows; r++)
        if ((n[r] = hunt_number_of(tensor + r * dim, dim, flip, scratch)) < 0) return NULL;
    return n;
}

static void try_rounded(hunt_t *h, const int *n, bool flip, int bits, const char *type) {
    size_t rows = h->c->shape.dim[0], dim = h->c->count / rows, first = rows;
    double *guess = hunt_doubles(h, h->c->count);
    for (size_t r = rows; r-- > 0;) {
        double m = cause_round(n[r], bits, -126);
        embed_number(guess + r * dim, m, dim, flip);
        if (m != n[r]) first = r;
    }
    if (first < rows)
        hunt_try(
            h, guess, "time",
            "the six numbers (sizes and corner) are rounded to %s before they are embedded: %d "
            "becomes %g",
            type, n[first], cause_round(n[first], bits, -126));
}

/* original height, width, crop top, left, target height, width: which stands where. */
static void try_orders(hunt_t *h, const int *n, bool flip) {
    static const int pairs[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const char *const names[] = {"original", "crop", "target"};
    size_t rows = h->c->shape.dim[0], dim = h->c->count / rows;
    double *guess = hunt_doubles(h, h->c->count);
    for (int way = 1; way < 12; way++) {
        const int *pair = pairs[way / 2];
        bool turned = way % 2;
        for (size_t r = 0; r < rows; r++) {
            size_t at = r % 6,
                   from = r - at + (size_t)(2 * pair[at / 2]) + (turned ? 1 - at % 2 : at % 2);
            embed_number(guess + r * dim, n[from], dim, flip);
        }
        if (way == 1)
            hunt_try(
                h, guess, "swapped-halves",
                "of each pair of the six numbers the width (left) stands first; the height (top) does");
        else
            hunt_try(
                h, guess, "swapped-halves",
                "the six numbers stand in the order %s, %s, %s%s; it should be original, crop, target, "
                "each height (top) first",
                names[pair[0]], names[pair[1]], names[pair[2]],
                turned ? ", width (left) first" : "");
    }
}

/* Whatever they are. */
static void try_other_numbers(hunt_t *h, const int *n, bool flip) {
    size_t rows = h->c->shape.dim[0], dim = h->c->count / rows, used = 0;
    const int *m = numbers_of(h, h->c->candidate, flip);
    double *guess = hunt_doubles(h, h->c->count);
    char text[160] = "";
    if (!m) return;
    for (size_t r = 0; r < rows; r++) {
        embed_number(guess + r * dim, m[r], dim, flip);
        if (m[r] != n[r] && used < sizeof text - 48)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%d for %d",
                                     used ? ", " : "", m[r], n[r]);
    }
    hunt_is(h, guess, "time", "of the numbers for sizes and corner some are others: %s", text);
}

void cause_added_numbers(hunt_t *h) {
    if (!text_ends(h->name, "add_time_proj") || h->c->shape.ndim != 2 || h->c->shape.dim[1] % 2)
        return;
    for (int flip = 1; flip >= 0; flip--) {
        const int *n = numbers_of(h, h->c->expected, flip);
        if (!n) continue;
        try_rounded(h, n, flip, 8, "bfloat16");
        try_rounded(h, n, flip, 11, "float16");
        if (h->c->shape.dim[0] % 6 == 0) try_orders(h, n, flip);
        if (!h->best.accepted) try_other_numbers(h, n, flip);
        return;
    }
}
