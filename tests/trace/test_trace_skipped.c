/* test_trace_skipped.c - what a trace's file holds and no trace of numbers does: it is set aside and
 * listed, and the rest is read as if it were not there. What is damaged is refused as ever. */
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "../unit.h"
#include "trace/trace_file.h"
#include "trace_fixture.h"

static const float numbers[6] = {0, 1, 2, 3, 4, 5};

/* Entry `index` is called `name` and holds `first`, `first` + 1 ... */
static void holds(trace_file_t *trace, size_t index, const char *name, double first) {
    err_t err;
    double out[6];
    const trace_entry_t *entry = trace_file_at(trace, index);
    assert_string_equal(entry->name, name);
    assert_int_equal(trace_file_find(trace, name), index);
    assert_in_range(entry->count, 1, 6);
    if (trace_file_read(trace, index, 0, entry->count, out, &err) != 0) fail_msg("%s", err.text);
    for (size_t i = 0; i < entry->count; i++)
        if (out[i] != first + (double)i) fail_msg("'%s'[%zu] is %g", name, i, out[i]);
}

static void skipped(trace_file_t *trace, size_t index, const char *name, const char *reason) {
    const trace_skip_t *skip = trace_file_skipped(trace, index);
    assert_string_equal(skip->name, name);
    if (!strstr(skip->reason, reason)) fail_msg("'%s': %s, not %s", name, skip->reason, reason);
    assert_int_equal(trace_file_find(trace, name), SIZE_MAX);
}

/* ---- safetensors ----------------------------------------------------------------------------- */

#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

/* Among tensors that are read, one of every kind that is not; an empty one too.
 * A tensor a line, which the formatter does not see. */
/* clang-format off */
static const char of_every_type[] = "{"
    T("b", "F32", "[2]", "[24,32]") ","
    T("a", "F32", "[2]", "[0,8]") ","
    T("complex", "C64", "[2]", "[8,24]") ","
    T("six", "F6_E2M3", "[2,2]", "[32,35]") ","
    T("four", "F4", "[3,2]", "[35,38]") ","
    T("new", "Q4_K", "[7]", "[38,41]") ","
    T("none", "C64", "[0,3]", "[41,41]") ","
    T("nine", "U8", "[1,1,1,1,1,1,1,1,3]", "[41,44]") ","
    T("c", "U8", "[1]", "[44,45]") "}";
/* clang-format on */

static void types_of_safetensors(void **state) {
    (void)state;
    unsigned char data[45];
    memset(data, 0xee, sizeof data);
    memcpy(data, numbers, 8);
    memcpy(data + 24, numbers + 2, 8);
    data[44] = 9;
    trace_file_t *trace =
        trace_opened(fixture_safetensors("types.safetensors", of_every_type, data, 45));
    assert_int_equal(trace_file_count(trace), 3);
    holds(trace, 0, "a", 0);
    holds(trace, 1, "b", 2);
    holds(trace, 2, "c", 9);
    assert_int_equal(trace_file_skips(trace), 6);
    skipped(trace, 0, "complex", "dtype 'C64': complex numbers");
    skipped(trace, 1, "six", "dtype 'F6_E2M3': numbers of 6 bits");
    skipped(trace, 2, "four", "dtype 'F4': numbers of 4 bits");
    skipped(trace, 3, "new", "dtype 'Q4_K' is not known");
    skipped(trace, 4, "none", "complex");
    skipped(trace, 5, "nine", "9 dimensions");
    char *text = trace_file_skipped_text(trace);
    assert_string_equal(text, "'complex' (dtype 'C64': complex numbers), 'six' (dtype 'F6_E2M3': "
                              "numbers of 6 bits), 'four' (dtype 'F4': numbers of 4 bits), 'new' "
                              "(dtype 'Q4_K' is not known) and 2 more");
    free(text);
    trace_file_close(trace);
}

