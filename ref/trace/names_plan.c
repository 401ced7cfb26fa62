/* names_plan.c - see names_plan.h.
 *
 * A rule says how a trace's names differ from ours. The rule that makes the most names known is taken,
 * then the next for those that are left, until none makes another name known. Rules that put words in
 * front, or take them off, come from the names themselves: every pair of a stranger and one of ours whose
 * last words agree votes for the change of what stands before. */
#include "trace/names_plan.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/name_ids.h"
#include "trace/name_forms.h"
#include "trace/name_votes.h"
#include "trace/names_internal.h"

/* Names that vote, at most; a trace of many steps has the same names in each. PROBES: whose numbers are
 * asked. */
enum { VOTERS = 4096, PROBES = 12 };

typedef enum { RULE_PLAIN, RULE_GIVEN, RULE_MAP, RULE_FRONT } rule_kind_t;

typedef struct {
    rule_kind_t kind;
    const name_map_t *given; /* of RULE_GIVEN */
    const char *map;         /* of RULE_MAP: its name */
    char *(*apply)(const char *name);
    char *theirs, *ours; /* of RULE_FRONT: words in front, "_text_encoder" */
} rule_t;

struct names_plan {
    bool slashes_part_words;
    name_ids_t keys; /* of ours, as words */
    size_t *owner;   /* (keys.count): which of ours; AMBIGUOUS: several */
    rule_t *rule;
    size_t rules;
    char **saying;
    size_t sayings;
};

#define NOBODY    SIZE_MAX
#define AMBIGUOUS (SIZE_MAX - 1)

/* ---- looking up ---------------------------------------------------------------------------------------- */

static void index_ours(names_plan_t *p, const names_question_t *q) {
    p->owner = xcalloc(q->count + 1, sizeof *p->owner);
    for (size_t i = 0; i < q->count; i++) {
        if (!q->ours[i]) continue;
        char *words = name_words(q->ours[i], p->slashes_part_words);
        size_t known = p->keys.count, id = name_id(&p->keys, words);
        p->owner[id] = id < known ? AMBIGUOUS : i;
        free(words);
    }
}

static size_t owner_of(const names_plan_t *p, const char *words) {
    size_t id = name_id_of(&p->keys, words), owner = id == SIZE_MAX ? NOBODY : p->owner[id];
    return owner == AMBIGUOUS ? NOBODY : owner;
}

/* A single-file checkpoint's names with more in front: from the last element that such files begin with. */
static const char *checkpoint_part(const char *name) {
    static const char *const fronts[] = {"model.diffusion_model", "first_stage_model",
                                         "cond_stage_model"};
    for (size_t i = 0; i < sizeof fronts / sizeof fronts[0]; i++) {
        const char *at = strstr(name, fronts[i]);
        if (at && at > name && at[-1] == '.') return at;
    }
    return name;
}

static size_t look_up_plain(const names_plan_t *p, const char *name) {
    char *words = name_words(name, p->slashes_part_words);
    size_t found = owner_of(p, words);
    free(words);
    return found;
}

static size_t look_up_given(const names_plan_t *p, const rule_t *rule, const char *form) {
    char *mapped = name_map_apply(rule->given, form);
    size_t found = look_up_plain(p, mapped);
    free(mapped);
    return found;
}

static size_t look_up_map(const names_plan_t *p, const rule_t *rule, const char *form) {
    size_t pass = name_pass(form, p->slashes_part_words);
    char *mapped = rule->apply(checkpoint_part(form + pass));
    if (!mapped) return NOBODY;
    char *whole = xasprintf("%.*s%s", (int)pass, form, mapped);
    size_t found = look_up_plain(p, whole);
    free(whole);
    free(mapped);
    return found;
}

