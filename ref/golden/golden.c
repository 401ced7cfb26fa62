/* golden.c - see golden.h. */
#include "golden/golden.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/op_table.h"
#include "golden/run_call.h"
#include "golden/sha256.h"
#include "io/file.h"
#include "io/source.h"
#include "trace/fingerprint.h"

/* The hash that was found is not told: a manifest of somebody else's would learn about files of ours. */
static int check_hash(const char *folder, const char *name, const char *expected, err_t *err) {
    char *path = xasprintf("%s/%s", folder, name), found[SHA256_TEXT];
    int status = sha256_file(found, path, err);
    if (!status && strcmp(found, expected) != 0)
        status = err_set(err,
                         "%s: its SHA-256 is not the one in the manifest. The file or the manifest "
                         "was changed; restore both from the same version.",
                         path);
    free(path);
    return status;
}

/* Files of the case lie in its folder; those of the model are named from there, like "../../models/x". */
static bool may_name(const char *key, const char *name) {
    char shown[SHOWN_TEXT];
    if (strcmp(key, "files") == 0) return file_name_is_plain(name);
    return *name && *name != '/' && strcmp(text_shown(shown, name), name) == 0;
}

/* Every file of an object {"name": {"sha256": ...}} or {"name": "sha256"}. */
static int check_hashes(const golden_case_t *g, const char *key, json_node_t node, err_t *err) {
    const json_t *files = json_object_get(node.value, key);
    const char *name;
    json_t *entry;
    if (!json_is_object(files))
        return json_node_error(node, key, err, "expected an object of files");
    json_object_foreach((json_t *)files, name, entry) {
        char shown[SHOWN_TEXT];
        if (!may_name(key, name))
            return json_node_error(node, key, err, "'%s' is no name of a file here",
                                   text_shown(shown, name));
        const json_t *hash = json_is_object(entry) ? json_object_get(entry, "sha256") : entry;
        if (!json_is_string(hash))
            return json_node_error(node, key, err, "no sha256 for '%s'", name);
        if (check_hash(g->folder, name, json_string_value(hash), err)) return -1;
    }
    return 0;
}

static int read_shape(json_node_t node, shape_t *shape, err_t *err) {
    int64_t dim[SHAPE_DIMS];
    size_t ndim;
    if (json_get_ints(node, "shape", 0, INT64_C(1) << 40, 0, SHAPE_DIMS, dim, &ndim, err))
        return -1;
    *shape = (shape_t){.ndim = (int)ndim};
    for (size_t i = 0; i < ndim; i++) shape->dim[i] = (size_t)dim[i];
    return 0;
}

/* An rms error: the fallback where it is not stated. */
static int read_rms(json_node_t node, const char *key, double fallback, double *rms, err_t *err) {
    if (json_get_double_or(node, key, fallback, rms, err)) return -1;
    if (*rms >= 0 || !json_node_has(node, key)) return 0;
    return json_node_error(node, key, err, "expected an rms error, 0 or more, found %g", *rms);
}

/* PyTorch's error with float32 timestep angles is mostly that of the angles; some cases also tell the
 * error of the network itself, the stricter measure. */
static int read_strict(json_node_t node, golden_tap_t *t, err_t *err) {
    json_node_t error;
    t->strict_rms = t->peer_rms;
    if (!json_node_has(node, "f32_error_exact_angles")) return 0;
    return json_get_object(node, "f32_error_exact_angles", &error, err) ||
           json_get_double(error, "rms", &t->strict_rms, err);
}

/* What a module loses by itself. Older manifests state less, and cases of single operations nothing. */
static int read_isolated(json_node_t node, golden_tap_t *t, err_t *err) {
    t->has_isolated = json_node_has(node, "f32_isolated");
    return read_rms(node, "f32_isolated", t->peer_rms, &t->isolated_rms, err) ||
           read_rms(node, "f32_orders", t->isolated_rms, &t->orders_rms, err) ||
           read_rms(node, "f32_in", NAN, &t->in_rms, err);
}

/* Row `index` of "statistics" (taps,5) and of "values" (taps,32). */
static int read_fingerprint(golden_case_t *g, size_t index, err_t *err) {
    static const char *const name[] = {"statistics", "values"};
    static const size_t width[] = {FINGERPRINT_STATISTICS, FINGERPRINT_VALUES};
    const double *row[2];
    for (int i = 0; i < 2; i++) {
        const st_tensor_t *table = st_find(g->tensors, name[i]);
        if (!table || table->dtype != DTYPE_F64 || (uintptr_t)table->data % sizeof(double) ||
            !shape_equal(table->shape, SHAPE2(g->taps, width[i])))
            return err_set(err, "%s: expected a tensor '%s' (%zu, %zu) of F64", st_path(g->tensors),
                           name[i], g->taps, width[i]);
        row[i] = (const double *)table->data + index * width[i];
    }
    if (shape_count(g->tap[index].shape) >> 32)
        return err_set(err, "%s: '%s' has 2^32 numbers or more", g->folder, g->tap[index].name);
    g->tap[index].statistics = row[0];
    g->tap[index].values = row[1];
    return 0;
}

