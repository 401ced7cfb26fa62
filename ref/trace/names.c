/* names.c - see names.h: map files, and applying a map.
 *
 * A step's prefix is no part of a module's name: where no rule matches all of "step.003/NAME", the rules
 * are tried on NAME, and the prefix is put back. */
#include "trace/names.h"

#include <ctype.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "core/tap_name.h"
#include "io/file.h"
#include "trace/names_internal.h"

static const size_t map_limit = (size_t)64 << 20;

/* What a map may ask of a matcher; names of taps need a hundredth. A glob takes a level of the stack for each
 * wildcard; regcomp takes memory for the bytes times the product of all repeats, and a level for each
 * parenthesis; regexec's time grows with a power of the repeats that stand in one another, as in ((a*)+)*. */
enum {
    PATTERN_BYTES = 1000,
    GLOB_WILDCARDS = 64,
    REGEX_DEPTH = 16,
    REGEX_REPEATS = 1000,
    REGEX_WRITTEN_OUT = 2000,
    REGEX_INSIDE = 2,
    PATTERNS = 1000
};

typedef struct {
    bool is_regex;
    char *glob;
    regex_t regex;
    char *replacement;
} rule_t;

/* The one name that a glob without wildcards matches. */
typedef struct {
    char *name;
    size_t rule;
} exact_t;

/* A map of --write-map has a rule for every tap: those are looked up by name, and only the others are tried
 * one after the other. */
struct name_map {
    char *(*builtin)(const char *name); /* NULL: the rules of a file */
    bool by_numbers;                    /* "auto", which has none */
    rule_t *rule;
    size_t rules;
    exact_t *exact; /* (exacts), by name, then by rule */
    size_t *tried;  /* (tries): rules with wildcards, in order */
    size_t exacts, tries;
};

static const struct {
    const char *name;
    char *(*map)(const char *name);
} builtins[] = {{"ldm", names_from_ldm}, {"diffusers", names_from_diffusers}};
enum { BUILTINS = sizeof builtins / sizeof builtins[0] };

/* ---- reading a map file ---------------------------------------------------------------------- */

/* The first "->" with white space on both sides. */
static char *find_arrow(char *text) {
    for (char *at = text; (at = strstr(at, "->")); at += 2)
        if (at > text && strchr(" \t", at[-1]) && (at[2] == '\0' || strchr(" \t", at[2])))
            return at;
    return NULL;
}

/* Whether a backslash takes the character at n as it is. */
static bool is_escaped(const char *text, size_t n) {
    size_t backslashes = 0;
    while (n > backslashes && text[n - backslashes - 1] == '\\') backslashes++;
    return backslashes % 2 == 1;
}

static char *trim(char *text) {
    text += strspn(text, " \t");
    for (size_t n = strlen(text); n > 0 && strchr(" \t\r", text[n - 1]) && !is_escaped(text, n - 1);
         n--)
        text[n - 1] = '\0';
    return text;
}

/* A '#' at the start of the line or after white space. */
static void cut_comment(char *line) {
    for (char *p = line; *p; p++)
        if (*p == '#' && (p == line || strchr(" \t", p[-1]))) {
            *p = '\0';
            return;
        }
}

static bool is_piece(char c) {
    return c >= '1' && c <= '9';
}

/* \1 .. \9 must be pieces of the pattern; a backslash takes what is no letter or digit as it is. */
static int check_replacement(const char *replacement, size_t pieces, err_t *err) {
    for (const char *p = replacement; *p; p++) {
        if (*p != '\\') continue;
        p++;
        if (*p == ' ' || ispunct((unsigned char)*p)) continue;
        if (!is_piece(*p))
            return err_set(err,
                           "the replacement has a backslash that is neither \\1 .. \\9 nor \\\\");
        if ((size_t)(*p - '0') > pieces)
            return err_set(err, "the replacement has \\%c, the pattern has %zu pieces", *p, pieces);
    }
    return 0;
}

/* The larger number of {m,n} at p, at least 1. */
static size_t repeats(const char *p) {
    size_t least = strtoul(p + 1, NULL, 10), most = 0;
    const char *comma = strpbrk(p, ",}");
    if (comma && *comma == ',') most = strtoul(comma + 1, NULL, 10);
    if (most < least) most = least;
    return most > 0 ? most : 1;
}

