/* own_golden.c - see own_golden.h. */
#include "compare/own_golden.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/mole.h"
#include "compare/own_figures.h"
#include "compare/units.h"
#include "core/fmath.h"
#include "core/name_ids.h"
#include "golden/sha256.h"
#include "io/file.h"
#include "io/relative.h"
#include "ops/blas.h"
#include "trace/fingerprint.h"

typedef struct {
    const own_golden_t *what;
    comparison_t c;
    golden_case_t g;
    st_writer_t *writer;
    const char **tensor; /* (taps) the tensor that holds a tap; NULL: it was not asked for */
    double *last;        /* numbers of the tap before: a container's are often its last child's */
    size_t last_at, last_room;
    double *statistics, *values; /* (kept, 5), (kept, 32) of a fingerprint */
    size_t kept;
    char folder[PATH_MAX]; /* as the system has it */
} writing_t;

/* ---- f32_error: what roundings at every tap add up to ---------------------------------------------- */

static int find_cumulative(writing_t *w) {
    comparison_t *c = &w->c;
    c->result->budget = c->result->hidden = BUDGET_F32;
    for (size_t i = 0; i < c->result->rows; i++) c->result->row[i].budget = BUDGET_F32;
    units_of_case(c);
    if (units_own(c) || units_cumulative(c)) return -1;
    for (size_t i = 0; i < c->result->rows; i++) {
        golden_tap_t *tap = &w->g.tap[i]; /* without inputs rows are taps */
        const row_meta_t *m = &c->meta[i];
        tap->peer_rms = sqrt(m->moved + tap->isolated_rms * tap->isolated_rms);
        tap->peer_max = fmax(m->most_moved, tap->peer_rms);
    }
    return 0;
}

/* Where the case does not hold every tap, a tap by itself is all that lies between those it holds: noise of
 * the modules' own losses, with the truth on the taps that are kept (units.h). Nobody sees what goes into a
 * module then. */
static int join_stretches(writing_t *w) {
    comparison_t *c = &w->c;
    if (!w->what->filter) return 0;
    c->stretches = true;
    for (size_t i = 0; i < c->result->rows; i++) {
        c->meta[i].forced = name_matches(w->what->filter, c->result->row[i].name);
        c->result->row[i].inputs_known = false;
        w->g.tap[i].in_rms = NAN;
    }
    for (int naive = 0; naive < 2; naive++) {
        for (size_t i = 0; i < c->result->rows; i++)
            c->meta[i].own = naive ? w->g.tap[i].orders_rms : w->g.tap[i].isolated_rms;
        if (units_stretch(c)) return -1;
        for (size_t i = 0; i < c->result->rows; i++) {
            double *rms = naive ? &w->g.tap[i].orders_rms : &w->g.tap[i].isolated_rms;
            *rms = fmath_hypot(*rms, c->result->row[i].stretch);
        }
    }
    return 0;
}

/* ---- tensors --------------------------------------------------------------------------------------- */

static bool is_last(const writing_t *w, size_t at, size_t count) {
    return w->last_at != SIZE_MAX && w->tensor[w->last_at] &&
           shape_equal(w->c.result->row[w->last_at].shape, w->c.result->row[at].shape) &&
           memcmp(w->last, w->c.a, count * sizeof *w->last) == 0;
}

static int write_tensor(writing_t *w, size_t at, const char *name, shape_t shape) {
    size_t count = shape_count(shape);
    if (is_last(w, at, count)) {
        w->tensor[at] = w->tensor[w->last_at];
        return 0;
    }
    w->tensor[at] = w->c.result->row[at].name;
    if (count > w->last_room) {
        w->last_room = count;
        w->last = xrealloc(w->last, count * sizeof *w->last);
    }
    memcpy(w->last, w->c.a, count * sizeof *w->last);
    w->last_at = at;
    return st_writer_add(w->writer, name, DTYPE_F64, shape, w->c.a, w->c.err);
}

