/* report_sample.c - see report_sample.h. */
#include "report_sample.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

const char *const hostile_name[HOSTILE_NAMES] = {
    "<img src=x onerror=window.hacked=1>",
    "</script><script>window.hacked=2</script>",
    "<!--<script>",
    "]]><injected/>",
    "\"' onmouseover='window.hacked=3' x=\"&amp;&#0;",
    "unet.\xe2\x80\xaegnp.\xe2\x81\xa6rtl",               /* U+202E, U+2066 */
    "unet.\x1b[2J\x07\x01\x7f\xc2\x9b.ctl",               /* escape, bell, U+009B */
    "unet.\xff\xc0\xaf\xed\xa0\x80.bytes",                /* no UTF-8: overlong, surrogate */
    "unet.\xef\xbf\xbf\xe5\xb1\x82\xf0\x9f\x98\x80.wide", /* U+FFFF, wide characters */
};

static const char *const names[SAMPLE_ROWS] = {
    "unet.conv_in",
    "unet.down_blocks.0.resnets.0.norm1",
    "unet.down_blocks.0.resnets.0.conv1",
    "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k.mole.face.expert",
    "unet.down_blocks.0.resnets.0.time_emb_proj",
    "unet.down_blocks.0.resnets.0.norm2",
    "unet.mid_block.resnets.0",
    "unet.conv_out",
    "vae.decoder.conv_in",
    "step.001/latents",
};

static const diff_t usual = {.count = 8,
                             .max_abs = 0.0125,
                             .worst = 6,
                             .candidate_at = 1.5125,
                             .truth_at = 1.5,
                             .rms = 0.005,
                             .truth_max = 2.5,
                             .truth_rms = 1.25,
                             .storage_floor = 3e-8,
                             .cosine = 0.99999};

static compare_row_t usual_row(const char *name, row_verdict_t verdict, double ratio) {
    char *owned = xstrdup(name);
    compare_row_t row = {.name = owned,
                         .candidate_name = owned,
                         .shape = SHAPE2(2, 4),
                         .candidate_shape = SHAPE2(2, 4),
                         .candidate_dtype = DTYPE_F32,
                         .verdict = verdict,
                         .budget = BUDGET_F32,
                         .cumulative = usual,
                         .peer_rms = 1e-7,
                         .ratio = ratio,
                         .ulp_p99 = 3.5,
                         .limit = 16,
                         .origin = "times PyTorch's own float32 error, measured"};
    return row;
}

static void isolate(compare_row_t *row, double ratio) {
    row->has_isolated = row->inputs_known = true;
    row->isolated = usual;
    row->isolated.max_abs = 0.0025;
    row->isolated_ratio = ratio;
}

static void fill(compare_row_t *row) {
    static const row_verdict_t verdict[SAMPLE_ROWS] = {
        ROW_AGREES, ROW_DIFFERS,    ROW_INHERITED, ROW_SUSPICIOUS, ROW_MISSING,
        ROW_SHAPE,  ROW_NOT_FINITE, ROW_DIFFERS,   ROW_AGREES,     ROW_AGREES};
    static const double ratio[SAMPLE_ROWS] = {0.75, 60.2, 45, 2.25, 0, 0, INFINITY, 1e7, NAN, 0};
    for (int i = 0; i < SAMPLE_ROWS; i++) row[i] = usual_row(names[i], verdict[i], ratio[i]);
    isolate(&row[SAMPLE_CONV_IN], 0.5);
    isolate(&row[SAMPLE_NORM], 58.9);
    isolate(&row[SAMPLE_INHERITED], 0.8);
    isolate(&row[SAMPLE_SUSPICIOUS], 2);
    row[SAMPLE_CONV_IN].has_bound = row[SAMPLE_SUSPICIOUS].has_bound = true;
    row[SAMPLE_CONV_IN].bound_used = 0.31;
    row[SAMPLE_CONV_IN].typical_used = 0.5;
    row[SAMPLE_SUSPICIOUS].bound_used = 0.2;
    row[SAMPLE_SUSPICIOUS].typical_used = 3.5;
    strcpy(row[SAMPLE_NORM].cause.text, "epsilon 1e-06 instead of 1e-05 explains 99.8% of it");
    strcpy(row[SAMPLE_NORM].cause.kind, "epsilon");
    row[SAMPLE_MISSING].candidate_name = NULL;
    row[SAMPLE_SHAPE].candidate_shape = SHAPE2(4, 2);
    row[SAMPLE_NOT_FINITE].cumulative = (diff_t){.count = 8,
                                                 .max_abs = INFINITY,
                                                 .rms = INFINITY,
                                                 .worst = 6,
                                                 .nan_candidate = 1,
                                                 .candidate_at = NAN,
                                                 .truth_at = 0.5,
                                                 .truth_max = 1,
                                                 .truth_rms = 1};
    row[SAMPLE_EXACT].cumulative =
        (diff_t){.count = 8, .truth_max = 1, .truth_rms = 1, .cosine = 1};
    row[SAMPLE_EXACT].ulp_p99 = 0;
}