static size_t look_up_front(const names_plan_t *p, const rule_t *rule, const char *form) {
    char *words = name_words(form, p->slashes_part_words);
    size_t pass = name_pass(form, p->slashes_part_words), front = strlen(rule->theirs);
    size_t found = NOBODY;
    if (strncmp(words + pass, rule->theirs, front) == 0 && words[pass + front] == '_') {
        char *changed = xasprintf("%.*s%s%s", (int)pass, words, rule->ours, words + pass + front);
        found = owner_of(p, changed);
        free(changed);
    }
    free(words);
    return found;
}

static size_t look_up_form(const names_plan_t *p, const rule_t *rule, const char *form) {
    switch (rule->kind) {
    case RULE_GIVEN: return look_up_given(p, rule, form);
    case RULE_MAP: return look_up_map(p, rule, form);
    case RULE_FRONT: return look_up_front(p, rule, form);
    default: return look_up_plain(p, form);
    }
}

/* The first form that is one of ours, not taken (taken may be NULL): which of ours, and *form. */
static size_t look_up(const names_plan_t *p, const rule_t *rule, const name_forms_t *f,
                      const bool *taken, size_t *form) {
    *form = 0;
    for (size_t i = 0; i < f->forms; i++) {
        size_t found = look_up_form(p, rule, f->form[i]);
        *form = i;
        if (found != NOBODY && !(taken && taken[found])) return found;
    }
    return NOBODY;
}

/* ---- finding rules ------------------------------------------------------------------------------------- */

typedef struct {
    names_plan_t *plan;
    const names_question_t *question;
    name_forms_t *forms; /* (strangers) */
    size_t *meant;
} search_t;

/* How many of the strangers that are left a rule makes known, at most `most`. */
static size_t count_known(const search_t *s, const rule_t *rule, size_t most) {
    size_t known = 0, form;
    for (size_t i = 0; i < s->question->strangers && known < most; i++)
        known += s->meant[i] == NOBODY &&
                 look_up(s->plan, rule, &s->forms[i], s->question->taken, &form) != NOBODY;
    return known;
}

/* Of the names that a rule makes known, some all over the trace: whose numbers fit? */
static size_t count_same(const search_t *s, const rule_t *rule) {
    const names_question_t *q = s->question;
    size_t same = 0, asked = 0, form, step = q->strangers / PROBES + 1;
    for (size_t first = 0; q->same && first < step && asked < PROBES; first++)
        for (size_t i = first; i < q->strangers && asked < PROBES; i += step) {
            if (s->meant[i] != NOBODY) continue;
            size_t found = look_up(s->plan, rule, &s->forms[i], q->taken, &form);
            int answer = found == NOBODY ? -1 : q->same(q->context, i, found);
            asked += answer >= 0;
            same += answer > 0;
        }
    return same;
}

static name_votes_t vote(const search_t *s) {
    const names_question_t *q = s->question;
    name_votes_t votes = name_votes_open(q->ours, q->taken, q->count, s->plan->slashes_part_words);
    size_t left = 0, stride;
    for (size_t i = 0; i < q->strangers; i++) left += s->meant[i] == NOBODY;
    stride = left / VOTERS + 1;
    for (size_t i = 0, n = 0; i < q->strangers; i++)
        if (s->meant[i] == NOBODY && n++ % stride == 0)
            for (size_t f = 0; f < s->forms[i].forms; f++)
                name_votes_add(&votes, s->forms[i].form[f]);
    name_votes_sort(&votes);
    return votes;
}

static rule_t front_rule(const name_change_t *change) {
    return (rule_t){.kind = RULE_FRONT, .theirs = change->theirs, .ours = change->ours};
}

/* A change that as many names want as another that starts from the same words, and one of words that nobody
 * knows, is believed if numbers speak for it. */
static bool believed(const search_t *s, const name_votes_t *votes, size_t at) {
    const name_change_t *change = &votes->change[at];
    rule_t rule = front_rule(change);
    size_t same = SIZE_MAX;
    if (!change->trusted && change->votes < 3) return false;
    if (!change->trusted) same = count_same(s, &rule);
    for (size_t i = 0; same && i < votes->changes; i++) {
        const name_change_t *other = &votes->change[i];
        if (i == at || 10 * other->votes < 9 * change->votes ||
            strcmp(other->theirs, change->theirs) != 0)
            continue;
        if (change->trusted && !other->trusted) continue;
        rule_t rival = front_rule(other);
        if (same == SIZE_MAX) same = count_same(s, &rule);
        if (count_same(s, &rival) >= same) return false;
    }
    return same > 0;
}

