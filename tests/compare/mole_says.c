/* mole_says.c - see mole_says.h. */
#include "mole_says.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "../fixture.h"

char output[1 << 16];

int mole_says(const char *format, ...) {
    char arguments[2048], command[2560];
    const char *mole = getenv("MOLE");
    if (!mole) fail_msg("MOLE should name the program (make test sets it)");
    va_list values;
    va_start(values, format);
    vsnprintf(arguments, sizeof arguments, format, values);
    va_end(values);
    snprintf(command, sizeof command, "%s %s 2>&1", mole, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    output[fread(output, 1, sizeof output - 1, pipe)] = '\0';
    int status = pclose(pipe);
    if (!WIFEXITED(status)) fail_msg("%s ended by a signal:\n%s", command, output);
    return WEXITSTATUS(status);
}