void report_sample(compare_result_t *result, size_t agreeing) {
    *result = (compare_result_t){.rows = SAMPLE_ROWS + agreeing,
                                 .culprit = SAMPLE_NORM,
                                 .agreeing = 3 + agreeing,
                                 .suspicious = 1,
                                 .differing = 4,
                                 .inherited = 1,
                                 .missing = 1,
                                 .compared = SAMPLE_ROWS - 1 + agreeing,
                                 .median_ratio = 2.25,
                                 .worst_ratio = INFINITY,
                                 .extras = 7,
                                 .budget = BUDGET_F32,
                                 .hidden = BUDGET_F32,
                                 .computed = BUDGET_F32,
                                 .detected = true,
                                 .stored = DTYPE_F32,
                                 .seen_median = NAN,
                                 .seen_worst = NAN,
                                 .reference = "golden/runs/unet-step",
                                 .candidate = "port.safetensors"};
    result->row = xcalloc(result->rows, sizeof *result->row);
    fill(result->row);
    for (size_t i = 0; i < agreeing; i++) {
        char *name = xasprintf("unet.filler.%zu", i);
        result->row[SAMPLE_ROWS + i] = usual_row(name, ROW_AGREES, 1 + (double)i / 1000);
        free(name);
    }
    result->extra = xcalloc(result->extras, sizeof *result->extra);
    for (size_t i = 0; i < result->extras; i++) result->extra[i] = xasprintf("port.extra.%zu", i);
    result->meant = xcalloc(result->extras, sizeof *result->meant);
    result->meant[0] = (compare_meant_t){result->row[0].name, true};
    result->meant[1] = (compare_meant_t){result->row[2].name, false};
    result->notes = 1;
    result->note = xcalloc(1, sizeof *result->note);
    result->note[0] = xstrdup("runs of 3 & 2 steps");
}

void report_sample_name(compare_result_t *result, size_t row, const char *name) {
    compare_row_t *r = &result->row[row];
    bool there = r->candidate_name != NULL;
    char *own = xstrdup(name);
    for (size_t i = 0; i < result->extras; i++)
        if (result->meant[i].name == r->name) result->meant[i].name = own;
    free((char *)r->name);
    r->name = own;
    r->candidate_name = there ? r->name : NULL;
}

void report_sample_hostile(compare_result_t *result, size_t first) {
    report_sample(result, 0);
    for (size_t i = 0; i < HOSTILE_NAMES; i++) report_sample_name(result, i, hostile_name[i]);
    for (size_t i = 0; i < result->extras; i++) {
        free(result->extra[i]);
        result->extra[i] = xstrdup(hostile_name[first + i]);
    }
}

int report_shell(const char *command) {
    int status = system(command); // NOLINT(cert-env33-c): the commands are the tests' own
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