static void keep_fingerprint(writing_t *w, size_t at, const real_t *x, view_t view) {
    fingerprint_t f = fingerprint_of(x, view);
    double *s = w->statistics + w->kept * FINGERPRINT_STATISTICS;
    s[0] = f.mean, s[1] = f.deviation, s[2] = f.least, s[3] = f.most, s[4] = f.norm;
    memset(w->values + w->kept * FINGERPRINT_VALUES, 0, sizeof f.value);
    memcpy(w->values + w->kept * FINGERPRINT_VALUES, f.value, f.count * sizeof *f.value);
    w->tensor[at] = w->c.result->row[at].name;
    w->kept++;
}

static int write_tap(comparison_t *c, void *who, size_t at, const char *name, real_t *x,
                     view_t view) {
    writing_t *w = who;
    if (at == SIZE_MAX || w->tensor[at]) return 0;
    if (w->what->filter && !name_matches(w->what->filter, name)) return 0;
    if (w->what->fingerprint) return keep_fingerprint(w, at, x, view), 0;
    pass_get(c, c->a, x, view);
    return write_tensor(w, at, name, view.shape);
}

static int write_tables(writing_t *w) {
    if (!w->what->fingerprint) return 0;
    return st_writer_add(w->writer, "statistics", DTYPE_F64,
                         SHAPE2(w->kept, FINGERPRINT_STATISTICS), w->statistics, w->c.err) ||
                   st_writer_add(w->writer, "values", DTYPE_F64,
                                 SHAPE2(w->kept, FINGERPRINT_VALUES), w->values, w->c.err)
               ? -1
               : 0;
}

/* The inputs of one pass, as they came. */
static int write_inputs(writing_t *w) {
    const char *input;
    json_t *key;
    json_object_foreach(json_object_get(w->g.made, "inputs"), input, key) {
        const st_tensor_t *t =
            json_is_string(key) ? st_find(w->g.tensors, json_string_value(key)) : NULL;
        if (t && st_writer_add(w->writer, t->name, t->dtype, t->shape, t->data, w->c.err))
            return -1;
    }
    return 0;
}

static int write_tensors(writing_t *w) {
    size_t rows = w->c.result->rows;
    char *path = file_join(w->what->folder, "tensors.safetensors");
    int status = st_writer_open(&w->writer, path, w->c.err);
    free(path);
    if (status) return -1;
    w->tensor = xcalloc(rows + 1, sizeof *w->tensor);
    w->statistics = xcalloc(rows + 1, FINGERPRINT_STATISTICS * sizeof *w->statistics);
    w->values = xcalloc(rows + 1, FINGERPRINT_VALUES * sizeof *w->values);
    w->last_at = SIZE_MAX;
    status = write_inputs(w) || pass_run(&w->c, write_tap, w, false) || write_tables(w) ? -1 : 0;
    size_t taps = 0;
    for (size_t i = 0; i < rows; i++) taps += w->tensor[i] != NULL;
    if (!status && !taps)
        status = err_set(w->c.err, "no tap of %zu matches '%s'", rows, w->what->filter);
    if (!status) return st_writer_finish(w->writer, w->c.err);
    st_writer_abort(w->writer);
    return -1;
}

/* ---- the manifest ---------------------------------------------------------------------------------- */

/* A file or folder that the user named, from the case's folder: its links are followed as far as the folder
 * it is in. A formula stays. NULL and err: there is none. */
static char *name_from(const writing_t *w, const char *path, err_t *err) {
    char real[PATH_MAX];
    if (source_is_formula(path)) return xstrdup(path);
    if (!realpath(path, real)) return err_set(err, "%s: %s", path, strerror(errno)), NULL;
    return path_relative(w->folder, real);
}

