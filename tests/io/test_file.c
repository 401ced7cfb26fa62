/* test_file.c - paths, bounded reads, and outputs that appear whole or not at all. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "../unit.h"
#include "io/file.h"

static void assert_join(const char *folder, const char *name, const char *expected) {
    char *path = file_join(folder, name);
    assert_string_equal(path, expected);
    free(path);
}

static void paths(void **state) {
    (void)state;
    assert_join("a/b", "c", "a/b/c");
    assert_join("a/b/", "c", "a/b/c");
    assert_join("", "c", "c");
    assert_join(NULL, "c", "c");
    assert_join("/", "c", "/c");
    const char *plain[] = {"a", "model-00001-of-00002.safetensors", "..a", "\xc3\xa9", "a b"};
    const char *not_plain[] = {"", ".", "..", "a/b", "/a", "a/", "../a", "a\\b", "a\nb", "a\x7f"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        assert_true(file_name_is_plain(plain[i]));
    for (size_t i = 0; i < sizeof not_plain / sizeof not_plain[0]; i++)
        assert_false(file_name_is_plain(not_plain[i]));
    assert_true(file_exists(scratch_text("there", "x")));
    assert_false(file_exists(scratch_path("not there")));
    assert_false(file_exists(scratch_folder()));
    unlink(scratch_path("there"));
}

static void bounded_reads(void **state) {
    (void)state;
    err_t err;
    char *data;
    size_t bytes;
    const char *path = scratch_write("five", "ab\0cd", 5);
    assert_int_equal(file_read(path, 5, &data, &bytes, &err), 0);
    assert_int_equal(bytes, 5);
    assert_memory_equal(data, "ab\0cd", 6);
    free(data);
    assert_int_equal(file_read(path, 4, &data, &bytes, &err), -1);
    assert_message(&err, "five", "5 bytes", "at most 4", NULL);
    unlink(path);
    assert_int_equal(file_read(path, 4, &data, &bytes, &err), -1);
    assert_message(&err, "five", "cannot open", "No such file", NULL);
    assert_int_equal(file_read(scratch_folder(), 4, &data, &bytes, &err), -1);
    assert_message(&err, scratch_folder(), "is a directory", NULL);
    path = scratch_write("none", "", 0);
    assert_int_equal(file_read(path, 0, &data, &bytes, &err), 0);
    assert_int_equal(bytes, 0);
    assert_string_equal(data, "");
    free(data);
    unlink(path);
}

static void shown_text(void **state) {
    (void)state;
    char text[SHOWN_TEXT], name[1000];
    assert_string_equal(text_shown(text, "plain \xc3\xa9"), "plain \xc3\xa9");
    assert_string_equal(text_shown(text, "a\x1b[2J\n\x7f"), "a?[2J??");
    assert_string_equal(text_shown(text, "b\xc2\x9b\xe2\x80\xae\xd8\x9c\xffz"), "b????z");
    memset(name, 'a', SHOWN_TEXT);
    name[SHOWN_TEXT - 1] = '\0';
    assert_string_equal(text_shown(text, name), name);
    /* two-byte characters: the cut must not fall inside one, wherever it starts */
    for (size_t shift = 0; shift < 2; shift++) {
        memset(name, 'a', shift);
        for (size_t i = shift; i + 2 < sizeof name; i += 2) memcpy(name + i, "\xc3\xa9", 3);
        text_shown(text, name);
        size_t length = strlen(text);
        assert_true(length < SHOWN_TEXT);
        assert_string_equal(text + length - 3, "...");
        assert_int_equal((length - 3 - shift) % 2, 0);
    }
}

