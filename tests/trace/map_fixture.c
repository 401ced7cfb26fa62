/* map_fixture.c - see map_fixture.h. */
#include "map_fixture.h"

#include "../scratch.h"
#include "../unit.h"

name_map_t *map_of(const char *path_or_name) {
    err_t err;
    name_map_t *map;
    must(name_map_open(&map, path_or_name, &err), &err);
    return map;
}

void check_mapped(const name_map_t *map, const char *name, const char *wanted) {
    char *mapped = name_map_apply(map, name);
    if (strcmp(mapped, wanted) != 0) fail_msg("'%s' became '%s', not '%s'", name, mapped, wanted);
    free(mapped);
}