static int add_hash(json_t *hashes, const writing_t *w, const char *file, err_t *err) {
    char text[SHA256_TEXT];
    char *name = name_from(w, file, err);
    int status = name ? 0 : -1;
    if (!status && !json_object_get(hashes, name) && !(status = sha256_file(text, file, err)))
        json_object_set_new(hashes, name, json_string(text));
    free(name);
    return status;
}

/* Of every file that weights came from. */
static int hash_weights(writing_t *w, json_t *hashes) {
    pipeline_component_t component[PIPELINE_COMPONENTS];
    size_t components = pipeline_components(&w->c.pipeline, component);
    name_ids_t seen = {0};
    int status = 0;
    for (size_t i = 0; !status && i < components; i++)
        for (size_t k = 0; !status && k < weights_count(component[i].weights); k++) {
            const char *file = weights_entry(component[i].weights, k).file;
            size_t before = seen.count;
            if (!file || !file_exists(file) || name_id(&seen, file) < before) continue;
            status = add_hash(hashes, w, file, w->c.err);
        }
    name_ids_free(&seen);
    return status;
}

/* The model's paths from the folder of the case, and the hashes of its files. */
static int move_model(writing_t *w) {
    static const char *const keys[] = {"folder", "tokenizer", "face", "hand", "gates"};
    json_t *model = json_object_get(w->g.made, "model"), *hashes = json_object();
    int status = hash_weights(w, hashes);
    for (size_t i = 0; !status && i < sizeof keys / sizeof *keys; i++) {
        const char *path = json_string_value(json_object_get(model, keys[i]));
        if (!path) continue;
        if (i >= 2 && !source_is_formula(path)) status = add_hash(hashes, w, path, w->c.err);
        char *name = status ? NULL : name_from(w, path, w->c.err);
        if (name)
            json_object_set_new(model, keys[i], json_string(name));
        else
            status = -1;
        free(name);
    }
    json_object_set_new(model, "sha256", hashes);
    return status;
}

/* Four digits, as the generator in Python writes them. */
static json_t *figure(double x) {
    char text[32];
    snprintf(text, sizeof text, "%.4g", x);
    return json_real(strtod(text, NULL));
}

static json_t *tap_of(const writing_t *w, size_t at) {
    const golden_tap_t *t = &w->g.tap[at];
    json_t *tap = json_object(), *shape = json_array();
    json_object_set_new(tap, "name", json_string(t->name));
    if (!w->what->fingerprint) json_object_set_new(tap, "tensor", json_string(w->tensor[at]));
    for (int i = 0; i < t->shape.ndim; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape.dim[i]));
    json_object_set_new(tap, "shape", shape);
    json_object_set_new(
        tap, "f32_error",
        json_pack("{s:o, s:o}", "max_abs", figure(t->peer_max), "rms", figure(t->peer_rms)));
    json_object_set_new(tap, "f32_isolated", figure(t->isolated_rms));
    json_object_set_new(tap, "f32_orders", figure(t->orders_rms));
    if (!isnan(t->in_rms)) json_object_set_new(tap, "f32_in", figure(t->in_rms));
    return tap;
}

static int describe_files(const writing_t *w, json_t *manifest) {
    char text[SHA256_TEXT];
    struct stat info;
    char *path = file_join(w->what->folder, "tensors.safetensors");
    int status = sha256_file(text, path, w->c.err);
    if (!status && stat(path, &info)) status = err_set(w->c.err, "%s: %s", path, strerror(errno));
    free(path);
    if (status) return -1;
    json_object_set_new(manifest, "files",
                        json_pack("{s:{s:s, s:I}}", "tensors.safetensors", "sha256", text, "bytes",
                                  (json_int_t)info.st_size));
    return 0;
}

