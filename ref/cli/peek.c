/* peek.c - mole peek: look into a file of tensors. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/peek.h"
#include "core/edit_distance.h"
#include "io/file.h"
#include "trace/names.h"

static const char command[] = "peek";

static void print_help(void) {
    printf(
        "usage: mole peek [OPTIONS] FILE [NAME[index] ...]\n\n"
        "Look into a file of tensors: a trace, weights, or any .safetensors, .npz, .npy, or a "
        "folder of\n.npy. Without NAME, with a glob (* and ? within a part of a name, ** across) "
        "or with several\nnames, one line for each tensor. With one NAME its statistics, a "
        "histogram, and its first numbers.\nWith an index, written as in Python, the numbers "
        "there.\n\n"
        "  --digits N           digits of each number, 1 to 17 (6)\n"
        "  --stats              of an index, statistics and histogram too\n"
        "  --plain              all the numbers and nothing else, a line for each row\n"
        "  --png FILE           also draw it, blue below 0 and red above: each of the last two\n"
        "                       dimensions' matrices a tile, with a colour bar\n"
        "  --range X            the picture's colours from -X to X (the largest magnitude)\n"
        "  --json               the same as JSON; of an index with its numbers\n\n"
        "example:\n  mole peek golden/models/sd15-tiny-mole/gates.safetensors "
        "'moe_lora_unet_mid_block**Phi**'\n"
        "  mole peek golden/models/sd15-tiny/unet/diffusion_pytorch_model.safetensors "
        "conv_in.weight\n"
        "  mole peek golden/models/sd15-tiny/unet/diffusion_pytorch_model.safetensors \\\n"
        "      'conv_in.weight[0, :, 1, -2:]'\n");
}

typedef struct {
    const char *file, *png;
    char **names;
    size_t count;
    size_t digits;
    double range; /* NaN: by the numbers */
    bool stats, plain, json;
} peek_options_t;

/* ---- measuring ---------------------------------------------------------------------------------------- */

int peek_measure(peek_t *p, double *piece, err_t *err) {
    tally_state_t state = {0};
    size_t count = shape_count(p->slice.shape);
    p->histogram = (histogram_t){0};
    for (int pass = 0; pass < (p->statistics ? 2 : 1); pass++) {
        for (size_t at = 0, n; at < count; at += n) {
            n = count - at < PEEK_PIECE ? count - at : PEEK_PIECE;
            if (slice_read(p->trace, p->index, &p->slice, at, n, piece, err)) return -1;
            if (pass == 0)
                tally_add(&state, piece, n);
            else
                histogram_add(&p->histogram, piece, n);
        }
        p->tally = tally_result(&state);
        p->histogram.low = p->tally.min;
        p->histogram.high = p->tally.max;
    }
    return 0;
}

/* ---- names -------------------------------------------------------------------------------------------- */

enum { NEAREST = 3 };

/* How far a name is from what was asked for: 0 where the last parts are the same, as of "unet.conv_in" and
 * "step.000/unet.conv_in". */
static size_t distance_of(const char *name, const char *asked, size_t limit) {
    size_t length = strlen(asked), all = strlen(name);
    if (length && all > length && strchr("./", name[all - length - 1]) && text_ends(name, asked))
        return 0;
    return edit_distance(name, asked, limit);
}

/* " (nearest: 'a', 'b')", or "" where none is near; the caller frees. */
static char *nearest_names(const trace_file_t *trace, const char *asked) {
    size_t best[NEAREST], index[NEAREST], found = 0, limit = 2 + strlen(asked) / 3;
    for (size_t i = 0; i < trace_file_count(trace); i++) {
        size_t d = distance_of(trace_file_at(trace, i)->name, asked, limit), at = found;
        if (d > limit) continue;
        while (at > 0 && best[at - 1] > d) at--;
        if (at == NEAREST) continue;
        if (found < NEAREST) found++;
        for (size_t k = found - 1; k > at; k--) best[k] = best[k - 1], index[k] = index[k - 1];
        best[at] = d;
        index[at] = i;
    }
    char *text = xstrdup("");
    for (size_t k = 0; k < found; k++) {
        char shown[SHOWN_TEXT];
        char *longer = xasprintf("%s%s'%s'", text, k ? ", " : "; nearest: ",
                                 text_shown(shown, trace_file_at(trace, index[k])->name));
        free(text);
        text = longer;
    }
    return text;
}