static const struct {
    const char *name;
    char *(*map)(const char *name);
} maps[] = {{"ldm", names_from_ldm}, {"diffusers", names_from_diffusers}};
enum { MAPS = sizeof maps / sizeof maps[0] };

/* The rule that makes most of the names known that are left; false when none does. */
static bool next_rule(const search_t *s, rule_t *best) {
    name_votes_t votes = vote(s);
    size_t most = 0;
    for (size_t i = 0; i < votes.changes && !most; i++)
        if (believed(s, &votes, i)) {
            const name_change_t *change = &votes.change[i];
            *best = (rule_t){.kind = RULE_FRONT,
                             .theirs = xstrdup(change->theirs),
                             .ours = xstrdup(change->ours)};
            most = count_known(s, best, SIZE_MAX);
        }
    for (size_t m = 0; m < MAPS; m++) {
        rule_t rule = {.kind = RULE_MAP, .map = maps[m].name, .apply = maps[m].map};
        size_t known = count_known(s, &rule, SIZE_MAX);
        if (known <= most) continue;
        free(best->theirs);
        free(best->ours);
        *best = rule;
        most = known;
    }
    name_votes_free(&votes);
    return most > 0;
}

/* ---- applying them, and saying so ---------------------------------------------------------------------- */

typedef struct {
    size_t known, endings, respelled, wrapped[NAME_WRAPPERS];
    const char *ending;             /* an example */
    const char *theirs, *ours;      /* an example of the rule */
    const char *spelt, *spelt_ours; /* and of another spelling */
} tally_t;

static void count_one(tally_t *t, const search_t *s, size_t i, size_t form, bool plain) {
    const char *ours = s->question->ours[s->meant[i]], *theirs = s->question->theirs[i];
    const name_forms_t *f = &s->forms[i];
    if (!t->known++) t->theirs = theirs, t->ours = ours;
    for (size_t w = 0; w < NAME_WRAPPERS; w++) t->wrapped[w] += f->wrappers >> w & 1;
    if (form > 0 && !t->endings++) t->ending = f->form[0] + strlen(f->form[form]);
    if (plain && strcmp(f->form[form], ours) != 0 && !t->respelled++)
        t->spelt = theirs, t->spelt_ours = ours;
}

static void say(names_plan_t *p, char *saying) {
    p->saying = xrealloc(p->saying, (p->sayings + 1) * sizeof *p->saying);
    p->saying[p->sayings++] = saying;
}

static const char *plural(size_t n) {
    return n == 1 ? "" : "s";
}

static void say_rule(names_plan_t *p, const rule_t *rule, const tally_t *t) {
    bool one = t->known == 1;
    const char *kind = one ? "has other words in front" : "have other words in front";
    if (rule->kind == RULE_PLAIN || rule->kind == RULE_GIVEN) return;
    if (rule->kind == RULE_MAP) {
        say(p,
            xasprintf("%zu name%s as the built-in map '%s' knows them (--map %s): '%.120s' is read "
                      "as '%.120s'",
                      t->known, plural(t->known), rule->map, rule->map, t->theirs, t->ours));
        return;
    }
    size_t theirs = strlen(rule->theirs), ours = strlen(rule->ours);
    if (strncmp(rule->theirs, rule->ours, theirs < ours ? theirs : ours) == 0)
        kind = theirs < ours ? (one ? "lacks words in front" : "lack words in front")
               : one         ? "has words too many in front"
                             : "have words too many in front";
    say(p, xasprintf("%zu name%s %s: '%.120s' is read as '%.120s'", t->known, plural(t->known),
                     kind, t->theirs, t->ours));
}