/* Past a bracket expression at p: [^]abc] and [[:alpha:]] hold brackets. */
static const char *after_bracket(const char *p) {
    if (*++p == '^') p++;
    if (*p == ']') p++;
    while (*p && *p != ']') {
        bool class = *p == '[' && p[1] && strchr(":.=", p[1]);
        const char *end = class ? strchr(p + 2, ']') : NULL;
        p = end ? end + 1 : p + 1;
    }
    return *p ? p : p - 1;
}

/* Of a part of a regular expression: how many repeats stand in one another, and how long it is when its
 * {repeats} are written out. */
typedef struct {
    size_t inside, written;
} cost_t;

/* Of an atom with the repeats that follow it at p; {1} is one too. */
static cost_t with_repeats(cost_t atom, const char *p) {
    for (; *p && strchr("*+?{", *p); p++) {
        atom.inside += *p != '?';
        if (*p != '{') continue;
        atom.written *= repeats(p);
        p += strcspn(p, "}") - (strchr(p, '}') == NULL);
    }
    return atom;
}

/* Why the C library is not asked about a regular expression, or NULL. */
static const char *regex_defect(const char *pattern) {
    size_t depth = 0, product = 1;
    cost_t group[REGEX_DEPTH + 1] = {{0, 0}};
    for (const char *p = pattern; *p; p++) {
        cost_t atom = {0, 1};
        bool escaped = *p == '\\' && p[1];
        if (escaped && is_piece(*++p)) return "has a back-reference";
        if (!escaped && *p == '{' && (product *= repeats(p)) > REGEX_REPEATS)
            return "has {repeats} that multiply to more than 1000";
        if (!escaped && *p == '(') {
            if (++depth > REGEX_DEPTH) return "nests parentheses more than 16 deep";
            group[depth] = (cost_t){0, 0};
            continue;
        }
        if (!escaped && *p == '[') p = after_bracket(p);
        if (!escaped && *p == ')' && depth > 0) atom = group[depth--];
        atom = with_repeats(atom, p + 1);
        if (atom.inside > REGEX_INSIDE) return "has repeats in repeats in repeats";
        if (atom.inside > group[depth].inside) group[depth].inside = atom.inside;
        group[depth].written += atom.written;
    }
    return group[0].written > REGEX_WRITTEN_OUT
               ? "is longer than 2000 characters when its {repeats} are written out"
               : NULL;
}

static const char *pattern_defect(const rule_t *rule, const char *pattern) {
    if (strlen(pattern) > PATTERN_BYTES) return "is longer than 1000 bytes";
    if (rule->is_regex) return regex_defect(pattern);
    return glob_wildcards(pattern) > GLOB_WILDCARDS ? "has more than 64 wildcards" : NULL;
}

static int compile(rule_t *rule, const char *pattern, err_t *err) {
    char problem[160];
    const char *defect = pattern_defect(rule, pattern);
    if (defect) {
        const char *what = rule->is_regex ? "regular expression" : "pattern";
        rule->is_regex = false; /* nothing to free */
        return err_set(err, "the %s is too much to match: it %s", what, defect);
    }
    rule->glob = rule->is_regex ? NULL : xstrdup(pattern);
    if (!rule->is_regex) return check_replacement(rule->replacement, glob_wildcards(pattern), err);
    int code = regcomp(&rule->regex, pattern, REG_EXTENDED);
    if (code != 0) {
        regerror(code, NULL, problem, sizeof problem);
        rule->is_regex = false; /* nothing to free */
        return err_set(err, "the regular expression is wrong: %s", problem);
    }
    return check_replacement(rule->replacement, rule->regex.re_nsub, err);
}

