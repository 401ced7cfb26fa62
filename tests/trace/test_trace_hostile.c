/* test_trace_hostile.c - traces that lie, break, or point elsewhere: one clear message each. */
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "../unit.h"
#include "trace/trace_file.h"
#include "trace_fixture.h"

static const float numbers[6] = {0, 1, 2, 3, 4, 5};
static const fixture_tensor_t plain = {"x", DTYPE_F32, {2, {2, 3}}, numbers, false};

/* A safetensors file with one tensor of a byte, under a name as JSON writes it. */
static const char *named(const char *name) {
    char header[6000], file[6100];
    int length = snprintf(header, sizeof header,
                          "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", name);
    uint64_t stated = (uint64_t)length;
    memcpy(file, &stated, 8);
    memcpy(file + 8, header, stated);
    file[8 + length] = 1;
    return scratch_write("named.safetensors", file, (size_t)length + 9);
}

static void names(void **state) {
    (void)state;
    char longest[4098];
    trace_refused(named(""), "the name '' is empty", NULL);
    trace_refused(named("a\\u0001b"), "the name 'a?b'", "control");
    trace_refused(named("a\\nb"), "the name 'a?b'", "control");
    trace_refused(named("a\\u001b[2Jb"), "the name 'a?[2Jb'", "control");
    trace_refused(named("a\\u007f"), "the name 'a?'", "control");
    trace_refused(named("a\\u0085"), "the name 'a?'", "control");
    trace_refused(named("a\\u009f"), "the name 'a?'", "control");
    trace_refused(named("a\\uffff"), "the name 'a\?\?\?'", "U+FFFF");
    memset(longest, 'n', sizeof longest);
    longest[4097] = '\0';
    trace_refused(named(longest), "nnn...", "4096");
    longest[4096] = '\0';
    trace_file_close(trace_opened(named(longest)));
    const char *fine[] = {"<b>&amp;\\\"'", "a b",        "\\u00a0",
                          "\\u00e9",       "__metadata", "\\ud83d\\ude00"};
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
        trace_file_close(trace_opened(named(fine[i])));
    const fixture_entry_t bad = {"a\xff.npy", "", 0};
    trace_refused(fixture_zip("utf8.npz", ZIP_STORED, &bad, 1), "utf8.npz", NULL);
}

static void kinds(void **state) {
    (void)state;
    size_t bytes;
    char *npy = fixture_npy(&plain, &bytes);
    trace_refused(scratch_path("nothing.safetensors"), "cannot open", NULL);
    trace_refused(scratch_text("empty.safetensors", ""), "is empty", NULL);
    trace_refused(scratch_text("empty.npz", ""), "is not a readable .npz", NULL);
    trace_refused(scratch_text("text.safetensors", "hello, world"), "is not a safetensors file",
                  NULL);
    trace_refused(scratch_write("single.npy", npy, bytes), "single array", "folder");
    trace_refused(scratch_write("single.npz", npy, bytes), "single array", NULL);
    trace_refused(scratch_text("model.pt", "PK\3\4, then a pickle"), "pickled", NULL);
    const fixture_entry_t entry = {"archive/data.pkl", "x", 1};
    trace_refused(fixture_zip("pickle.npz", ZIP_STORED, &entry, 1), "archive/data.pkl", "no array");
    free(npy);
}

/* ---- .npz ------------------------------------------------------------------------------------ */

static void archives(void **state) {
    (void)state;
    size_t bytes;
    char *npy = fixture_npy(&plain, &bytes);
    const fixture_entry_t twice[] = {{"x.npy", npy, bytes}, {"x", npy, bytes}};
    trace_refused(fixture_zip("twice.npz", ZIP_STORED, twice, 2), "'x'", "two tensors");
    const fixture_entry_t cut = {"x.npy", npy, bytes - 1}, more = {"x.npy", npy, bytes},
                          nameless = {".npy", npy, bytes};
    trace_refused(fixture_zip("cut.npz", ZIP_STORED, &cut, 1), "x", "truncated");
    trace_file_t *trace = trace_opened(fixture_zip("nameless.npz", ZIP_DEFLATED, &nameless, 1));
    assert_string_equal(trace_file_at(trace, 0)->name, ".npy");
    trace_file_close(trace);
    char *object = strstr(npy + 10, "<f4");
    memcpy(object, "|O8", 3);
    trace_refused(fixture_zip("object.npz", ZIP_DEFLATED, &more, 1), "dtype '|O8'", NULL);
    free(npy);
}

