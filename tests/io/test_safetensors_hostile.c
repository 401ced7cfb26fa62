/* test_safetensors_hostile.c - bad safetensors files: each is refused with its name and its defect,
 * and no damage to a good one crashes the reader. */
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"

/* ---- headers --------------------------------------------------------------------------------- */

typedef struct {
    const char *header; /* the JSON; the length in front of it is right */
    size_t data;        /* bytes that follow */
    const char *defect; /* what the message must say; NULL: a good file */
} case_t;

#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const case_t cases[] = {
    /* good ones, so that the others fail for their defect alone */
    {"{}", 0, NULL},
    {"{}      ", 0, NULL},
    {"{\"__metadata__\":{}}", 0, NULL},
    {"{\"__metadata__\":null}", 0, NULL},
    {"{\"__metadata__\":null," T("a", "F32", "[1]", "[0,4]") "}", 4, NULL},
    {"{}\n\t \r", 0, NULL},
    {"{" T("a", "U16", "[1]", "[0,2]") "," T("b", "F8_E4M3", "[2]", "[2,4]") "}", 4, NULL},
    {"{" T("a", "I16", "[0]", "[0,0]") "}", 0, NULL},
    {"{" T("a", "F32", "[2]", "[0,8]") "}", 8, NULL},
    {"{" T("b", "F32", "[2]", "[8,16]") "," T("a", "F16", "[4]", "[0,8]") "}", 16, NULL},
    {"{" T("a", "F32", "[0,7]", "[0,0]") "," T("b", "U8", "[]", "[0,1]") "}", 1, NULL},
    {"{" T("full", "U8", "[1]", "[0,1]") "," T("empty", "U8", "[0]", "[0,0]") "}", 1, NULL},
    {"{" T("", "BOOL", "[1]", "[0,1]") "}", 1, NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"extra\":null}}", 1, NULL},
    {"{" T("a", "F64", "[1,1,1,1,1,1,1,1]", "[0,8]") "}", 8, NULL},
    /* not JSON, or not of this form */
    {"{\"a\":", 0, "not valid JSON"},
    {"{} {}", 0, "not valid JSON"},
    {"{'a':1}", 0, "not valid JSON"},
    {"[]", 0, "does not start with '{'"},
    {"  {}", 0, "does not start with '{'"},
    {"\"text\"", 0, "does not start with '{'"},
    {"{\"a\":1}", 0, "entry is not an object"},
    {"{\"a\":null}", 0, "entry is not an object"},
    {"{\"a\":[]}", 0, "entry is not an object"},
    {"{\"a\\u0000b\":1}", 0, "not valid JSON"},
    {"{\"a\xff\":1}", 0, "not valid JSON"},
    {"{\"\xed\xa0\x80\":1}", 0, "not valid JSON"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
    {"{\"__metadata__\":false}", 0, "__metadata__ is not an object"},
    {"{\"__metadata__\":\"\"}", 0, "__metadata__ is not an object"},
    {"{\"__metadata__\":{\"k\":null}}", 0, "not a string"},
    {"{\"a\":null,\"__metadata__\":null}", 0, "entry is not an object"},
    {"{\"__metadata__\":{\"k\":1}}", 0, "not a string"},
    /* duplicates */
    {"{" T("a", "U8", "[1]", "[0,1]") "," T("a", "U8", "[1]", "[1,2]") "}", 2, "duplicate"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     "duplicate"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate"},
    {"{" T("a", "U8", "[1]", "[0,1]") "," T("\\u0061", "U8", "[1]", "[1,2]") "}", 2, "duplicate"},
    /* dtype */
    {"{" T("a", "F8", "[1]", "[0,1]") "}", 1, "dtype 'F8'"},
    {"{" T("a", "C64", "[1]", "[0,8]") "}", 8, "dtype 'C64': complex numbers"},
    {"{" T("a", "F4", "[2]", "[0,1]") "}", 1, "dtype 'F4': numbers of 4 bits"},
    {"{" T("a", "f32", "[1]", "[0,4]") "}", 4, "dtype 'f32'"},
    {"{" T("a", "", "[1]", "[0,4]") "}", 4, "dtype ''"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype is missing"},
    {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype is missing or not a"},
    /* shape */
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "shape is missing"},
    {"{" T("a", "U8", "3", "[0,3]") "}", 3, "shape is missing or not a list"},
    {"{" T("a", "U8", "[-1]", "[0,1]") "}", 1, "negative"},
    {"{" T("a", "U8", "[1.0]", "[0,1]") "}", 1, "not an integer"},
    {"{" T("a", "U8", "[1e0]", "[0,1]") "}", 1, "not an integer"},
    {"{" T("a", "U8", "[\"1\"]", "[0,1]") "}", 1, "not an integer"},
    {"{" T("a", "U8", "[true]", "[0,1]") "}", 1, "not an integer"},
    {"{" T("a", "U8", "[99999999999999999999]", "[0,1]") "}", 1, "too big"},
    {"{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, "9 dimensions"},
    {"{" T("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0, "overflows"},
    {"{" T("a", "F64", "[2305843009213693952]", "[0,0]") "}", 0, "overflows"},
    {"{" T("a", "F32", "[9223372036854775807,3,3]", "[0,4]") "}", 4, "overflows"},
    /* offsets */
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "data_offsets is missing"},
    {"{" T("a", "U8", "[1]", "[0]") "}", 1, "list of two"},
    {"{" T("a", "U8", "[1]", "[0,1,2]") "}", 2, "list of two"},
    {"{" T("a", "U8", "[1]", "{}") "}", 1, "list of two"},
    {"{" T("a", "U8", "[1]", "[1,0]") "}", 1, "reversed"},
    {"{" T("a", "U8", "[1]", "[-1,0]") "}", 1, "negative"},
    {"{" T("a", "U8", "[1]", "[0.0,1]") "}", 1, "not an integer"},
    {"{" T("a", "U8", "[2]", "[0,2]") "}", 1, "truncated"},
    {"{" T("a", "U8", "[1]", "[9223372036854775806,9223372036854775807]") "}", 1, "truncated"},
    {"{" T("a", "U8", "[1]", "[18446744073709551615,0]") "}", 1, "too big"},
    {"{" T("a", "F32", "[2]", "[0,4]") "}", 4, "takes 8 bytes"},
    {"{" T("a", "F32", "[1]", "[0,8]") "}", 8, "takes 4 bytes"},
    {"{" T("a", "F32", "[0]", "[0,4]") "}", 4, "takes 0 bytes"},
    /* layout */
    {"{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[1,3]") "}", 3, "overlaps"},
    {"{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[0,2]") "}", 2, "overlaps"},
    {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[0]", "[2,2]") "}", 4, "overlaps"},
    {"{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[3,5]") "}", 5, "hole"},
    {"{" T("a", "U8", "[2]", "[1,3]") "}", 3, "hole"},
    {"{" T("a", "U8", "[2]", "[0,2]") "}", 3, "1 trailing bytes"},
    {"{}", 16, "16 trailing bytes"},
};

static void expect(const char *path, const char *defect) {
    err_t err = {""};
    st_file_t *file = (st_file_t *)&err;
    int status = st_open(&file, path, &err);
    if (!defect) {
        if (status != 0) fail_msg("a good file is refused: %s", err.text);
        st_close(file);
        return;
    }
    if (status == 0) fail_msg("%s is accepted; its defect: %s", path, defect);
    assert_null(file);
    assert_message(&err, strrchr(path, '/') + 1, defect, NULL);
}

static const char *write_file(const char *name, uint64_t length, const char *header, size_t bytes,
                              size_t data) {
    char *file = xcalloc(8 + bytes + data, 1);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, bytes);
    const char *path = scratch_write(name, file, 8 + bytes + data);
    free(file);
    return path;
}