static json_t *manifest_of(const writing_t *w) {
    json_t *m = json_object(), *taps = json_array();
    const char *about = w->what->about ? w->what->about : "Made by mole golden.";
    json_object_set_new(m, "format", json_string("mole-golden"));
    json_object_set_new(m, "version", json_integer(1));
    json_object_set_new(m, "name", json_string(w->what->name));
    json_object_set_new(m, "kind", json_string(w->what->fingerprint ? "fingerprint" : "run"));
    json_object_set_new(m, "about", json_string(about));
    json_object_set_new(m, "made_with",
                        json_pack("{s:s, s:s, s:s}", "mole", MOLE_VERSION, "numbers", REAL_NAME,
                                  "library", matmul_library()));
    json_object_set_new(m, "f32_figures", json_string("derived"));
    json_object_update(m, w->g.made);
    for (size_t i = 0; i < w->g.taps; i++)
        if (w->tensor[i]) json_array_append_new(taps, tap_of(w, i));
    json_object_set_new(m, "taps", taps);
    return m;
}

static int write_manifest(writing_t *w, size_t *taps) {
    if (move_model(w)) return -1;
    json_t *m = manifest_of(w);
    *taps = json_array_size(json_object_get(m, "taps"));
    char *path = file_join(w->what->folder, "manifest.json"), *text = NULL;
    out_file_t out;
    int status = describe_files(w, m);
    if (!status) text = json_dumps(m, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    if (!status) status = out_file_open(&out, path, "", w->c.err);
    if (!status) {
        status = out_file_write(&out, text, strlen(text), w->c.err) ||
                 out_file_write(&out, "\n", 1, w->c.err);
        if (status)
            out_file_abort(&out);
        else
            status = out_file_commit(&out, w->c.err);
    }
    free(text);
    free(path);
    json_decref(m);
    return status ? -1 : 0;
}

/* ---- the whole ------------------------------------------------------------------------------------- */

/* *made: the folder was not there. */
static int make_folder(writing_t *w, bool *made, err_t *err) {
    const char *folder = w->what->folder;
    static const char *const files[] = {"manifest.json", "tensors.safetensors"};
    *made = mkdir(folder, 0777) == 0;
    if (!*made && errno != EEXIST) return err_set(err, "%s: %s", folder, strerror(errno));
    for (size_t i = 0; i < 2; i++) {
        char *path = file_join(folder, files[i]);
        bool there = file_exists(path);
        free(path);
        if (there)
            return err_set(err,
                           "%s: holds a %s already; a case is not written over. Remove it, or name "
                           "another folder.",
                           folder, files[i]);
    }
    if (!realpath(folder, w->folder)) return err_set(err, "%s: %s", folder, strerror(errno));
    return 0;
}

static void leave_nothing(const writing_t *w, bool made) {
    char *path = file_join(w->what->folder, "tensors.safetensors");
    unlink(path);
    free(path);
    if (made) rmdir(w->what->folder);
}

static int write_case(writing_t *w, const own_case_t *own, size_t *taps) {
    if (own_taps(&w->c, own, w->what->surveyed, w->what->who)) return -1;
    pass_drop_inputs(&w->c);
    return find_cumulative(w) || join_stretches(w) || write_tensors(w) || write_manifest(w, taps)
               ? -1
               : 0;
}

int own_golden_write(const run_t *run, const own_case_t *own, const own_golden_t *golden,
                     size_t *taps, err_t *err) {
    compare_result_t result = {0};
    writing_t w = {.what = golden};
    bool made;
    if (own_case_open(&w.g, own, err)) return -1;
    w.c = (comparison_t){.run = run, .golden = &w.g, .own = &w.g, .result = &result, .err = err};
    int status = make_folder(&w, &made, err);
    if (!status) {
        status = write_case(&w, own, taps);
        if (status) leave_nothing(&w, made);
    } else if (made) {
        rmdir(golden->folder);
    }
    pass_close(&w.c);
    compare_free(&result);
    golden_case_close(&w.g);
    free(w.tensor);
    free(w.last);
    free(w.statistics);
    free(w.values);
    return status;
}
