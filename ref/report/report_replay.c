/* report_replay.c - see report_replay.h. */
#include "report/report_replay.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/tap_name.h"
#include "golden/run_case.h"
#include "io/file.h"
#include "model/replay_block.h"
#include "ops/ops.h"
#include "report/report_parts.h"

/* ---- which tap goes into which module ----------------------------------------------------------------- */

/* Before a key: SiLU of the numbers. A ResnetBlock2D shows its temb only after that. */
static const char after_silu[] = "silu ";

typedef struct {
    tap_sink_t sink;
    json_t
        *theirs;  /* a name of ours -> the entry of the candidate, where replay reads it as we do */
    json_t *seen; /* shape and hash of numbers -> the last tap of `theirs` that had them */
    json_t *source; /* NAME.in -> that tap; "silu NAME.in" -> the tap of which it is the SiLU */
} wires_t;

static char *key_of(const char *before, const real_t *x, shape_t shape) {
    char text[SHAPE_TEXT];
    unsigned long long hash = hash_bytes(x, shape_count(shape) * sizeof *x);
    return xasprintf("%s%s %llx", before, shape_text(text, shape), hash);
}

static void remember(wires_t *w, const char *before, const real_t *x, shape_t shape,
                     const char *name) {
    char *key = key_of(before, x, shape);
    json_object_set_new(w->seen, key, json_string(name));
    free(key);
}

static void look_up(wires_t *w, const char *before, const real_t *x, shape_t shape,
                    const char *name) {
    char *key = key_of(before, x, shape), *input = xasprintf("%s%s", before, name);
    json_object_set(w->source, input, json_object_get(w->seen, key));
    free(key);
    free(input);
}

/* What replay may be given as an input. The values of an attention over one key are also what comes out of
 * it, and the base of experts that are shut is also the layer's output: equal numbers there say nothing of
 * where they go. */
static bool is_source(const wires_t *w, const char *name) {
    return json_object_get(w->theirs, name) && !tap_name(name).is_mole && !text_ends(name, ".to_v");
}

static void see(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    wires_t *w = (wires_t *)self;
    size_t count = shape_count(view.shape);
    real_t *torch = xmalloc((count + 1) * sizeof *torch);
    view_to_torch(torch, x, view);
    if (tap_name_is_input(name)) {
        look_up(w, "", torch, view.shape, name);
        look_up(w, after_silu, torch, view.shape, name);
    } else if (is_source(w, name)) {
        remember(w, "", torch, view.shape, name);
        if (view.shape.ndim == 2) {
            silu(torch, torch, count);
            remember(w, after_silu, torch, view.shape, name);
        }
    }
    free(torch);
}

static int find_wires(wires_t *w, const golden_case_t *golden, const pipeline_t *pipeline,
                      err_t *err) {
    run_t run = {.matmul = MATMUL_BLAS, .conv = CONV_TILES, .form = MOLE_DIRECT, .sink = &w->sink};
    if (arena_create(&run.arena, 0, err)) return -1;
    int status = golden_execute(&run, golden, pipeline, err);
    arena_destroy(run.arena);
    return status;
}

/* ---- a command ---------------------------------------------------------------------------------------- */

/* As a shell reads it back. */
static char *quoted(const char *word) {
    const char *p = word;
    while (isalnum((unsigned char)*p) || (*p && strchr("_./:,+-", *p))) p++;
    if (*word && !*p) return xstrdup(word);
    char *out = xmalloc(4 * strlen(word) + 3), *to = out;
    *to++ = '\'';
    for (p = word; *p; p++) {
        if (*p == '\'') to = stpcpy(to, "'\\'");
        *to++ = *p;
    }
    stpcpy(to, "'");
    return out;
}

/* Adds option and word; a line with a word that cannot be shown as it is becomes NULL, and stays so. */
static void add_word(char **line, const char *option, const char *word) {
    if (!*line) return;
    char *seen = report_clean(word, CLEAN_SHOWN), *safe = quoted(word);
    char *longer = strcmp(seen, word) ? NULL : xasprintf("%s%s%s", *line, option, safe);
    free(seen);
    free(safe);
    free(*line);
    *line = longer;
}

/* What all commands share; NULL: there can be none. */
static char *common_words(const golden_case_t *golden, const char *candidate, err_t *err) {
    static const char *const key[] = {"folder", "tokenizer", "face", "hand", "gates"};
    static const char *const option[] = {" --model ", " --tokenizer ", " --face ", " --hand ",
                                         " --gates "};
    enum { FACE = 2, HAND, GATES, PATHS };
    bool allow, given[PATHS];
    json_node_t model;
    if (json_get_object(golden->root, "model", &model, err) ||
        json_get_bool_or(model, "allow_unused", false, &allow, err))
        return NULL;
    char *line = xstrdup("");
    for (int i = 0; i < PATHS; i++) {
        char *path = golden_case_path(golden, model, key[i]);
        given[i] = path != NULL;
        if (path) add_word(&line, option[i], path);
        free(path);
    }
    if ((given[FACE] || given[HAND]) && !given[GATES]) add_word(&line, " ", "--plain-lora");
    if (allow) add_word(&line, " ", "--allow-unused");
    add_word(&line, " --inputs ", candidate);
    return line;
}

typedef struct {
    const trace_file_t *candidate;
    wires_t wires;
} replays_t;