/* A type that has a size keeps to it; any type has its place in the file. */
static void places_of_safetensors(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *defect;
    } bad[] = {
        {"{" T("x", "C64", "[2]", "[0,15]") "}", 15, "takes 16 bytes"},
        {"{" T("x", "C64", "[2]", "[0,17]") "}", 17, "takes 16 bytes"},
        {"{" T("x", "F4", "[3]", "[0,1]") "}", 1, "takes 2 bytes"},
        {"{" T("x", "F4", "[3]", "[0,2]") "}", 2, "takes 2 bytes"},
        {"{" T("x", "F6_E3M2", "[4]", "[0,4]") "}", 4, "takes 3 bytes"},
        {"{" T("x", "C64", "[2305843009213693952]", "[0,0]") "}", 0, "overflows"},
        {"{" T("x", "Q", "[4294967296,4294967296]", "[0,0]") "}", 0, "overflows"},
        {"{" T("x", "U8", "[1,1,1,1,1,1,1,1,3]", "[0,2]") "}", 2, "takes 3 bytes"},
        {"{" T("x", "U8", "[1,1,1,1,1,1,1,4294967296,4294967296]", "[0,2]") "}", 2, "overflows"},
        {"{" T("x", "Q", "[1]", "[0,3]") "}", 2, "truncated"},
        {"{" T("x", "Q", "[1]", "[2,1]") "}", 2, "reversed"},
        {"{" T("x", "Q", "[-1]", "[0,2]") "}", 2, "negative"},
        {"{" T("x", "Q", "3", "[0,2]") "}", 2, "not a list"},
        {"{" T("x", "Q", "[1]", "[0]") "}", 2, "list of two"},
        {"{" T("a", "U8", "[4]", "[0,4]") "," T("x", "Q", "[1]", "[3,5]") "}", 5, "overlaps"},
        {"{" T("x", "Q", "[1]", "[0,4]") "," T("a", "U8", "[2]", "[3,5]") "}", 5, "overlaps"},
        {"{" T("a", "U8", "[2]", "[0,2]") "," T("x", "Q", "[1]", "[3,5]") "}", 5, "hole"},
        {"{" T("a", "U8", "[2]", "[0,2]") "," T("x", "Q", "[1]", "[2,4]") "}", 5, "trailing"},
        {"{" T("a", "U8", "[2]", "[0,2]") "," T("a", "Q", "[1]", "[2,4]") "}", 4, "duplicate"},
        {"{\"x\":{\"dtype\":null,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype is missing"},
    };
    const char data[32] = "";
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        print_message("%s\n", bad[i].header);
        trace_refused(fixture_safetensors("bad.safetensors", bad[i].header, data, bad[i].data),
                      bad[i].defect, NULL);
    }
}

/* ---- NumPy's types --------------------------------------------------------------------------- */

#define DICT(descr) "{'descr': " descr ", 'fortran_order': False, 'shape': (2,), }\n"

/* What numpy.save writes; bytes: of two items, or -1 where nobody can tell. */
static const struct {
    const char *dictionary;
    int bytes;
    const char *reason;
} kinds[] = {
    {DICT("'<c8'"), 16, "dtype '<c8': complex numbers"},
    {DICT("'>c16'"), 32, "dtype '>c16': complex numbers"},
    {DICT("'<U3'"), 24, "dtype '<U3': text"},
    {DICT("'|S3'"), 6, "dtype '|S3': text"},
    {DICT("'<M8[ns]'"), 16, "dtype '<M8[ns]': dates"},
    {DICT("'<V1'"), 2, "dtype '<V1': raw bytes"},
    {DICT("'|V3'"), 6, "dtype '|V3': raw bytes"},
    {DICT("'<f16'"), 32, "dtype '<f16': no type that is read"},
    {DICT("'|O'"), -1, "dtype '|O': Python objects"},
    {DICT("'|O8'"), -1, "dtype '|O8': Python objects"},
    {DICT("'<z4'"), -1, "dtype '<z4': no type that is known"},
    {DICT("''"), -1, "no type that is known"},
    {DICT("'float32'"), -1, "dtype 'float32': no type"},
    {DICT("[('a', '<f4'), ('b', '<i4', (2,))]"), -1, "a structured array"},
    {DICT("[(\"it's [\", '<f4'), ('\\'(', '<i4')]"), -1, "a structured array"},
    {DICT("('<f4', (2,))"), -1, "a structured array"},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 2)}", 8,
     "9 dimensions"},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static char *file_of_kind(size_t kind, int more, size_t *bytes) {
    static const char data[64] = "\x80\4]";
    int count = (kinds[kind].bytes < 0 ? 21 : kinds[kind].bytes) + more;
    return fixture_npy_bytes(1 + (int)kind % 3, kinds[kind].dictionary, data, (size_t)count, bytes);
}

/* A plain array of six numbers, from `first` on. */
static char *plain(float first, size_t *bytes) {
    float data[6];
    for (int i = 0; i < 6; i++) data[i] = first + (float)i;
    const fixture_tensor_t tensor = {"x", DTYPE_F32, SHAPE2(2, 3), data, false};
    return fixture_npy(&tensor, bytes);
}