static int parse_rule(rule_t *rule, char *line, err_t *err) {
    char shown[SHOWN_TEXT];
    size_t word = strcspn(line, " \t");
    bool is_glob = word == 4 && strncmp(line, "glob", 4) == 0;
    rule->is_regex = word == 5 && strncmp(line, "regex", 5) == 0;
    if (!is_glob && !rule->is_regex)
        return err_set(err, "a rule starts with glob or regex, not with '%s'",
                       text_shown(shown, line));
    char *pattern = line + word, *arrow = find_arrow(pattern);
    rule->is_regex = !is_glob && arrow;
    if (!arrow) return err_set(err, "expected: %.*s PATTERN -> REPLACEMENT", (int)word, line);
    if (find_arrow(arrow + 2)) return err_set(err, "two arrows (->) in one rule");
    *arrow = '\0';
    pattern = trim(pattern);
    rule->replacement = xstrdup(trim(arrow + 2));
    if (!*pattern || !*rule->replacement) {
        rule->is_regex = false;
        return err_set(err, "the %s is empty", *pattern ? "replacement" : "pattern");
    }
    return compile(rule, pattern, err);
}

static const char *line_defect(const char *line) {
    utf8proc_int32_t c;
    for (const char *p = line; *p;) {
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)p, -1, &c);
        if (step <= 0) return "is not UTF-8";
        if (c < 0x20 && c != '\t' && !(c == '\r' && !p[1])) return "holds a control character";
        p += step;
    }
    return NULL;
}

static int parse_lines(name_map_t *map, char *text, const char *path, err_t *err) {
    size_t number = 0;
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0) text += 3; /* a byte order mark */
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        number++;
        const char *defect = line_defect(line);
        if (defect) return err_set(err, "%s: line %zu: %s", path, number, defect);
        cut_comment(line);
        line = trim(line);
        if (!*line) continue;
        map->rule = xrealloc(map->rule, (map->rules + 1) * sizeof *map->rule);
        rule_t *rule = &map->rule[map->rules++];
        *rule = (rule_t){0};
        if (parse_rule(rule, line, err) != 0) return err_prefix(err, "%s: line %zu", path, number);
    }
    return map->rules ? 0 : err_set(err, "%s: holds no rule", path);
}

/* The name that a glob without wildcards stands for, or NULL. */
static char *exact_name(const rule_t *rule) {
    if (rule->is_regex || glob_wildcards(rule->glob)) return NULL;
    char *name = xstrdup(rule->glob), *to = name;
    for (const char *p = rule->glob; *p; p++) {
        if (*p == '\\' && p[1]) p++;
        *to++ = *p;
    }
    *to = '\0';
    return name;
}

static int by_name(const void *a, const void *b) {
    const exact_t *one = a, *other = b;
    int order = strcmp(one->name, other->name);
    return order ? order : (one->rule > other->rule) - (one->rule < other->rule);
}

static void sort_rules(name_map_t *map) {
    map->exact = xcalloc(map->rules + 1, sizeof *map->exact);
    map->tried = xcalloc(map->rules + 1, sizeof *map->tried);
    for (size_t i = 0; i < map->rules; i++) {
        char *name = exact_name(&map->rule[i]);
        if (name)
            map->exact[map->exacts++] = (exact_t){name, i};
        else
            map->tried[map->tries++] = i;
    }
    qsort(map->exact, map->exacts, sizeof *map->exact, by_name);
}

static int read_map(name_map_t *map, const char *path, err_t *err) {
    char *text;
    size_t bytes;
    if (file_read(path, map_limit, &text, &bytes, err) != 0) {
        char *what = err ? xstrdup(err->text) : NULL;
        err_set(err, "%s (a map is a file, or one of the built-in: ldm, diffusers, auto)",
                what ? what : "");
        free(what);
        return -1;
    }
    int status = strlen(text) == bytes ? parse_lines(map, text, path, err)
                                       : err_set(err, "%s: holds a NUL, text was expected", path);
    free(text);
    if (status) return -1;
    sort_rules(map);
    if (map->tries <= PATTERNS) return 0;
    return err_set(err, "%s: %zu rules with wildcards, at most 1000 are tried on every name", path,
                   map->tries);
}

static const char by_numbers[] = "auto";

bool name_map_is_builtin(const char *path_or_name) {
    for (size_t i = 0; i < BUILTINS; i++)
        if (strcmp(path_or_name, builtins[i].name) == 0) return true;
    return strcmp(path_or_name, by_numbers) == 0;
}

bool name_map_is_auto(const name_map_t *map) {
    return map && map->by_numbers;
}