static void list_theirs(replays_t *r) {
    for (size_t i = 0; i < trace_file_count(r->candidate); i++) {
        const trace_entry_t *entry = trace_file_at(r->candidate, i);
        if (entry->alias && !trace_file_has_layout(r->candidate, i))
            json_object_set_new(r->wires.theirs, entry->alias, json_integer((json_int_t)i));
    }
}

/* The candidate's name for a tap of ours; NULL: not dumped as it is here. */
static const char *their_name(const replays_t *r, const char *ours) {
    json_t *index = ours ? json_object_get(r->wires.theirs, ours) : NULL;
    return index ? trace_file_at(r->candidate, (size_t)json_integer_value(index))->name : NULL;
}

/* The candidate's name of what goes into `layer` of `name`: dumped as such, or another's output. */
static const char *input_of(const replays_t *r, const char *name, const char *layer,
                            const char *before) {
    char *input = xasprintf("%s%s%s.in", before, name, layer);
    const char *found = their_name(r, input);
    if (!found) found = their_name(r, json_string_value(json_object_get(r->wires.source, input)));
    free(input);
    return found;
}

static const char *second_of(const replays_t *r, const char *name, const block_t *block) {
    return block->resnet ? input_of(r, name, ".time_emb_proj", after_silu)
                         : input_of(r, name, ".transformer_blocks.0.attn2.to_k", "");
}

/* The words of the inputs; NULL: replay cannot have them all. */
static char *input_words(const replays_t *r, const compare_row_t *row, const block_t *block) {
    const char *key = block ? block_second(block) : NULL, *first = input_of(r, row->name, "", "");
    const char *second = key ? second_of(r, row->name, block) : NULL;
    if (!first && block) first = input_of(r, row->name, block->resnet ? ".norm1" : ".norm", "");
    /* replay takes what stands before a '=' for a key */
    if (!first || strchr(first, '=') || (key && !second)) return NULL;
    char *line = xstrdup("");
    add_word(&line, " --input ", first);
    if (key) {
        char *pair = xasprintf("%s=%s", key, second);
        add_word(&line, " --input ", pair);
        free(pair);
    }
    add_word(&line, " --expect ", row->candidate_name);
    if (row->budget == BUDGET_F64) add_word(&line, " --precision ", "f64");
    return line;
}

/* Whether replay's limit and its reading of the tensor are right for this row. */
static bool is_fit(const replays_t *r, const compare_row_t *row) {
    return report_measured(row) && !row->is_input && !row->one_row && !row->statistic &&
           (row->budget == BUDGET_F32 || row->budget == BUDGET_F64) && their_name(r, row->name);
}

static json_t *row_value(const replays_t *r, const pipeline_t *pipeline, const compare_row_t *row,
                         size_t index) {
    const char *name = row->name + tap_step_length(row->name);
    if (!is_fit(r, row)) return NULL;
    const module_t *module = pipeline_module(pipeline, name);
    const block_t *block = module ? NULL : pipeline_block(pipeline, name);
    if (!module && !block) return NULL;
    char *inputs = input_words(r, row, block), *words = xstrdup("");
    add_word(&words, "", name);
    json_t *value = inputs && words ? json_pack("{s:I, s:s, s:s}", "index", (json_int_t)index,
                                                "module", words, "inputs", inputs)
                                    : NULL;
    free(inputs);
    free(words);
    return value;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

/* Whoever asked that the reference be not run has it not run for this either, and may lack the model. */
static bool was_run(const compare_result_t *result) {
    size_t i = 0;
    while (i < result->rows && !result->row[i].has_isolated) i++;
    return i < result->rows;
}

static bool can_replay(const compare_result_t *result, const golden_case_t *golden,
                       const trace_file_t *candidate) {
    return golden && candidate && was_run(result) && !golden->is_calls && !golden->deviations &&
           !result->statistics && file_exists(trace_file_path(candidate));
}

static int add_rows(json_t *rows, replays_t *r, const compare_result_t *result,
                    const golden_case_t *golden, err_t *err) {
    pipeline_t pipeline;
    if (golden_open_model(golden, &pipeline, err)) return -1;
    int status = find_wires(&r->wires, golden, &pipeline, err);
    for (size_t i = 0; !status && i < result->rows; i++) {
        json_t *value = row_value(r, &pipeline, &result->row[i], i);
        if (value) json_array_append_new(rows, value);
    }
    pipeline_close(&pipeline);
    return status;
}

json_t *report_replay(const compare_result_t *result, const golden_case_t *golden,
                      const trace_file_t *candidate, err_t *err) {
    json_t *rows = json_array();
    int status = 0;
    char *common = NULL;
    if (can_replay(result, golden, candidate)) {
        replays_t r = {candidate, {{see, true}, json_object(), json_object(), json_object()}};
        list_theirs(&r);
        *err = (err_t){""};
        common = common_words(golden, trace_file_path(candidate), err);
        status = common ? add_rows(rows, &r, result, golden, err) : *err->text ? -1 : 0;
        json_decref(r.wires.theirs);
        json_decref(r.wires.seen);
        json_decref(r.wires.source);
    }
    json_t *value = json_pack("{s:s, s:o}", "common", common ? common : "", "rows", rows);
    free(common);
    if (!status) return value;
    json_decref(value);
    return NULL;
}
