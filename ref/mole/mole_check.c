/* mole_check.c - see mole_check.h. */
#include "mole/mole_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/file.h"

/* ---- other kinds of factors ---------------------------------------------------------------------- */

/* What stands behind the layer in a key, and what it is. */
static const struct {
    const char *ending, *kind;
} others[] = {
    {".dora_scale", "DoRA (the columns' lengths are learnt apart)"},
    {".lora_mid.weight", "a third factor between the two, which mixes the ranks (Tucker)"},
    {".lora_down.bias", "a factor with a bias"},
    {".lora_up.bias", "a factor with a bias"},
    {".bias", "a bias"},
    {".bias_values", "a bias of few numbers (LyCORIS)"},
    {".reshape_weight", "a layer of another shape"},
    {".hada_w1_a", "LoHa (a product of two products)"},
    {".hada_w2_a", "LoHa (a product of two products)"},
    {".lokr_w1", "LoKr (Kronecker's product)"},
    {".lokr_w1_a", "LoKr (Kronecker's product)"},
    {".lokr_w2", "LoKr (Kronecker's product)"},
    {".lokr_w2_a", "LoKr (Kronecker's product)"},
    {".oft_blocks", "OFT (rotations)"},
    {".oft_diag", "OFT (rotations)"},
    {".oft_R.weight", "OFT (rotations)"},
    {".a1.weight", "GLoRA"},
    {".b1.weight", "GLoRA"},
    {".on_input", "(IA)^3 (scales of inputs or outputs)"},
    {".diff", "a whole difference of weights"},
    {".diff_b", "a whole difference of biases"},
    {".w_norm", "a difference of a norm"},
    {".set_weight", "a whole weight"},
    {".scalar", "a learnt scale (LyCORIS)"}};

int mole_check_layer(const weights_t *w, const char *layer, err_t *err) {
    char key[512];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        int length = snprintf(key, sizeof key, "%s%s", layer, others[i].ending);
        if (length < 0 || length >= (int)sizeof key || !weights_has(w, key)) continue;
        return err_set(err,
                       "%s: tensor '%s': %s; an expert is two factors and an alpha for each layer "
                       "(lora_down, lora_up), nothing else is computed",
                       weights_path(w), key, others[i].kind);
    }
    return 0;
}

/* ---- names ----------------------------------------------------------------------------------------- */

/* PEFT's and diffusers' names: the factors may be right, under names that are not looked for. */
static bool is_of_another_convention(const char *name) {
    return strstr(name, ".lora_A.") || strstr(name, ".lora_B.") || strstr(name, ".lora.down.") ||
           strstr(name, ".lora.up.") || strstr(name, "_lora.down.") || strstr(name, "_lora.up.");
}

static int check_names(const weights_t *w, notes_t *notes, err_t *err) {
    char shown[SHOWN_TEXT], first[SHOWN_TEXT];
    size_t text_encoder = 0, count = weights_count(w);
    for (size_t i = 0; i < count; i++) {
        const char *name = weights_entry(w, i).name;
        if (is_of_another_convention(name))
            return err_set(err,
                           "%s: tensor '%s' has a name of PEFT or diffusers; expected kohya's "
                           "(lora_unet_..., convert the file)",
                           weights_path(w), text_shown(shown, name));
        if (strncmp(name, "lora_te", 7) == 0 && text_encoder++ == 0) text_shown(first, name);
    }
    if (text_encoder)
        notes_add(
            notes,
            "warning: %s: %zu tensor%s of a text encoder %s not applied, since MoLE's experts "
            "join the UNet alone: '%s'%s",
            weights_path(w), text_encoder, text_encoder > 1 ? "s" : "",
            text_encoder > 1 ? "are" : "is", first, text_encoder > 1 ? ", ..." : "");
    return 0;
}

