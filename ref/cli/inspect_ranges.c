/* inspect_ranges.c - mole inspect --ranges: how large and how small the numbers of a trace are. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "cli/cli.h"
#include "trace/ranges.h"

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_int_t integer(size_t value) {
    return (json_int_t)value;
}

static json_t *fit_json(const range_fit_t *fit) {
    return json_pack("{s:I, s:I, s:I}", "beyond", integer(fit->beyond), "below_normal",
                     integer(fit->below), "lost", integer(fit->lost));
}

static json_t *tap_json(const trace_entry_t *entry, const range_t *r) {
    json_t *shape = json_array();
    for (int i = 0; i < entry->shape.ndim; i++)
        json_array_append_new(shape, json_integer(integer(entry->shape.dim[i])));
    return json_pack("{s:s, s:s, s:o, s:I, s:f, s:f, s:f, s:I, s:I, s:I, s:o, s:o}", "tap",
                     entry->name, "dtype", dtype_name(entry->dtype), "shape", shape, "numbers",
                     integer(r->count), "max_abs", r->max_abs, "rms", r->rms, "min_abs", r->min_abs,
                     "zeros", integer(r->zeros), "nan", integer(r->nan), "inf", integer(r->inf),
                     "f16", fit_json(&r->f16), "bf16", fit_json(&r->bf16));
}

static json_t *skipped_json(const trace_file_t *trace) {
    json_t *list = json_array();
    for (size_t i = 0; i < trace_file_skips(trace); i++) {
        const trace_skip_t *skip = trace_file_skipped(trace, i);
        json_array_append_new(list,
                              json_pack("{s:s, s:s}", "name", skip->name, "reason", skip->reason));
    }
    return list;
}

static void print_json(const trace_file_t *trace, const ranges_t *ranges) {
    const range_summary_t *s = &ranges->summary;
    json_t *list = json_array();
    for (size_t i = 0; i < s->taps; i++)
        json_array_append_new(list, tap_json(trace_file_at(trace, i), &ranges->tap[i]));
    json_t *headroom = isfinite(s->headroom) ? json_real(s->headroom) : json_null();
    json_t *summary = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:o}", "not_finite", integer(s->not_finite),
        "beyond_f16", integer(s->beyond_f16), "square_beyond_f16", integer(s->square_f16),
        "lost_in_f16", integer(s->lost_f16), "beyond_bf16", integer(s->beyond_bf16), "lost_in_bf16",
        integer(s->lost_bf16), "largest", trace_file_at(trace, s->largest)->name, "max_abs",
        ranges->tap[s->largest].max_abs, "headroom_f16", headroom);
    json_t *all = json_pack("{s:s, s:I, s:o, s:o, s:o}", "trace", trace_file_path(trace), "taps",
                            integer(s->taps), "summary", summary, "skipped", skipped_json(trace),
                            "ranges", list);
    json_dumpf(all, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    printf("\n");
    json_decref(all);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* A share of the numbers in seven columns; a dot for none, so that what is there stands out. */
static void print_share(size_t part, size_t count) {
    double percent = 100 * (double)part / (double)count;
    if (part == 0)
        printf(" %7s", ".");
    else if (percent < 0.01)
        printf(" %7s", "<0.01%");
    else
        printf(" %6.2f%%", percent);
}

static void print_count(size_t count) {
    if (count)
        printf(" %6zu", count);
    else
        printf(" %6s", ".");
}

static void print_taps(const trace_file_t *trace, const ranges_t *ranges) {
    printf("%10s %10s %10s %7s %7s %7s %7s %7s %6s %6s %9s  tap\n", "max |x|", "rms", "min > 0",
           ">f16", "<f16", "f16=0", ">bf16", "<bf16", "NaN", "Inf", "numbers");
    for (size_t i = 0; i < ranges->summary.taps; i++) {
        const range_t *r = &ranges->tap[i];
        printf("%10.3e %10.3e %10.3e", r->max_abs, r->rms, r->min_abs);
        print_share(r->f16.beyond, r->count);
        print_share(r->f16.below, r->count);
        print_share(r->f16.lost, r->count);
        print_share(r->bf16.beyond, r->count);
        print_share(r->bf16.below, r->count);
        print_count(r->nan);
        print_count(r->inf);
        printf(" %9zu  %s\n", r->count, trace_file_at(trace, i)->name);
    }
}

/* The first few taps beyond f16, in the order of execution: where a port would break first. */
static void print_beyond(const trace_file_t *trace, const ranges_t *ranges) {
    enum { NAMED = 10 };
    size_t named = 0;
    for (size_t i = 0; i < ranges->summary.taps; i++) {
        if (!ranges->tap[i].f16.beyond) continue;
        if (named++ == NAMED) {
            printf("    ... (%zu in all)\n", ranges->summary.beyond_f16);
            return;
        }
        printf("    %.3e  %s\n", ranges->tap[i].max_abs, trace_file_at(trace, i)->name);
    }
}

static void print_summary(const trace_file_t *trace, const ranges_t *ranges) {
    const range_summary_t *s = &ranges->summary;
    printf("\n");
    cli_print("%s: %zu taps", trace_file_path(trace), s->taps);
    printf("  overflow in f16 (|x| > 65504):        %zu taps%s\n", s->beyond_f16,
           s->beyond_f16 ? ", in the order of execution:" : "");
    print_beyond(trace, ranges);
    if (isfinite(s->headroom))
        printf("  largest: |x| = %.6g (65504 is %.3g times that): %s\n",
               ranges->tap[s->largest].max_abs, s->headroom,
               trace_file_at(trace, s->largest)->name);
    printf("  a square overflows f16 (|x| > 255.9): %zu taps; norms over them need f32 sums\n",
           s->square_f16);
    printf("  numbers become 0 in f16 (<= 2^-25):   %zu taps\n", s->lost_f16);
    printf("  overflow in bf16, become 0 in bf16:   %zu, %zu taps\n", s->beyond_bf16, s->lost_bf16);
    printf("  NaN or Inf already:                   %zu taps\n", s->not_finite);
    for (size_t i = 0; i < trace_file_skips(trace); i++)
        printf("  left out: '%s' (%s)\n", trace_file_skipped(trace, i)->name,
               trace_file_skipped(trace, i)->reason);
}

int cli_inspect_ranges(const char *path, bool as_json) {
    err_t err;
    trace_file_t *trace;
    ranges_t ranges;
    if (trace_file_open(&trace, path, &err) != 0) return cli_input_error("inspect", &err);
    int status = ranges_of_trace(&ranges, trace, &err);
    if (status != 0) {
        status = cli_input_error("inspect", &err);
    } else if (as_json) {
        print_json(trace, &ranges);
    } else {
        print_taps(trace, &ranges);
        print_summary(trace, &ranges);
    }
    if (status == 0) ranges_free(&ranges);
    trace_file_close(trace);
    return status;
}