static int no_tensor(const trace_file_t *trace, const char *asked, err_t *err) {
    char shown[SHOWN_TEXT];
    for (size_t i = 0; i < trace_file_skips(trace); i++)
        if (strcmp(trace_file_skipped(trace, i)->name, asked) == 0)
            return err_set(err, "%s: '%s' is not read: %s", trace_file_path(trace),
                           trace_file_skipped(trace, i)->name,
                           trace_file_skipped(trace, i)->reason);
    char *nearest = nearest_names(trace, asked);
    err_set(err, "%s: no tensor '%s'%s", trace_file_path(trace), text_shown(shown, asked), nearest);
    free(nearest);
    return -1;
}

/* Where the index of "NAME[index]" begins, or NULL: a name may have brackets of its own. */
static char *index_of(const trace_file_t *trace, char *name) {
    char *bracket = strrchr(name, '[');
    if (trace_file_find(trace, name) != SIZE_MAX || !text_ends(name, "]")) return NULL;
    return bracket > name ? bracket : NULL;
}

static bool is_glob(const trace_file_t *trace, const char *name) {
    return trace_file_find(trace, name) == SIZE_MAX && strpbrk(name, "*?");
}

/* ---- one tensor --------------------------------------------------------------------------------------- */

/* The tensor and the part of it that the word asks for; the word is cut at its index. */
static int find_one(peek_t *p, char *word, err_t *err) {
    char shown[SHOWN_TEXT];
    char *bracket = index_of(p->trace, word);
    char *place = bracket ? xstrdup(bracket) : NULL;
    if (bracket) *bracket = '\0';
    p->index = trace_file_find(p->trace, word);
    p->place = place;
    if (p->index == SIZE_MAX) return no_tensor(p->trace, word, err);
    shape_t shape = trace_file_at(p->trace, p->index)->shape;
    p->slice = slice_whole(shape);
    if (place && slice_parse(&p->slice, place, shape, err))
        return err_prefix(err, "%s: '%s'", trace_file_path(p->trace), text_shown(shown, word));
    return 0;
}