static int read_tap(golden_case_t *g, golden_tap_t *t, json_node_t node, err_t *err) {
    json_node_t error;
    const char *tensor;
    if (json_get_name(node, "name", &t->name, err) ||
        json_get_string_or(node, "tensor", t->name, &tensor, err) ||
        read_shape(node, &t->shape, err) || json_get_object(node, "f32_error", &error, err) ||
        json_get_double(error, "rms", &t->peer_rms, err) ||
        json_get_double(error, "max_abs", &t->peer_max, err) || read_strict(node, t, err) ||
        read_isolated(node, t, err))
        return -1;
    if (g->fingerprint) return read_fingerprint(g, (size_t)(t - g->tap), err);
    t->truth = st_find(g->tensors, tensor);
    if (!t->truth)
        return json_node_error(node, "tensor", err, "%s has no tensor '%s'", st_path(g->tensors),
                               tensor);
    char stated[SHAPE_TEXT], found[SHAPE_TEXT];
    if (!shape_equal(t->truth->shape, t->shape))
        return json_node_error(node, "shape", err, "stated %s, tensor '%s' has %s",
                               shape_text(stated, t->shape), tensor,
                               shape_text(found, t->truth->shape));
    if (t->truth->dtype != DTYPE_F64)
        return json_node_error(node, "tensor", err, "'%s' is %s; truth is F64", tensor,
                               dtype_name(t->truth->dtype));
    return 0;
}

/* ---- the two kinds: taps of a run; outputs of calls, as taps ID.NAME --------------------------------- */

int golden_read_deviations(golden_case_t *g, err_t *err) {
    const char *name[DEVIATIONS];
    size_t count;
    json_node_t settings;
    if (!json_node_has(g->root, "settings")) return 0;
    if (json_get_object(g->root, "settings", &settings, err)) return -1;
    if (!json_node_has(settings, "deviations")) return 0;
    if (json_get_strings(settings, "deviations", 0, DEVIATIONS, name, &count, err)) return -1;
    for (size_t i = 0; i < count; i++)
        if (deviations_add(&g->deviations, name[i], err))
            return err_prefix(err, "%s: settings", g->folder);
    return 0;
}

static int read_run(golden_case_t *g, err_t *err) {
    json_node_t node;
    if (golden_read_deviations(g, err)) return -1;
    g->derived = json_node_has(g->root, "f32_figures");
    if (json_get_length(g->root, "taps", &g->taps, err)) return -1;
    g->tap = xcalloc(g->taps + 1, sizeof *g->tap);
    for (size_t i = 0; i < g->taps; i++) {
        if (json_get_item(g->root, "taps", i, &node, err) || read_tap(g, &g->tap[i], node, err))
            return -1;
        if (name_id(&g->ids, g->tap[i].name) != i)
            return json_node_error(node, "name", err, "'%s' stands for two taps", g->tap[i].name);
    }
    return 0;
}

static int read_outputs(golden_case_t *g, json_node_t call, err_t *err) {
    const char *id;
    size_t outputs;
    json_node_t node;
    if (json_get_name(call, "id", &id, err) || json_get_length(call, "outputs", &outputs, err))
        return -1;
    if (!*id || strlen(id) > CALL_NAME_MOST)
        return json_node_error(call, "id", err, "expected 1 to %d bytes", CALL_NAME_MOST);
    g->tap = xrealloc(g->tap, (g->taps + outputs + 1) * sizeof *g->tap);
    for (size_t i = 0; i < outputs; i++) {
        golden_tap_t *t = &g->tap[g->taps];
        *t = (golden_tap_t){0};
        if (json_get_item(call, "outputs", i, &node, err) || read_tap(g, t, node, err)) return -1;
        t->name = pool_printf(&g->names, "%s.%s", id, t->name);
        if (name_id(&g->ids, t->name) != g->taps)
            return json_node_error(call, "id", err, "'%s' stands for two outputs", t->name);
        g->taps++;
    }
    return 0;
}

static int read_calls(golden_case_t *g, err_t *err) {
    size_t calls;
    json_node_t call;
    if (json_get_length(g->root, "calls", &calls, err)) return -1;
    for (size_t i = 0; i < calls; i++)
        if (json_get_item(g->root, "calls", i, &call, err) ||
            (calls_apply(call) && read_outputs(g, call, err)))
            return -1;
    return 0;
}

