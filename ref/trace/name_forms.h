/* name_forms.h - a name without what frameworks wrap around it, and as words. Only the files of names_plan.h
 * include it. */
#ifndef MOLE_TRACE_NAME_FORMS_H
#define MOLE_TRACE_NAME_FORMS_H

#include <stdbool.h>
#include <stddef.h>

enum { NAME_WRAPPERS = 7, NAME_FORMS = 2 };
extern const char *const name_wrappers[NAME_WRAPPERS]; /* "_orig_mod", "module" ... */

/* The forms in which a name is looked up: without wrappers, and then without its ending too. */
typedef struct {
    char *form[NAME_FORMS]; /* (forms), owned */
    size_t forms;
    unsigned wrappers; /* bit i: name_wrappers[i] was taken off */
} name_forms_t;

name_forms_t name_forms(const char *name);
void name_forms_free(name_forms_t *forms);

/* Length of what stands before the last '/' with it, a pass; only of "step.003/" where slashes part words. */
size_t name_pass(const char *name, bool slashes_part_words);
/* Whether a '/' stands before a '.', not counting a step's: then slashes end passes. */
bool name_has_pass(const char *name);

/* The pass, and the words each with a '_' in front: "step.003/_unet_conv_in". Fresh memory. */
char *name_words(const char *name, bool slashes_part_words);

#endif