static void headers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *header = cases[i].header;
        size_t bytes = strlen(header);
        print_message("%s\n", header);
        expect(write_file("case.safetensors", bytes, header, bytes, cases[i].data),
               cases[i].defect);
    }
}

/* NUL for the spaces that should fill the header up: said in words, since a file looks right in most
 * viewers. */
static void padding(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t bytes;
        const char *defect;
    } bad[] = {
        {"{}\0\0\0\0\0\0", 8, "6 NUL bytes follow its header's JSON (from byte 10 on)"},
        {"{} \0\0 \0\n", 8, "3 NUL bytes"},
        {"{}\0", 3, "1 NUL bytes"},
        {"{\"a\"\0}", 6, "not valid JSON"},
        {"{\"a\":\0\0\0", 8, "not valid JSON"},
        {"{\0}\0", 4, "NUL"},
        {"{}\0x", 4, "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect(write_file("nul.safetensors", bad[i].bytes, bad[i].header, bad[i].bytes, 0),
               bad[i].defect);
    /* not the padding's fault: the sentence that a file without it gets too */
    expect(write_file("fine", 8, "{}      ", 8, 0), NULL);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void frames(void **state) {
    (void)state;
    expect(scratch_write("empty", "", 0), "is empty");
    expect(scratch_write("seven", "\2\0\0\0\0\0\0", 7), "truncated");
    expect(write_file("length-only", 2, "", 0, 0), "truncated");
    expect(write_file("length-zero", 0, "", 0, 4), "does not start with '{'");
    expect(write_file("length-one", 1, "{}", 2, 0), "does not start with '{'");
    expect(write_file("length-short", 10, "{}", 2, 0), "truncated");
    expect(write_file("length-limit", 100000001, "{}", 2, 0), "above the limit");
    expect(write_file("length-huge", UINT64_MAX, "{}", 2, 0), "above the limit");
    expect(write_file("length-wraps", UINT64_MAX - 7, "{}", 2, 0), "above the limit");
    expect(scratch_path("missing"), "No such file");
    assert_int_equal(mkdir(scratch_path("folder"), 0777), 0);
    expect(scratch_path("folder"), "is a directory");
    expect("/dev/zero", "not a regular file");
    assert_int_equal(mkfifo(scratch_path("pipe"), 0666), 0);
    expect(scratch_path("pipe"), "not a regular file");
}

static void other_formats(void **state) {
    (void)state;
    expect(scratch_write("zip.ckpt", "PK\3\4............", 16), "pickled");
    expect(scratch_write("proto2.pt", "\x80\2\x8a\nl\xfc\x9c\x46\xf9 j", 11), "pickled");
    expect(scratch_write("proto4.bin", "\x80\4\x95\n\0\0\0\0\0\0\0", 11), "pickled");
    expect(scratch_text("page", "<!DOCTYPE html><html></html>"), "HTML");
    expect(
        scratch_text("lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        "git lfs pull");
    expect(scratch_write("model.gguf", "GGUF\3\0\0\0....", 12), "GGUF");
    /* A header of 0x0280 bytes starts with the bytes of a pickle and is none. */
    char header[0x0280];
    memset(header, ' ', sizeof header);
    memcpy(header, "{}", 2);
    expect(write_file("not-a-pickle", sizeof header, header, sizeof header, 0), NULL);
}

static void no_permission(void **state) {
    (void)state;
    const char *path = write_file("secret", 2, "{}", 2, 0);
    assert_int_equal(chmod(path, 0), 0);
    assert_int_equal(chmod(scratch_folder(), 0755), 0);
    uid_t user = geteuid(); /* root may read anything: look as somebody else */
    if (user == 0) assert_int_equal(seteuid(65534), 0);
    err_t err;
    st_file_t *file;
    int status = st_open(&file, path, &err);
    if (user == 0) assert_int_equal(seteuid(0), 0);
    assert_int_equal(status, -1);
    assert_message(&err, "secret", "Permission denied", NULL);
}

static void deep_nesting(void **state) {
    (void)state;
    enum { DEPTH = 1000000 };
    char *header = xmalloc(DEPTH + 8);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', DEPTH);
    expect(write_file("deep", DEPTH + 5, header, DEPTH + 5, 0), "depth");
    free(header);
}

/* A name with control characters and of great length reaches the message tamed. */
static void message_is_tame(void **state) {
    (void)state;
    char header[4096] = "{\"\\u001b[2J\\n", *end = header + strlen(header);
    memset(end, 'x', 3000);
    strcpy(end + 3000, "\":1}");
    err_t err;
    st_file_t *file;
    const char *path = write_file("tame", strlen(header), header, strlen(header), 0);
    assert_int_equal(st_open(&file, path, &err), -1);
    assert_message(&err, "tame", "'?[2J?xxx", "...'", NULL);
    for (const char *p = err.text; *p; p++) assert_true((unsigned char)*p >= 0x20);
    assert_true(strlen(err.text) < 400);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static char *good_file(size_t *bytes) {
    const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"}," T("one.weight", "F32", "[2,3]", "[0,24]") "," T(
            "two", "F16", "[]", "[24,26]") "," T("three", "BF16", "[3]", "[26,32]") "}";
    *bytes = 8 + sizeof header - 1 + 32;
    char *file = xmalloc(*bytes);
    uint64_t length = sizeof header - 1;
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    memset(file + 8 + length, 0x3c, 32);
    return file;
}

static void truncated_anywhere(void **state) {
    (void)state;
    size_t bytes;
    char *file = good_file(&bytes);
    expect(scratch_write("whole", file, bytes), NULL);
    for (size_t length = 1; length < bytes; length++)
        expect(scratch_write("cut", file, length), "truncated");
    free(file);
}

/* Touch everything that an accepted file promises. */
static double use(const st_file_t *file) {
    double sum = 0;
    for (size_t i = 0; i < st_count(file); i++) {
        const st_tensor_t *tensor = st_at(file, i);
        size_t count = shape_count(tensor->shape);
        double *wide = xmalloc((count + 1) * sizeof *wide);
        dtype_to_double(wide, tensor->data, tensor->dtype, count);
        for (size_t k = 0; k < count; k++) sum += wide[k];
        free(wide);
        assert_ptr_equal(st_find(file, tensor->name), tensor);
    }
    return sum;
}

static uint64_t xorshift(uint64_t *x) {
    *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
    return *x;
}

/* One to four bytes changed, at random but the same on every run. */
static void damaged_anywhere(void **state) {
    (void)state;
    enum { ROUNDS = 6000 };
    uint64_t random = 0x9e3779b97f4a7c15u;
    size_t bytes, accepted = 0;
    char *file = good_file(&bytes), *copy = xmalloc(bytes);
    const char *path = scratch_path("damaged");
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(copy, file, bytes);
        for (uint64_t flips = 1 + xorshift(&random) % 4; flips > 0; flips--) {
            uint64_t draw = xorshift(&random);
            /* half of the time a character that JSON knows, to get deeper */
            copy[draw % (bytes - 32)] =
                draw >> 40 & 1 ? (char)(draw >> 48) : "0123456789-[]{},:\"e."[(draw >> 48) % 20];
        }
        scratch_write("damaged", copy, bytes);
        err_t err = {""};
        st_file_t *opened;
        if (st_open(&opened, path, &err) == 0) {
            accepted++;
            (void)use(opened);
            st_close(opened);
        } else {
            assert_message(&err, "damaged", NULL);
        }
    }
    print_message("%zu of %d damaged files are still valid\n", accepted, ROUNDS);
    assert_in_range(accepted, 1, ROUNDS - 1);
    free(file);
    free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),          cmocka_unit_test(padding),
        cmocka_unit_test(frames),           cmocka_unit_test(other_formats),
        cmocka_unit_test(no_permission),    cmocka_unit_test(deep_nesting),
        cmocka_unit_test(message_is_tame),  cmocka_unit_test(truncated_anywhere),
        cmocka_unit_test(damaged_anywhere),
    };
    return cmocka_run_group_tests_name("safetensors-hostile", tests, scratch_setup,
                                       scratch_teardown);
}