static void texts_with_defects(void **state) {
    (void)state;
    static const char *const good[] = {"", "plain", "\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80",
                                       "\xc2\xa0 \xe2\x80\xaf\xe2\x80\xa9"};
    static const struct {
        const char *text, *defect;
    } bad[] = {{"a\nb", "control"},
               {"\x1b[31m", "control"},
               {"\x7f", "control"},
               {"\xc2\x80", "control"},
               {"\xc2\x9f", "control"},
               {"\xe2\x80\x8e", "direction"},
               {"\xe2\x80\x8f", "direction"},
               {"\xd8\x9c", "direction"},
               {"\xe2\x80\xaa", "direction"},
               {"\xe2\x80\xae", "direction"},
               {"\xe2\x81\xa6", "direction"},
               {"\xe2\x81\xa9", "direction"},
               {"a\xff", "UTF-8"},
               {"\xc0\x80", "UTF-8"},
               {"\xed\xa0\x80", "UTF-8"},
               {"\xe2\x80", "UTF-8"}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_null(text_defect(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_non_null(text_defect(bad[i].text));
        assert_non_null(strstr(text_defect(bad[i].text), bad[i].defect));
    }
}

/* What a signal handler leaves: the files that were finished, and what was there. */
static void abandoned_files(void **state) {
    (void)state;
    err_t err;
    out_file_t done, given_up, first, second;
    size_t bytes;
    const char *old = xstrdup(scratch_text("first", "old")), *new = xstrdup(scratch_path("second"));
    assert_int_equal(out_file_open(&done, scratch_path("done"), "", &err), 0);
    assert_int_equal(out_file_open(&given_up, scratch_path("given-up"), "", &err), 0);
    assert_int_equal(out_file_open(&first, old, "", &err), 0);
    assert_int_equal(out_file_open(&second, new, ".x", &err), 0);
    assert_int_equal(out_file_write(&first, "new", 3, &err), 0);
    assert_int_equal(out_file_commit(&done, &err), 0);
    out_file_abort(&given_up);
    assert_true(file_exists(first.temp) && file_exists(second.temp));
    out_files_abandon();
    assert_false(file_exists(first.temp) || file_exists(second.temp));
    assert_true(file_exists(scratch_path("done")));
    char *kept = scratch_slurp(old, &bytes);
    assert_string_equal(kept, "old");
    free(kept);
    out_file_abort(&first);
    out_file_abort(&second);
    unlink(old);
    unlink(scratch_path("done"));
    free((char *)old);
    free((char *)new);
}

static void commit_and_abort(void **state) {
    (void)state;
    err_t err;
    out_file_t out;
    size_t bytes;
    const char *path = scratch_text("target", "old");
    assert_int_equal(out_file_open(&out, path, "", &err), 0);
    assert_int_equal(out_file_write(&out, "new", 3, &err), 0);
    assert_int_equal(out_file_write(&out, NULL, 0, &err), 0);
    char *content = scratch_slurp(path, &bytes);
    assert_string_equal(content, "old");
    free(content);
    assert_int_equal(scratch_entries(), 2);
    assert_int_equal(out_file_commit(&out, &err), 0);
    content = scratch_slurp(path, &bytes);
    assert_string_equal(content, "new");
    free(content);
    assert_int_equal(scratch_entries(), 1);

    assert_int_equal(out_file_open(&out, path, ".data", &err), 0);
    assert_int_equal(out_file_write(&out, "newer", 5, &err), 0);
    out_file_abort(&out);
    out_file_abort(&out);
    content = scratch_slurp(path, &bytes);
    assert_string_equal(content, "new");
    free(content);
    assert_int_equal(scratch_entries(), 1);
    unlink(path);
}

/* Two outputs to one name at once: each whole, the last to finish wins. */
static void two_at_once(void **state) {
    (void)state;
    err_t err;
    out_file_t first, second;
    size_t bytes;
    const char *path = scratch_path("target");
    assert_int_equal(out_file_open(&first, path, "", &err), 0);
    assert_int_equal(out_file_open(&second, path, "", &err), 0);
    assert_int_equal(out_file_write(&first, "first", 5, &err), 0);
    assert_int_equal(out_file_write(&second, "second", 6, &err), 0);
    assert_int_equal(out_file_commit(&second, &err), 0);
    assert_int_equal(out_file_commit(&first, &err), 0);
    char *content = scratch_slurp(path, &bytes);
    assert_string_equal(content, "first");
    free(content);
    unlink(path);
    assert_int_equal(scratch_entries(), 0);
}

/* The target became a directory meanwhile: the rename fails, and nothing is left. */
static void failing_commit(void **state) {
    (void)state;
    err_t err;
    out_file_t out;
    const char *path = scratch_path("target");
    assert_int_equal(out_file_open(&out, path, "", &err), 0);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(out_file_commit(&out, &err), -1);
    assert_message(&err, "target", "cannot write", NULL);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(scratch_entries(), 0);
}

/* A device that is always full. */
static void full_device(void **state) {
    (void)state;
    err_t err;
    out_file_t out = {
        .path = xstrdup("/dev/full"), .temp = NULL, .fd = open("/dev/full", O_WRONLY)};
    assert_true(out.fd >= 0);
    assert_int_equal(out_file_write(&out, "x", 1, &err), -1);
    assert_message(&err, "/dev/full", "cannot write", "No space left", NULL);
    out_file_abort(&out);
    assert_true(access("/dev/full", F_OK) == 0);
}

static void not_writable(void **state) {
    (void)state;
    err_t err;
    out_file_t out;
    assert_int_equal(mkdir(scratch_path("locked"), 0555), 0);
    assert_int_equal(chmod(scratch_folder(), 0755), 0);
    uid_t user = geteuid();
    if (user == 0) assert_int_equal(seteuid(65534), 0);
    int status = out_file_open(&out, scratch_path("locked/x"), "", &err);
    if (user == 0) assert_int_equal(seteuid(0), 0);
    assert_int_equal(status, -1);
    assert_message(&err, "locked/x", "cannot write", "Permission denied", NULL);
    out_file_abort(&out);
    rmdir(scratch_path("locked"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(bounded_reads),
        cmocka_unit_test(shown_text),
        cmocka_unit_test(commit_and_abort),
        cmocka_unit_test(texts_with_defects),
        cmocka_unit_test(abandoned_files),
        cmocka_unit_test(two_at_once),
        cmocka_unit_test(failing_commit),
        cmocka_unit_test(full_device),
        cmocka_unit_test(not_writable),
    };
    return cmocka_run_group_tests_name("file", tests, scratch_setup, scratch_teardown);
}