static int print_json(json_t *tensors, const trace_file_t *trace) {
    json_t *all = json_pack("{s:s, s:o}", "file", trace_file_path(trace), "tensors", tensors);
    REQUIRE(all, "peek: %s is no JSON", trace_file_path(trace));
    json_dumpf(all, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    printf("\n");
    json_decref(all);
    return 0;
}

static int one_json(const peek_t *p, err_t *err) {
    json_t *object = peek_json(p, err);
    return object ? print_json(json_pack("[o]", object), p->trace) : -1;
}

static int peek_one(const peek_options_t *o, peek_t *p, double *piece, err_t *err) {
    int status = find_one(p, o->names[0], err);
    p->plain = o->plain;
    p->statistics = !o->plain && (!p->place || o->stats);
    bool measured = p->statistics || o->json || o->png;
    if (!status && measured) status = peek_measure(p, piece, err);
    if (!status && o->png) status = peek_picture(p, o->range, o->png, err);
    if (!status) status = o->json ? one_json(p, err) : peek_print(p, err);
    free((char *)p->place);
    return status;
}

/* ---- many tensors ------------------------------------------------------------------------------------- */

/* Marks what a word asks for. */
static int mark(const trace_file_t *trace, char *word, bool *wanted, err_t *err) {
    char shown[SHOWN_TEXT];
    size_t found = trace_file_find(trace, word), count = 0;
    if (found != SIZE_MAX) return wanted[found] = true, 0;
    if (index_of(trace, word))
        return err_set(err, "'%s': an index goes with one NAME, without globs",
                       text_shown(shown, word));
    if (!is_glob(trace, word)) return no_tensor(trace, word, err);
    for (size_t i = 0; i < trace_file_count(trace); i++)
        if (name_matches(word, trace_file_at(trace, i)->name)) wanted[i] = true, count++;
    if (count) return 0;
    return err_set(err, "%s: none of %zu tensors matches '%s'", trace_file_path(trace),
                   trace_file_count(trace), text_shown(shown, word));
}

static int list(peek_t *p, const bool *wanted, json_t *tensors, double *piece, err_t *err) {
    int width = 6;
    for (size_t i = 0; i < trace_file_count(p->trace); i++) {
        int length = (int)strlen(trace_file_at(p->trace, i)->name);
        if (wanted[i] && length > width) width = length;
    }
    if (!tensors) peek_print_head(width);
    for (size_t i = 0; i < trace_file_count(p->trace); i++) {
        if (!wanted[i]) continue;
        p->index = i;
        p->slice = slice_whole(trace_file_at(p->trace, i)->shape);
        if (peek_measure(p, piece, err)) return -1;
        if (tensors)
            json_array_append_new(tensors, peek_json(p, err));
        else
            peek_print_line(trace_file_at(p->trace, i), &p->tally, p->digits, width);
    }
    return 0;
}

static int peek_many(const peek_options_t *o, peek_t *p, double *piece, err_t *err) {
    size_t all = trace_file_count(p->trace);
    bool *wanted = xcalloc(all + 1, sizeof *wanted);
    json_t *tensors = o->json ? json_array() : NULL;
    int status = 0;
    if (o->count == 0) memset(wanted, true, all * sizeof *wanted);
    for (size_t i = 0; i < o->count && !status; i++)
        status = mark(p->trace, o->names[i], wanted, err);
    if (!status) status = list(p, wanted, tensors, piece, err);
    if (!status && tensors)
        print_json(tensors, p->trace);
    else
        json_decref(tensors);
    for (size_t i = 0; !status && !tensors && !o->count && i < trace_file_skips(p->trace); i++)
        printf("left out: '%s' (%s)\n", trace_file_skipped(p->trace, i)->name,
               trace_file_skipped(p->trace, i)->reason);
    free(wanted);
    return status;
}

/* ---- the command -------------------------------------------------------------------------------------- */

static int parse(peek_options_t *o, int argc, char **argv) {
    enum { OPT_DIGITS = OPT_OWN, OPT_STATS, OPT_PLAIN, OPT_PNG, OPT_RANGE, OPT_JSON };
    static const struct option table[] = {{"digits", required_argument, NULL, OPT_DIGITS},
                                          {"stats", no_argument, NULL, OPT_STATS},
                                          {"plain", no_argument, NULL, OPT_PLAIN},
                                          {"png", required_argument, NULL, OPT_PNG},
                                          {"range", required_argument, NULL, OPT_RANGE},
                                          {"json", no_argument, NULL, OPT_JSON},
                                          CLI_HELP_OPTION};
    int option;
    while ((option = cli_next_option(command, argc, argv, ":h", table)) != -1) {
        switch (option) {
        case OPT_HELP: print_help(); exit(0);
        case OPT_STATS: o->stats = true; break;
        case OPT_PLAIN: o->plain = true; break;
        case OPT_JSON: o->json = true; break;
        case OPT_PNG: o->png = optarg; break;
        case OPT_DIGITS:
            if (cli_parse_size(optarg, 1, 17, &o->digits)) break;
            return cli_usage_error(command, "--digits takes a number from 1 to 17, not '%s'",
                                   optarg);
        case OPT_RANGE:
            if (cli_parse_double(optarg, 0, 1e308, &o->range) && o->range > 0) break;
            return cli_usage_error(command, "--range takes a number above 0, not '%s'", optarg);
        default: return EXIT_USAGE;
        }
    }
    return 0;
}

/* Are the words enough, and do they go together? */
static int check(const peek_options_t *o, bool one) {
    if (o->json && o->plain) return cli_usage_error(command, "--json or --plain, not both");
    if (!one && (o->png || o->plain || o->stats))
        return cli_usage_error(command, "%s goes with one NAME",
                               o->png     ? "--png"
                               : o->plain ? "--plain"
                                          : "--stats");
    if (!isnan(o->range) && !o->png) return cli_usage_error(command, "--range goes with --png");
    cli_output_t files[] = {{"FILE", o->file, CLI_INPUT}, {"--png", o->png, CLI_PICTURE}};
    return cli_check_outputs(command, files, 2);
}

static int run(const peek_options_t *o, trace_file_t *trace) {
    err_t err;
    bool one = o->count == 1 && !is_glob(trace, o->names[0]);
    peek_t peek = {.trace = trace, .digits = (int)o->digits};
    int status = check(o, one);
    if (status) return status;
    trace_file_round(trace); /* integers beyond 2^53 */
    double *piece = xmalloc(PEEK_PIECE * sizeof *piece);
    status = one ? peek_one(o, &peek, piece, &err) : peek_many(o, &peek, piece, &err);
    free(piece);
    return status ? cli_input_error(command, &err) : 0;
}

int cli_peek(int argc, char **argv) {
    err_t err;
    trace_file_t *trace;
    peek_options_t o = {.digits = 6, .range = NAN};
    int status = parse(&o, argc, argv);
    if (status) return status;
    if (optind >= argc) return cli_usage_error(command, "FILE is missing");
    o.file = argv[optind];
    o.names = argv + optind + 1;
    o.count = (size_t)(argc - optind - 1);
    if (trace_file_open_any(&trace, o.file, &err)) return cli_input_error(command, &err);
    status = run(&o, trace);
    trace_file_close(trace);
    return status;
}
