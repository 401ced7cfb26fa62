/* map_fixture.h - a map of names, opened and asked. */
#ifndef MOLE_TESTS_TRACE_MAP_FIXTURE_H
#define MOLE_TESTS_TRACE_MAP_FIXTURE_H

#include "trace/names.h"

/* name_map_free is due. */
name_map_t *map_of(const char *path_or_name);
void check_mapped(const name_map_t *map, const char *name, const char *wanted);

#endif