/* Each kind between two arrays, in a folder with its files' names, one with an index, and an archive. */
static void types_of_npy(void **state) {
    (void)state;
    size_t bytes, before, after;
    char *first = plain(10, &before), *last = plain(20, &after);
    mkdir(scratch_path("f"), 0700);
    mkdir(scratch_path("i"), 0700);
    scratch_text("i/index.json", "[\"a\", \"m\", \"z\"]");
    for (size_t k = 0; k < KINDS; k++) {
        char *file = file_of_kind(k, 0, &bytes);
        const fixture_entry_t entries[] = {
            {"a.npy", first, before}, {"m.npy", file, bytes}, {"z.npy", last, after}};
        const char *folders[] = {"f", "i"};
        for (int f = 0; f < 2; f++)
            for (int e = 0; e < 3; e++) {
                char name[32];
                snprintf(name, sizeof name, "%s/%s", folders[f], entries[e].name);
                scratch_write(name, entries[e].data, entries[e].bytes);
            }
        const char *paths[] = {scratch_path("f"), scratch_path("i"),
                               fixture_zip("kind.npz", k % 2, entries, 3)};
        for (int p = 0; p < 3; p++) {
            trace_file_t *trace = trace_opened(paths[p]);
            assert_int_equal(trace_file_count(trace), 2);
            assert_int_equal(trace_file_skips(trace), 1);
            skipped(trace, 0, "m", kinds[k].reason);
            holds(trace, 1, "z", 20);
            holds(trace, 0, "a", 10);
            trace_file_close(trace);
        }
        free(file);
    }
    free(first);
    free(last);
}

/* Where the size of an item is known, the file must have it, and any file its dictionary. */
static void sizes_of_npy(void **state) {
    (void)state;
    mkdir(scratch_path("t"), 0700);
    for (size_t k = 0; k < KINDS; k++)
        for (int more = -1; more <= 1; more += 2) {
            size_t bytes;
            char *file = file_of_kind(k, more, &bytes);
            scratch_write("t/x.npy", file, bytes);
            const fixture_entry_t entry = {"x.npy", file, bytes};
            const char *zip = fixture_zip("x.npz", ZIP_STORED, &entry, 1);
            const char *defect = kinds[k].bytes < 0 ? "holds no numbers that are read"
                                 : more < 0         ? "truncated"
                                                    : "trailing bytes";
            trace_refused(scratch_path("t"), "x", defect);
            trace_refused(zip, "x", defect);
            free(file);
        }
}

/* A header longer than what is read is that of a structured array with a great many fields. */
static void long_header(void **state) {
    (void)state;
    size_t bytes, other;
    char *dictionary = xmalloc(100001), *file, *fine = plain(0, &other);
    memset(dictionary, ' ', 100000);
    memcpy(dictionary, "{'descr': [('a', '<f4'),", 24);
    dictionary[100000] = '\0';
    file = fixture_npy_bytes(2, dictionary, numbers, 8, &bytes);
    const fixture_entry_t entries[] = {{"long.npy", file, bytes}, {"x.npy", fine, other}};
    trace_file_t *trace = trace_opened(fixture_zip("long.npz", ZIP_DEFLATED, entries, 2));
    skipped(trace, 0, "long", "header takes more than the 65536 bytes");
    holds(trace, 0, "x", 0);
    trace_file_close(trace);
    mkdir(scratch_path("t"), 0700);
    scratch_write("t/long.npy", file, bytes);
    trace_refused(scratch_path("t"), "'long' (its header takes more", NULL);
    scratch_write("t/long.npy", file, 90000);
    trace_refused(scratch_path("t"), "truncated in the header", NULL);
    free(dictionary);
    free(file);
    free(fine);
}

/* Bytes changed at random, but the same on every run: refused, or read as what it then says. */
static void damage(void **state) {
    (void)state;
    size_t bytes[KINDS + 1];
    char *files[KINDS + 1], data[45] = "";
    uint64_t random = 88172645463325252u;
    for (size_t k = 0; k < KINDS; k++) files[k] = file_of_kind(k, 0, &bytes[k]);
    files[KINDS] = scratch_slurp(fixture_safetensors("d", of_every_type, data, 45), &bytes[KINDS]);
    mkdir(scratch_path("d.d"), 0700);
    for (size_t round = 0; round < 300 * (KINDS + 1); round++) {
        err_t err = {""};
        trace_file_t *trace;
        double out[64];
        size_t k = round % (KINDS + 1);
        char *copy = xmalloc(bytes[k]);
        memcpy(copy, files[k], bytes[k]);
        for (int flips = 0; flips < 2; flips++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            copy[random % bytes[k]] = random >> 40 & 1
                                          ? "0123456789[](){}'\"\\,:<>|VUOL"[(random >> 48) % 28]
                                          : (char)(random >> 32);
        }
        scratch_write(k == KINDS ? "d" : "d.d/x.npy", copy, bytes[k]);
        free(copy);
        if (trace_file_open(&trace, scratch_path(k == KINDS ? "d" : "d.d"), &err) != 0) {
            assert_true(err.text[0] != '\0');
            continue;
        }
        for (size_t i = 0; i < trace_file_count(trace); i++)
            if (trace_file_at(trace, i)->count <= 64)
                (void)trace_file_read(trace, i, 0, trace_file_at(trace, i)->count, out, &err);
        free(trace_file_skipped_text(trace));
        trace_file_close(trace);
    }
    for (size_t k = 0; k <= KINDS; k++) free(files[k]);
}

