/* program.c - see program.h. */
#include "program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../scratch.h"

enum { WORDS = 80 };

static const char *from_environment(const char *variable) {
    static char path[2][PATH_MAX];
    const char *given = getenv(variable);
    char *full = path[strcmp(variable, "MOLE") == 0];
    if (!given || !realpath(given, full))
        fail_msg("the environment variable %s has to name the built program (make test sets it)",
                 variable);
    return full;
}

const char *program_mole(void) {
    return from_environment("MOLE");
}

const char *program_path(void) {
    return from_environment(sizeof(real_t) == sizeof(float) ? "MOLE" : "MOLE_F64");
}

/* argv from the words of a line, see program_run. */
static void split(char *argv[WORDS], const char *program, const char *words, va_list more) {
    char *line = fixture_bytes(strlen(words) + 1), *rest = line, *word;
    strcpy(line, words);
    int count = 0;
    argv[count++] = (char *)(size_t)program;
    while ((word = strtok_r(rest, " ", &rest))) {
        if (strcmp(word, "''") == 0) word[0] = '\0';
        if (strcmp(word, "%s") == 0)
            word = va_arg(more, char *);
        else
            for (char *c = word; *c; c++)
                if (*c == '~') *c = ' ';
        assert_true(count < WORDS - 1);
        argv[count++] = word;
    }
    argv[count] = NULL;
}

static void child(const run_how_t *how, char **argv, int out, int err) {
    struct rlimit no_core = {0, 0}, file = {how->file_limit, how->file_limit};
    setrlimit(RLIMIT_CORE, &no_core);
    if (how->file_limit) setrlimit(RLIMIT_FSIZE, &file);
    if (how->stdout_to) out = open(how->stdout_to, O_WRONLY);
    if (out < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) _exit(125);
    unsetenv("_STDBUF_O");                   /* stdbuf around a test is not around the program */
    setenv("OMP_WAIT_POLICY", "passive", 0); /* other programs run at the same time */
    if (how->folder && chdir(how->folder)) _exit(125);
    for (const char *fd = how->closed; fd && *fd; fd++) close(*fd - '0');
    alarm(how->seconds ? how->seconds : 60);
    execv(argv[0], argv);
    _exit(126);
}

static char *collect(FILE *file) {
    rewind(file);
    size_t used = 0, got;
    char *text = fixture_bytes(1 << 20);
    while ((got = fread(text + used, 1, (1 << 20) - 1 - used, file)) > 0) used += got;
    text[used] = '\0';
    fclose(file);
    return text;
}

/* The signal that was asked for, once the program has said the word. */
static void wait_for_word(FILE *out, const run_how_t *how, pid_t pid) {
    static char text[1 << 16];
    for (int tries = 0; tries < 6000; tries++) {
        ssize_t got = pread(fileno(out), text, sizeof text - 1, 0);
        text[got > 0 ? got : 0] = '\0';
        if (strstr(text, how->word)) {
            if (how->empty_after_word)
                assert_int_equal(truncate(how->empty_after_word, 0), 0);
            else
                kill(pid, how->signal_after_word);
            return;
        }
        usleep(5000);
    }
}

static ran_t run_argv(const run_how_t *how, char **argv) {
    FILE *out = tmpfile(), *err = tmpfile();
    assert_true(out && err);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) child(how, argv, fileno(out), fileno(err));
    if (how->word) wait_for_word(out, how, pid);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    ran_t ran = {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), collect(out),
                 collect(err)};
    if (ran.status == 128 + SIGALRM)
        fail_msg("the program did not end in time; it said: %s", ran.err);
    return ran;
}

static ran_t run_list(const run_how_t *how, const char *words, va_list more) {
    char *argv[WORDS];
    split(argv, how->program ? how->program : program_path(), words, more);
    return run_argv(how, argv);
}

ran_t program_run(const run_how_t *how, const char *words, ...) {
    static const run_how_t usual;
    va_list more;
    va_start(more, words);
    ran_t ran = run_list(how ? how : &usual, words, more);
    va_end(more);
    return ran;
}

const char *program_file(const char *name) {
    const char *path = scratch_path(name);
    return strcpy(fixture_bytes(strlen(path) + 1), path);
}

char *program_listing(const char *folder) {
    struct dirent **entry;
    int count = scandir(folder, &entry, NULL, alphasort);
    assert_true(count >= 0);
    char *text = fixture_bytes(1 << 16);
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < count; i++) {
        const char *name = entry[i]->d_name;
        char path[PATH_MAX];
        struct stat s;
        snprintf(path, sizeof path, "%s/%s", folder, name);
        assert_int_equal(lstat(path, &s), 0);
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            used += (size_t)snprintf(text + used, (1 << 16) - used, "%s %lld %llu%s\n", name,
                                     S_ISDIR(s.st_mode) ? 0 : (long long)s.st_size,
                                     (unsigned long long)s.st_ino, S_ISDIR(s.st_mode) ? "/" : "");
        free(entry[i]);
    }
    free(entry);
    return text;
}

void program_check_refusal(const ran_t *ran, int status, const char *expected, const char *words) {
    const char *line = strchr(ran->err, '\n');
    if (ran->status != status)
        fail_msg("%s\nexit code %d, should be %d; it said: %s", words, ran->status, status,
                 ran->err);
    if (strncmp(ran->err, "mole", 4) != 0 || !line || line[1])
        fail_msg("%s\nshould say one line that starts with mole, not: %s", words, ran->err);
    if (expected && !strstr(ran->err, expected))
        fail_msg("%s\nshould say \"%s\", not: %s", words, expected, ran->err);
}

void program_refuses(int status, const char *expected, const char *words, ...) {
    static const run_how_t usual;
    va_list more;
    char *before = program_listing(scratch_folder());
    va_start(more, words);
    ran_t ran = run_list(&usual, words, more);
    va_end(more);
    program_check_refusal(&ran, status, expected, words);
    assert_string_equal(before, program_listing(scratch_folder()));
}

ran_t program_works(ran_t ran) {
    if (ran.status) fail_msg("%d, %s", ran.status, ran.err);
    return ran;
}

void program_same_file(const char *a, const char *b) {
    size_t n, m;
    char *x = scratch_slurp(a, &n), *y = scratch_slurp(b, &m);
    if (n != m || memcmp(x, y, n) != 0) fail_msg("%s and %s differ", a, b);
    free(x);
    free(y);
}