/* A deflated array that is broken behind its header: opening cannot see it, reading does, every time. */
static void broken_data(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    float *data = xmalloc(COUNT * sizeof *data);
    double *out = xmalloc(COUNT * sizeof *out);
    for (size_t i = 0; i < COUNT; i++) data[i] = (float)(i * 2654435761u % 1000);
    for (int deflate = 0; deflate < 2; deflate++)
        for (int turned = 0; turned < 2; turned++) {
            err_t err = {""};
            size_t bytes;
            const fixture_tensor_t tensor[] = {{"x", DTYPE_F32, SHAPE2(1000, 100), data, turned},
                                               {"sound", DTYPE_F32, SHAPE1(6), numbers, false}};
            const char *path =
                fixture_trace("broken", deflate ? NPZ_DEFLATED : NPZ_STORED, tensor, 2);
            char *file = scratch_slurp(path, &bytes);
            size_t middle = deflate ? bytes * 9 / 10 : bytes / 2;
            for (size_t i = 0; i < 40; i++) file[middle + i] = (char)~file[middle + i];
            path = scratch_write("broken.npz", file, bytes);
            trace_file_t *trace = trace_opened(path);
            for (int again = 0; again < 2; again++) {
                assert_int_equal(trace_file_read(trace, 0, 0, COUNT, out, &err), -1);
                assert_message(&err, path, ": x: ", deflate ? NULL : "CRC", NULL);
            }
            assert_int_equal(trace_file_read(trace, 1, 0, 6, out, &err), 0); /* the sound one */
            for (int i = 0; i < 6; i++) assert_true(out[i] == i);
            trace_file_close(trace);
            free(file);
        }
    free(data);
    free(out);
}

/* ---- folders --------------------------------------------------------------------------------- */

/* A folder anew, with a.npy, sub/b.npy and, when not NULL, an index. */
static const char *folder(const char *index_name, const char *index) {
    size_t bytes;
    char *npy = fixture_npy(&plain, &bytes);
    mkdir(scratch_path("t"), 0700);
    mkdir(scratch_path("t/sub"), 0700);
    scratch_write("t/a.npy", npy, bytes);
    scratch_write("t/sub/b.npy", npy, bytes);
    scratch_write("outside.npy", npy, bytes);
    unlink(scratch_path("t/index.json"));
    unlink(scratch_path("t/index.csv"));
    free(npy);
    if (index) {
        char path[64];
        snprintf(path, sizeof path, "t/%s", index_name);
        scratch_text(path, index);
    }
    return scratch_path("t");
}

