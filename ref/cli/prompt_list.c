/* prompt_list.c - see prompt_list.h. */
#include "cli/prompt_list.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "io/file.h"

enum { SIDE_MAX = 65528 }; /* the largest multiple of 8 that a picture may have, see io/png.h */

const char *prompt_set(prompt_settings_t *s, char letter, const char *text) {
    switch (letter) {
    case 'w':
        if (cli_parse_size(text, 8, SIDE_MAX, &s->width) && s->width % 8 == 0) return NULL;
        return "a multiple of 8 from 8 to 65528";
    case 'h':
        if (cli_parse_size(text, 8, SIDE_MAX, &s->height) && s->height % 8 == 0) return NULL;
        return "a multiple of 8 from 8 to 65528";
    case 's': return cli_parse_size(text, 1, 1000, &s->steps) ? NULL : "a number from 1 to 1000";
    case 'd': return cli_parse_u64(text, &s->seed) ? NULL : "a whole number from 0 to 2^64-1";
    default: return cli_parse_double(text, 0, 1000, &s->scale) ? NULL : "a number from 0 to 1000";
    }
}

void prompt_list_add(prompt_list_t *list, const char *text, size_t length, const char *negative,
                     const prompt_settings_t *settings) {
    list->prompt = xrealloc(list->prompt, (list->count + 1) * sizeof *list->prompt);
    picture_prompt_t *p = &list->prompt[list->count++];
    p->positive = prompt_suffixed(text, length, false, list->suffixed);
    p->negative = prompt_suffixed(negative, negative ? strlen(negative) : 0, true, list->suffixed);
    p->has_negative = negative || list->suffixed;
    p->set = *settings;
}

/* Without the blanks around it, in place. */
static char *trimmed(char *text) {
    text += strspn(text, " \t\r");
    size_t length = strlen(text);
    while (length && strchr(" \t\r", text[length - 1])) length--;
    text[length] = '\0';
    return text;
}

/* "X VALUE", what stands after one " --". */
static int read_option(char *text, prompt_settings_t *settings, const char **negative, err_t *err) {
    char shown[SHOWN_TEXT], letter = text[0], *value = trimmed(text + (letter != '\0'));
    if (!letter || !strchr("nwhsdl", letter) || (text[1] && !strchr(" \t\r", text[1])))
        return err_set(err,
                       "' --%s' is no option; a line may have --n NEGATIVE, --w WIDTH, --h HEIGHT, "
                       "--s STEPS, --d SEED and --l SCALE",
                       text_shown(shown, text));
    if (letter == 'n') {
        *negative = value;
        return 0;
    }
    const char *takes = prompt_set(settings, letter, value);
    if (!takes) return 0;
    return err_set(err, "--%c takes %s, not '%s'", letter, takes, text_shown(shown, value));
}

/* Where the next " --" begins, or NULL. */
static char *next_option(char *text) {
    return strstr(text, " --");
}

static int read_line(prompt_list_t *list, char *line, const char *negative,
                     const prompt_settings_t *usual, err_t *err) {
    prompt_settings_t settings = *usual;
    size_t length = strlen(line);
    if (length && line[length - 1] == '\r') line[--length] = '\0';
    if (strspn(line, " \t\r") == length) return 0;
    char *option = strncmp(line, "--", 2) == 0 ? line : next_option(line);
    if (option == line) return err_set(err, "options without a prompt before them");
    if (option) length = (size_t)(option - line);
    if (strspn(line, " \t\r") >= length)
        return err_set(err, "options without a prompt before them");
    while (option) {
        char *text = option + strlen(" --");
        option = next_option(text);
        if (option) *option = '\0';
        if (read_option(text, &settings, &negative, err)) return -1;
    }
    prompt_list_add(list, line, length, negative, &settings);
    return 0;
}

int prompt_list_read(prompt_list_t *list, const char *path, const char *negative,
                     const prompt_settings_t *settings, err_t *err) {
    enum { LIMIT = 64 << 20 };
    char *data;
    size_t bytes, number = 0;
    int status = 0;
    if (file_read(path, LIMIT, &data, &bytes, err)) return -1;
    if (memchr(data, '\0', bytes))
        status = err_set(err, "%s: has a NUL byte; expected text, one prompt a line", path);
    for (char *line = data, *next; !status && line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        number++;
        if (read_line(list, line, negative, settings, err))
            status = err_prefix(err, "%s: line %zu", path, number);
    }
    free(data);
    if (!status && !list->count) status = err_set(err, "%s: holds no prompt", path);
    return status;
}

void prompt_list_free(prompt_list_t *list) {
    for (size_t i = 0; i < list->count; i++) {
        free(list->prompt[i].positive);
        free(list->prompt[i].negative);
    }
    free(list->prompt);
    *list = (prompt_list_t){0};
}