/* ---- members of an archive that are no arrays ------------------------------------------------ */

static void members(void **state) {
    (void)state;
    size_t bytes;
    char *one = plain(1, &bytes), *two = plain(2, &bytes), *three = plain(3, &bytes),
         *four = plain(4, &bytes);
    const fixture_entry_t entries[] = {
        {"README.txt", "made by hand\n", 13},
        {"sub/", "", 0},
        {"sub/one.npy", one, bytes},
        {"__MACOSX/sub/._one.npy", "\0\5\x16\7\0\2\0\0Mac OS X", 16},
        {"sub/._two.npy", "\0\5\x16\7", 4},
        {"two", two, bytes}, /* no ending, and an array all the same */
        {".DS_Store", "\0\0\0\1Bud1", 8},
        {"__MACOSX/three.npy", three, bytes}, /* the place alone says nothing */
        {"settings.json", "{}", 2},
        {"._four.npy", four, bytes},
        {"tab\t\xff\xc3\xa9", "x", 1},
        {"empty", "", 0},
    };
    for (int deflate = 0; deflate < 2; deflate++) {
        trace_file_t *trace = trace_opened(fixture_zip("members.npz", deflate, entries, 12));
        assert_int_equal(trace_file_count(trace), 4);
        holds(trace, 0, "sub/one", 1);
        holds(trace, 1, "two", 2);
        holds(trace, 2, "__MACOSX/three", 3);
        holds(trace, 3, "._four", 4);
        holds(trace, 0, "sub/one", 1);
        const char *names[] = {"README.txt",    "sub/",      "__MACOSX/sub/._one.npy",
                               "sub/._two.npy", ".DS_Store", "settings.json",
                               "tab\?\?\?\?",   "empty"};
        assert_int_equal(trace_file_skips(trace), 8);
        for (size_t i = 0; i < 8; i++) skipped(trace, i, names[i], "no array");
        trace_file_close(trace);
    }
    free(one);
    free(two);
    free(three);
    free(four);
}

/* Called .npy and none: a damaged array, and no trace to be trusted. */
static void damaged_members(void **state) {
    (void)state;
    size_t bytes;
    char *fine = plain(0, &bytes);
    const char *bad[] = {"", "PNG", "\x93NUMP", "made by hand\n"};
    mkdir(scratch_path("t"), 0700);
    scratch_write("t/x.npy", fine, bytes);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const fixture_entry_t entries[] = {{"x.npy", fine, bytes},
                                           {"y.npy", bad[i], strlen(bad[i])}};
        trace_refused(fixture_zip("bad.npz", ZIP_STORED, entries, 2),
                      ": y: ", "is not a .npy file");
        scratch_write("t/y.npy", bad[i], strlen(bad[i]));
        trace_refused(scratch_path("t"), "'y'", "is not a .npy file");
    }
    free(fine);
}

/* Nothing but what is skipped: what there is, is said. */
static void nothing_is_left(void **state) {
    (void)state;
    const char *data = "12345678";
    trace_refused(
        fixture_safetensors("c.safetensors", "{" T("x", "C64", "[1]", "[0,8]") "}", data, 8),
        "holds no numbers that are read", "'x' (dtype 'C64': complex numbers)");
    const fixture_entry_t entry = {"archive/data.pkl", "x", 1};
    trace_refused(fixture_zip("pickle.npz", ZIP_STORED, &entry, 1),
                  "holds no numbers that are read", "'archive/data.pkl' (no array)");
}

#define fresh(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        fresh(types_of_safetensors), fresh(places_of_safetensors),
        fresh(types_of_npy),         fresh(sizes_of_npy),
        fresh(long_header),          fresh(members),
        fresh(damaged_members),      fresh(damage),
        fresh(nothing_is_left),
    };
    return cmocka_run_group_tests_name("trace_skipped", tests, NULL, NULL);
}