static void json_indices(void **state) {
    (void)state;
    const struct {
        const char *index, *defect, *more;
    } bad[] = {
        {"", "index.json:", "empty"},
        {"[\"a\"", "index.json:1:", "expected"},
        {"{\"a\": \"a.npy\"}", "index.json: expected a list", NULL},
        {"[\"a\", 1]", "index.json[1]: expected a name", NULL},
        {"[[\"a\"]]", "index.json[0]: expected a name", NULL},
        {"[{\"file\": \"a.npy\"}]", "index.json[0]: expected a name", NULL},
        {"[{\"name\": \"a\", \"file\": 3}]", "index.json[0]: expected a name", NULL},
        {"[{\"name\": \"a\", \"name\": \"b\"}]", "index.json:1:", "duplicate"},
        {"[\"a\", \"a\"]", "'a'", "two tensors"},
        {"[{\"name\": \"x\", \"file\": \"../outside.npy\"}]", "[0]: the file '../outside.npy'",
         "below"},
        {"[{\"name\": \"x\", \"file\": \"sub/../../outside.npy\"}]", "[0]: the file", "below"},
        {"[{\"name\": \"x\", \"file\": \"/etc/passwd\"}]", "[0]: the file '/etc/passwd'", "below"},
        {"[{\"name\": \"x\", \"file\": \"sub//b.npy\"}]", "[0]: the file", "below"},
        {"[{\"name\": \"x\", \"file\": \"./a.npy\"}]", "[0]: the file", "below"},
        {"[{\"name\": \"x\", \"file\": \"\"}]", "[0]: the file ''", "below"},
        {"[{\"name\": \"x\", \"file\": \"sub\\\\b.npy\"}]", "[0]: the file", "below"},
        {"[\"../outside\"]", "[0]: the file '../outside.npy'", "below"},
        {"[\"a\", \"missing\"]", "'missing'", "missing.npy: cannot open"},
        {"[{\"name\": \"x\", \"file\": \"sub\"}]", "'x'", "is a directory"},
        {"[{\"name\": \"x\", \"file\": \"index.json\"}]", "'x'", "is not a .npy file"},
        {"[{\"name\": \"\", \"file\": \"a.npy\"}]", "the name '' is empty", NULL},
        {"[{\"name\": \"a\\u0000b\", \"file\": \"a.npy\"}]", "index.json:1:", NULL},
        {"[{\"name\": \"a\\tb\", \"file\": \"a.npy\"}]", "the name 'a?b'", "control"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        trace_refused(folder("index.json", bad[i].index), bad[i].defect, bad[i].more);

    trace_file_t *trace = trace_opened(folder(
        "index.json", "[\"sub/b\", {\"name\": \"x\", \"file\": \"a.npy\", \"step\": 3}, \"a\", "
                      "{\"name\": \"again\", \"file\": \"a.npy\"}, {\"name\": \"sub/b.in\", "
                      "\"file\": \"sub/b.npy\"}]"));
    const char *order[] = {"sub/b", "x", "a", "again", "sub/b.in"};
    assert_int_equal(trace_file_count(trace), 5);
    for (size_t i = 0; i < 5; i++) assert_string_equal(trace_file_at(trace, i)->name, order[i]);
    trace_file_close(trace);
}

static void csv_indices(void **state) {
    (void)state;
    const struct {
        const char *index, *defect, *more;
    } bad[] = {
        {"", "index.csv:1:", "name and file"},
        {"name,path\na,a.npy\n", "index.csv:1:", "name and file"},
        {"a,a.npy\n", "index.csv:1:", "name and file"},
        {"name,file,name\na,a.npy,a\n", "index.csv:1:", "once each"},
        {"name,file\na\n", "index.csv:2: 1 fields", "has 2"},
        {"name,file\na,a.npy\nb,sub/b.npy,3\n", "index.csv:3: 3 fields", "has 2"},
        {"name,file\n\"a,a.npy\n", "index.csv:2:", "quote is not closed"},
        {"name,file\n\"a\"b,a.npy\n", "index.csv:2:", "closing quote"},
        {"\"name\"x,file\n", "index.csv:1:", "closing quote"},
        {"name,file\na,../outside.npy\n", "index.csv:2: the file '../outside.npy'", "below"},
        {"name,shape,file\nx,\"(2,\n3)\",a.npy\ny,,/etc/passwd\n", "index.csv:4: the file",
         "below"},
        {"name,file\na,\n", "index.csv:2: the file ''", "below"},
        {"name,file\na,a.npy\na,sub/b.npy\n", "'a'", "two tensors"},
        {"name,file\nx\ry,a.npy\n", "control", NULL},
        {"name,file\na\xff,a.npy\n", "'a?'", "is not UTF-8"},
        {"name,file\na,gone.npy\n", "index.csv: 'a'", "gone.npy: cannot open"},
        {"name,file\n"
         ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\n",
         "index.csv:2: more than 64", NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        trace_refused(folder("index.csv", bad[i].index), bad[i].defect, bad[i].more);
    folder(NULL, NULL);
    scratch_write("t/index.csv", "name,file\na\0,a.npy\n", 19);
    trace_refused(scratch_path("t"), "index.csv", "NUL");
    folder("index.csv", "name,file\na,a.npy\n");
    scratch_text("t/index.json", "[\"a\"]");
    trace_refused(scratch_path("t"), "both index.json and index.csv", NULL);

    /* All that is allowed at once. */
    trace_file_t *trace = trace_opened(
        folder("index.csv",
               "\xef\xbb\xbforder,\"file\",shape,name\r\n0,sub/b.npy,\"(2, 3)\",second\r\n\r\n"
               "1,\"a.npy\",,\"with \"\"quotes\"\", and a comma\"\n\n2,a.npy,,last"));
    const char *order[] = {"second", "with \"quotes\", and a comma", "last"};
    assert_int_equal(trace_file_count(trace), 3);
    for (size_t i = 0; i < 3; i++) assert_string_equal(trace_file_at(trace, i)->name, order[i]);
    trace_file_close(trace);
}

static void no_index(void **state) {
    (void)state;
    folder(NULL, NULL);
    scratch_text("t/notes.txt", "not an array");
    scratch_text("t/.hidden.npy", "not an array");
    scratch_text("t/.npy", "not an array");
    size_t bytes;
    char *npy = fixture_npy(&plain, &bytes);
    scratch_write("t/a-b.npy", npy, bytes);
    for (int i = 0; i < 10; i++) { /* in an order that no folder keeps by chance */
        char path[16];
        snprintf(path, sizeof path, "t/z%d.npy", i * 7 % 10);
        scratch_write(path, npy, bytes);
    }
    assert_int_equal(symlink(".", scratch_path("t/circle")), 0);
    trace_file_t *trace = trace_opened(scratch_path("t"));
    const char *order[] = {"a",  "a-b", "sub/b", "z0", "z1", "z2", "z3",
                           "z4", "z5",  "z6",    "z7", "z8", "z9"};
    assert_int_equal(trace_file_count(trace), 13);
    for (size_t i = 0; i < 13; i++) assert_string_equal(trace_file_at(trace, i)->name, order[i]);
    trace_file_close(trace);
    scratch_text("t/bad.npy", "not an array");
    trace_refused(scratch_path("t"), "'bad'", "bad.npy: is not a .npy");
    unlink(scratch_path("t/bad.npy"));
    scratch_write("t/ctrl\x1b.npy", npy, bytes);
    trace_refused(scratch_path("t"), "ctrl?", NULL);
    unlink(scratch_path("t/ctrl\x1b.npy"));
    char deep[128] = "t";
    for (int i = 0; i < 9; i++) {
        strcat(deep, "/d");
        assert_int_equal(mkdir(scratch_path(deep), 0700), 0);
    }
    trace_refused(scratch_path("t"), "nested", NULL);
    free(npy);
}

/* What changes between opening and reading is seen. */
static void changes(void **state) {
    (void)state;
    err_t err = {""};
    double out[6];
    trace_file_t *trace = trace_opened(folder("index.json", "[\"a\", \"sub/b\"]"));
    assert_int_equal(truncate(scratch_path("t/a.npy"), 90), 0);
    assert_int_equal(trace_file_read(trace, 0, 0, 6, out, &err), -1);
    assert_message(&err, "a.npy", "has 90 bytes now", NULL);
    unlink(scratch_path("t/a.npy"));
    assert_int_equal(trace_file_read(trace, 0, 0, 6, out, &err), -1);
    assert_message(&err, "a.npy", "cannot open", NULL);
    assert_int_equal(trace_file_read(trace, 1, 2, 3, out, &err), 0);
    assert_true(out[0] == 2 && out[2] == 4);
    trace_file_close(trace);
}

/* ---- numbers that no double holds ------------------------------------------------------------ */

static void big_integers(void **state) {
    (void)state;
    const int64_t most = (int64_t)1 << 53, up[3] = {0, most, most + 1}, down[1] = {-most - 1};
    const fixture_tensor_t tensors[] = {{"up", DTYPE_I64, SHAPE1(3), up, false},
                                        {"down", DTYPE_I64, SHAPE1(1), down, false}};
    for (int f = 0; f < TRACE_FORMATS; f++) {
        err_t err = {""};
        double out[3];
        trace_file_t *trace = trace_opened(fixture_trace("big", (format_t)f, tensors, 2));
        assert_int_equal(trace_file_read(trace, 0, 0, 2, out, &err), 0);
        assert_true(out[1] == 0x1p53);
        assert_int_equal(trace_file_read(trace, 0, 0, 3, out, &err), -1);
        assert_message(&err, trace_file_path(trace), "'up'", "9007199254740993", NULL);
        assert_int_equal(trace_file_read(trace, 1, 0, 1, out, &err), -1);
        assert_message(&err, "'down'", "-9007199254740993", NULL);
        trace_file_close(trace);
    }
}

/* Every cut of every format is refused, or read with an error: never more than that. */
static void damage(void **state) {
    (void)state;
    const format_t formats[] = {SAFETENSORS, NPZ_STORED, NPZ_DEFLATED};
    const fixture_tensor_t two[] = {plain, {"y", DTYPE_F32, SHAPE1(6), numbers, true}};
    uint64_t random = 88172645463325252u;
    for (size_t f = 0; f < 3; f++) {
        size_t bytes;
        const char *path = fixture_trace("damage", formats[f], two, 2);
        char *file = scratch_slurp(path, &bytes), kept[64];
        snprintf(kept, sizeof kept, "%s", strrchr(path, '/') + 1);
        for (size_t round = 0; round < bytes + 1500; round++) {
            err_t err = {""};
            double out[6];
            char *copy = xmalloc(bytes);
            memcpy(copy, file, bytes);
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            if (round >= bytes) copy[random % bytes] = (char)(random >> 32);
            trace_file_t *trace;
            scratch_write(kept, copy, round < bytes ? round : bytes);
            free(copy);
            if (trace_file_open(&trace, path, &err) != 0) {
                assert_true(err.text[0] != '\0');
                continue;
            }
            assert_true(round >= bytes);
            for (size_t i = 0; i < trace_file_count(trace); i++)
                if (trace_file_at(trace, i)->count <= 6)
                    (void)trace_file_read(trace, i, 0, trace_file_at(trace, i)->count, out, &err);
            trace_file_close(trace);
        }
        free(file);
    }
}

#define fresh(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        fresh(names),        fresh(kinds),       fresh(archives), fresh(broken_data),
        fresh(json_indices), fresh(csv_indices), fresh(no_index), fresh(changes),
        fresh(big_integers), fresh(damage),
    };
    return cmocka_run_group_tests_name("trace_hostile", tests, NULL, NULL);
}