static int read_manifest(golden_case_t *g, err_t *err) {
    const char *format, *kind;
    int64_t version;
    if (json_get_string(g->root, "format", &format, err)) return -1;
    if (strcmp(format, "mole-golden") != 0)
        return json_node_error(g->root, "format", err, "expected \"mole-golden\", found \"%s\"",
                               format);
    if (json_get_int(g->root, "version", 0, 1000000, &version, err)) return -1;
    if (version != 1)
        return json_node_error(g->root, "version", err,
                               "expected 1, found %lld: made for another version of this program",
                               (long long)version);
    if (json_get_name(g->root, "kind", &kind, err)) return -1;
    g->fingerprint = strcmp(kind, "fingerprint") == 0;
    g->is_calls = strcmp(kind, "calls") == 0;
    if (!g->fingerprint && !g->is_calls && strcmp(kind, "run") != 0)
        return json_node_error(g->root, "kind", err,
                               "expected \"run\", \"fingerprint\" or \"calls\", found \"%s\"",
                               kind);
    json_node_t model;
    if (json_get_name(g->root, "name", &g->name, err) || check_hashes(g, "files", g->root, err))
        return -1;
    if (g->is_calls) return g->component = "calls", 0;
    return json_get_name(g->root, "component", &g->component, err) ||
           json_get_object(g->root, "model", &model, err) || check_hashes(g, "sha256", model, err);
}

int golden_case_open(golden_case_t *g, const char *folder, err_t *err) {
    *g = (golden_case_t){.folder = xstrdup(folder)};
    char *manifest = xasprintf("%s/manifest.json", folder);
    char *tensors = xasprintf("%s/tensors.safetensors", folder);
    int status = json_file_open(&g->manifest, manifest, err);
    if (!status) {
        g->root = json_file_root(g->manifest);
        status = read_manifest(g, err) || st_open(&g->tensors, tensors, err);
    }
    if (!status) status = g->is_calls ? read_calls(g, err) : read_run(g, err);
    free(manifest);
    free(tensors);
    if (!status) return 0;
    golden_case_close(g);
    return -1;
}

/* A run whose model is a folder, or made by formula: that may take minutes, and is not run unasked. */
static void peek_model(const char *folder, const char *model, char reason[GOLDEN_REASON]) {
    char *path = source_path(folder, model), *index = file_join(path, "model_index.json");
    if (source_is_formula(model))
        snprintf(reason, GOLDEN_REASON, "a full-size fingerprint: name the folder itself");
    else if (!source_has(index))
        snprintf(reason, GOLDEN_REASON, "its model is no pipeline (model_index.json)");
    free(index);
    free(path);
}

int golden_case_peek(const char *folder, bool whole, char reason[GOLDEN_REASON], err_t *err) {
    json_file_t *file;
    json_node_t call;
    const char *kind, *op, *model;
    char *path = xasprintf("%s/manifest.json", folder);
    int status = json_file_open(&file, path, err);
    free(path);
    if (status) return -1;
    json_node_t root = json_file_root(file);
    reason[0] = '\0';
    status = json_get_name(root, "kind", &kind, err);
    if (!status && strcmp(kind, "calls") == 0) {
        status = json_get_item(root, "calls", 0, &call, err) || json_get_name(call, "op", &op, err);
        if (!status && !op_of(op)) snprintf(reason, GOLDEN_REASON, "calls of %.100s", op);
    } else if (!status && strcmp(kind, "run") != 0 && strcmp(kind, "fingerprint") != 0) {
        snprintf(reason, GOLDEN_REASON, "kind %.100s", kind);
    } else if (!status) {
        status = json_get_object(root, "model", &call, err) ||
                 json_get_name(call, "folder", &model, err);
        if (!status) peek_model(folder, model, reason);
        if (!*reason && whole && strcmp(kind, "fingerprint") == 0)
            snprintf(reason, GOLDEN_REASON, "a fingerprint holds no tensors to put in place");
    }
    json_file_close(file);
    return status ? -1 : 0;
}

void golden_case_close(golden_case_t *g) {
    if (g->tensors) st_close(g->tensors);
    if (g->manifest) json_file_close(g->manifest);
    json_decref(g->made);
    pool_free(&g->names);
    name_ids_free(&g->ids);
    free(g->tap);
    free(g->folder);
    *g = (golden_case_t){0};
}

const golden_tap_t *golden_case_find(const golden_case_t *g, const char *name) {
    size_t index = name_id_of(&g->ids, name);
    return index < g->taps ? &g->tap[index] : NULL;
}

char *golden_case_path(const golden_case_t *g, json_node_t node, const char *key) {
    const char *path = json_string_value(json_object_get(node.value, key));
    if (!path) return NULL;
    return g->own ? xstrdup(path) : source_path(g->folder, path);
}
