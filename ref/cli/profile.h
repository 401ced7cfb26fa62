/* profile.h - what the subcommands say of a profile (bench/profile.h). */
#ifndef MOLE_CLI_PROFILE_H
#define MOLE_CLI_PROFILE_H

#include "bench/profile.h"
#include "core/err.h"

/* A table on stdout. */
void cli_print_profile(const profile_t *profile);
/* {"format": "mole profile 1", "kinds": [{"kind", "seconds", "gflop", "calls"}]}. 0, or -1 and err. */
int cli_write_profile(const profile_t *profile, const char *path, err_t *err);

#endif