int mole_check_base(const weights_t *w, family_widths_t base, err_t *err) {
    family_file_t file = {0};
    size_t count = weights_count(w);
    for (size_t i = 0; i < count; i++) {
        weight_entry_t e = weights_entry(w, i);
        family_see(&file, e.name, e.shape);
    }
    if (!file.part || file.mixed || file.widths.text == base.text) return 0;
    const family_t *theirs = family_of_file(&file), *ours = family_of_widths(base);
    char *who = theirs || ours ? xasprintf("for %s, this base model is %s", family_name(theirs),
                                           family_name(ours))
                               : xstrdup("for another base model");
    err_set(err,
            "%s: these %s are %s: their %s of attn2.to_k takes text vectors of %zu numbers, this "
            "UNet hears %zu (cross_attention_dim)",
            weights_path(w), file.part, who, file.of, file.widths.text, base.text);
    free(who);
    return -1;
}

/* ---- metadata -------------------------------------------------------------------------------------- */

typedef struct {
    const weights_t *weights;
    err_t *err;
    int status;
} reader_t;

static bool is_on(const char *text) {
    text += strspn(text, "\"'\\ :=\t");
    return strncasecmp(text, "true", 4) == 0 || *text == '1' || strncasecmp(text, "yes", 3) == 0;
}

/* "use_rslora": true, rs_lora=True, \"rs_lora\": \"True\": behind the word here, or NULL. */
static const char *behind_word(const char *text) {
    if (strncasecmp(text, "rslora", 6) == 0) return text + 6;
    return strncasecmp(text, "rs_lora", 7) == 0 ? text + 7 : NULL;
}

static bool asks_for_rank_stabilised(const char *key, const char *value) {
    for (; *key; key++)
        if (behind_word(key)) return is_on(value);
    for (; *value; value++) {
        const char *behind = behind_word(value);
        if (behind && is_on(behind)) return true;
    }
    return false;
}

static void visit_metadata(void *who, const char *key, const char *value) {
    reader_t *r = who;
    char shown[SHOWN_TEXT];
    if (r->status || !asks_for_rank_stabilised(key, value)) return;
    r->status = err_set(
        r->err,
        "%s: metadata '%s' says rank-stabilised LoRA, whose scale is alpha / sqrt(rank), where "
        "MoLE's is alpha / rank: multiply every alpha by sqrt(rank) unless that was done, and "
        "remove this entry",
        weights_path(r->weights), text_shown(shown, key));
}

int mole_check_file(const weights_t *w, notes_t *notes, err_t *err) {
    reader_t r = {.weights = w, .err = err};
    weights_metadata(w, visit_metadata, &r);
    return r.status ? r.status : check_names(w, notes, err);
}

/* ---- strengths ------------------------------------------------------------------------------------- */

int mole_check_alpha(mole_strengths_t *s, const weights_t *w, const char *key, double alpha,
                     size_t rank, err_t *err) {
    double scale = alpha / (double)rank;
    if (fabs(scale) > MOLE_SCALE_MAX)
        return err_set(err,
                       "%s: tensor '%s' is %g, for a rank of %zu a scale of %g; expected at most "
                       "%g: the file is damaged, or alpha means something else in it",
                       weights_path(w), key, alpha, rank, scale, MOLE_SCALE_MAX);
    if (alpha < 0 && s->negative++ == 0)
        snprintf(s->first_negative, sizeof s->first_negative, "'%.90s' is %g", key, alpha);
    if (alpha != 0 && fabs(scale) < MOLE_SCALE_MIN && s->weak++ == 0)
        snprintf(s->first_weak, sizeof s->first_weak, "'%.90s' is %g", key, alpha);
    return 0;
}

void mole_note_strengths(const mole_strengths_t *s, const char *expert, const weights_t *w,
                         notes_t *notes) {
    if (s->negative)
        notes_add(notes, "warning: %s: %s taken away where alpha is negative, in %zu layer%s: %s",
                  weights_path(w), expert, s->negative, s->negative > 1 ? "s" : "",
                  s->first_negative);
    if (s->weak)
        notes_add(notes, "warning: %s: %s off where alpha is next to nothing, in %zu layer%s: %s",
                  weights_path(w), expert, s->weak, s->weak > 1 ? "s" : "", s->first_weak);
}
