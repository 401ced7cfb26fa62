/* name_votes.h - which change of the words in front of names would make most of them known. Only the files of
 * names_plan.h include it. */
#ifndef MOLE_TRACE_NAME_VOTES_H
#define MOLE_TRACE_NAME_VOTES_H

#include "core/name_ids.h"

#include <stdbool.h>

/* Words in front, "_text_encoder", that stand for others, "_text_encoder_text_model". trusted: of words that
 * frameworks and pipelines put there or leave out. */
typedef struct {
    char *theirs, *ours;
    size_t votes;
    bool trusted;
} name_change_t;

typedef struct {
    name_change_t *change; /* (changes); most votes first, once asked for */
    size_t changes;

    bool slashes_part_words; /* from here on: the voting itself */
    char **words;            /* (ours), of those that are not taken; NULL of the others */
    name_ids_t lasts;        /* pass and last word */
    size_t *first, *next;    /* of each of these a list of ours: number + 1 */
    size_t ours;
    name_ids_t pairs; /* "theirs\nours", in the order of change[] */
} name_votes_t;

name_votes_t name_votes_open(const char *const *ours, const bool *taken, size_t count,
                             bool slashes_part_words);
/* A stranger votes. */
void name_votes_add(name_votes_t *votes, const char *name);
/* Most votes first; of equals the shorter change. */
void name_votes_sort(name_votes_t *votes);
void name_votes_free(name_votes_t *votes);

#endif
