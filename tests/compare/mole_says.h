/* mole_says.h - the program's word: run, and what it printed. */
#ifndef MOLE_TESTS_VERIFY_MOLE_SAYS_H
#define MOLE_TESTS_VERIFY_MOLE_SAYS_H

extern char output[1 << 16]; /* what the last run printed, stdout and stderr */

/* "mole ARGUMENTS" by a shell: its exit code. A program that a signal ends fails the test. */
int mole_says(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