/* Makes known what the rule makes known. */
static void use(search_t *s, rule_t rule, tally_t *all) {
    names_plan_t *p = s->plan;
    tally_t t = {0};
    for (size_t i = 0; i < s->question->strangers; i++) {
        size_t form;
        if (s->meant[i] != NOBODY) continue;
        s->meant[i] = look_up(p, &rule, &s->forms[i], s->question->taken, &form);
        if (s->meant[i] == NOBODY) continue;
        count_one(&t, s, i, form, rule.kind == RULE_PLAIN);
        count_one(all, s, i, form, rule.kind == RULE_PLAIN);
    }
    p->rule = xrealloc(p->rule, (p->rules + 1) * sizeof *p->rule);
    p->rule[p->rules++] = rule;
    if (t.known) say_rule(p, &rule, &t);
}

static void say_all(names_plan_t *p, const tally_t *t) {
    for (size_t w = 0; w < NAME_WRAPPERS; w++)
        if (t->wrapped[w])
            say(p, xasprintf("'%s' taken off %zu name%s", name_wrappers[w], t->wrapped[w],
                             plural(t->wrapped[w])));
    if (t->endings)
        say(p, xasprintf("the ending '%.40s' taken off %zu name%s", t->ending, t->endings,
                         plural(t->endings)));
    if (t->respelled)
        say(p, xasprintf("%zu name%s spelled otherwise: '%.120s' is read as '%.120s'", t->respelled,
                         plural(t->respelled), t->spelt, t->spelt_ours));
}

static bool any_pass(const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (names[i] && name_has_pass(names[i])) return true;
    return false;
}

names_plan_t *names_plan(const names_question_t *q, size_t *meant) {
    names_plan_t *p = xcalloc(1, sizeof *p);
    search_t s = {p, q, xcalloc(q->strangers + 1, sizeof *s.forms), meant};
    tally_t all = {0};
    rule_t rule = {.kind = RULE_PLAIN};
    p->slashes_part_words = !any_pass(q->ours, q->count) && !any_pass(q->theirs, q->strangers);
    index_ours(p, q);
    for (size_t i = 0; i < q->strangers; i++) {
        s.forms[i] = name_forms(q->theirs[i]);
        meant[i] = NOBODY;
    }
    use(&s, rule, &all);
    if (q->map) use(&s, (rule_t){.kind = RULE_GIVEN, .given = q->map}, &all);
    for (rule = (rule_t){0}; next_rule(&s, &rule); rule = (rule_t){0}) use(&s, rule, &all);
    say_all(p, &all);
    for (size_t i = 0; i < q->strangers; i++) name_forms_free(&s.forms[i]);
    free(s.forms);
    return p;
}

size_t names_plan_apply(names_plan_t *p, const char *name) {
    size_t found = NOBODY, form;
    name_forms_t f = name_forms(name);
    for (size_t i = 0; i < p->rules && found == NOBODY; i++)
        found = look_up(p, &p->rule[i], &f, NULL, &form);
    name_forms_free(&f);
    return found;
}

size_t names_plan_said(const names_plan_t *p) {
    return p->sayings;
}

const char *names_plan_saying(const names_plan_t *p, size_t index) {
    return p->saying[index];
}

void names_plan_free(names_plan_t *p) {
    if (!p) return;
    for (size_t i = 0; i < p->rules; i++) {
        free(p->rule[i].theirs);
        free(p->rule[i].ours);
    }
    for (size_t i = 0; i < p->sayings; i++) free(p->saying[i]);
    free(p->rule);
    free(p->saying);
    free(p->owner);
    name_ids_free(&p->keys);
    free(p);
}

bool names_are_ldm(const char *const *names, size_t count) {
    size_t known = 0;
    for (size_t i = 0; i < count; i++) {
        name_forms_t f = name_forms(names[i]);
        char *mapped = names_from_ldm(checkpoint_part(f.form[0] + name_pass(f.form[0], false)));
        known += mapped != NULL;
        free(mapped);
        name_forms_free(&f);
    }
    return count > 0 && 2 * known > count;
}