int name_map_open(name_map_t **map, const char *path_or_name, err_t *err) {
    name_map_t *opened = xcalloc(1, sizeof *opened);
    *map = NULL;
    opened->by_numbers = strcmp(path_or_name, by_numbers) == 0;
    for (size_t i = 0; i < BUILTINS; i++)
        if (strcmp(path_or_name, builtins[i].name) == 0) opened->builtin = builtins[i].map;
    if (!name_map_is_builtin(path_or_name) && read_map(opened, path_or_name, err) != 0) {
        name_map_free(opened);
        return -1;
    }
    *map = opened;
    return 0;
}

void name_map_free(name_map_t *map) {
    if (!map) return;
    for (size_t i = 0; i < map->rules; i++) {
        if (map->rule[i].is_regex) regfree(&map->rule[i].regex);
        free(map->rule[i].glob);
        free(map->rule[i].replacement);
    }
    for (size_t i = 0; i < map->exacts; i++) free(map->exact[i].name);
    free(map->exact);
    free(map->tried);
    free(map->rule);
    free(map);
}

/* ---- applying it ----------------------------------------------------------------------------- */

/* The replacement with its pieces put in. */
static char *substitute(const char *replacement, const char *name, const name_piece_t *pieces) {
    size_t length = strlen(replacement), used = 0;
    for (const char *p = replacement; *p; p++)
        if (*p == '\\' && is_piece(*++p)) length += pieces[*p - '1'].end - pieces[*p - '1'].start;
    char *out = xmalloc(length + 1);
    for (const char *p = replacement; *p; p++) {
        if (*p != '\\' || !is_piece(*++p)) {
            out[used++] = *p;
            continue;
        }
        name_piece_t piece = pieces[*p - '1'];
        memcpy(out + used, name + piece.start, piece.end - piece.start);
        used += piece.end - piece.start;
    }
    out[used] = '\0';
    return out;
}

/* POSIX takes the leftmost match and of those the longest, so that one of the whole name is found when
 * there is one. */
static bool regex_match(const regex_t *regex, const char *name, name_piece_t *pieces) {
    regmatch_t match[NAME_PIECES + 1];
    if (regexec(regex, name, NAME_PIECES + 1, match, 0) != 0) return false;
    if (match[0].rm_so != 0 || name[match[0].rm_eo]) return false;
    for (size_t i = 0; i < NAME_PIECES; i++)
        if (match[i + 1].rm_so >= 0) /* else a group that took no part: empty */
            pieces[i] = (name_piece_t){(size_t)match[i + 1].rm_so, (size_t)match[i + 1].rm_eo};
    return true;
}

/* The first rule for this very name: its number, or the number of rules. */
static size_t exact_rule(const name_map_t *map, const char *name) {
    size_t low = 0, high = map->exacts;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(map->exact[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < map->exacts && strcmp(map->exact[low].name, name) == 0 ? map->exact[low].rule
                                                                        : map->rules;
}

/* The first rule that matches, or NULL. */
static const rule_t *rule_for(const name_map_t *map, const char *name, name_piece_t *pieces) {
    size_t exact = exact_rule(map, name);
    for (size_t i = 0; i < map->tries && map->tried[i] < exact; i++) {
        const rule_t *rule = &map->rule[map->tried[i]];
        memset(pieces, 0, NAME_PIECES * sizeof *pieces);
        if (rule->is_regex ? regex_match(&rule->regex, name, pieces)
                           : glob_match(rule->glob, name, pieces))
            return rule;
    }
    return exact < map->rules ? &map->rule[exact] : NULL;
}

/* NULL when no rule matches, or when the one that does leaves nothing of the name. */
static char *apply_rules(const name_map_t *map, const char *name) {
    name_piece_t pieces[NAME_PIECES];
    if (map->builtin) return map->builtin(name);
    const rule_t *rule = rule_for(map, name, pieces);
    char *mapped = rule ? substitute(rule->replacement, name, pieces) : NULL;
    if (!mapped || *mapped) return mapped;
    free(mapped);
    return NULL;
}

char *name_map_apply(const name_map_t *map, const char *name) {
    char *mapped = map ? apply_rules(map, name) : NULL;
    size_t step = tap_step_length(name);
    if (map && !mapped && step) {
        char *rest = apply_rules(map, name + step);
        if (rest) mapped = xasprintf("%.*s%s", (int)step, name, rest);
        free(rest);
    }
    return mapped ? mapped : xstrdup(name);
}
