/* inspect.c - mole inspect: what a model, its experts, or a tensor file hold.
 *
 * Everything is first collected as JSON and then printed, as JSON or as indented lines: one collection, two
 * ways to look. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "io/families.h"
#include "io/file.h"
#include "io/safetensors.h"

static const char command[] = "inspect";

static void print_help(void) {
    printf("usage: mole inspect --model FOLDER [OPTIONS]\n       mole inspect FILE.safetensors\n"
           "       mole inspect --ranges TRACE\n"
           "       mole inspect --statistics TRACE [-o FILE]\n\n"
           "Print the resolved configuration, the parameters of each component, the layers that "
           "experts\n"
           "wrap with ranks and scales, and tensors that nothing uses; or list a file's tensors.\n"
           "With --ranges, print how large and how small the numbers of each tap of a trace are, "
           "and what\n"
           "would overflow or vanish in f16 and bf16.\n"
           "With --statistics, write of each tap mean, deviation, min, max, norm and up to 32 "
           "values, which\n"
           "mole compare takes in place of a trace.\n\n%s"
           "  --ranges             TRACE: a .safetensors, a folder of .npy, or a .npz\n"
           "  --statistics         of such a TRACE, as JSON, or as CSV where -o ends in .csv\n"
           "  --csv                of --statistics: CSV whatever -o ends in\n"
           "  -o, --output FILE    of --statistics: a file in place of stdout\n"
           "  --json               the same as JSON\n\n"
           "example:\n  mole inspect --model golden/models/sd15-tiny \\\n"
           "      --face golden/models/sd15-tiny-mole/face.safetensors \\\n"
           "      --hand golden/models/sd15-tiny-mole/hand.safetensors \\\n"
           "      --gates golden/models/sd15-tiny-mole/gates.safetensors\n",
           cli_model_help);
}

/* ---- collecting ----------------------------------------------------------------------------------- */

static void set_size(json_t *object, const char *key, size_t value) {
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *sizes(const size_t *values, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer((json_int_t)values[i]));
    return list;
}

/* Path, parameters, and what nothing uses. */
static json_t *collect_weights(const weights_t *w) {
    json_t *out = json_pack("{s:s}", "file", weights_path(w)), *unused = json_array();
    size_t ignored = 0;
    set_size(out, "parameters", weights_parameters(w));
    for (size_t i = 0; i < weights_count(w); i++) {
        weight_entry_t entry = weights_entry(w, i);
        ignored += entry.state == WEIGHT_IGNORED;
        if (entry.state == WEIGHT_LEFT_OVER) json_array_append_new(unused, json_string(entry.name));
    }
    set_size(out, "known_and_not_needed", ignored);
    json_object_set_new(out, "left_over", unused);
    return out;
}

static json_t *collect_text_encoder(const text_encoder_t *e) {
    const text_encoder_config_t *c = text_encoder_config(e);
    text_use_t use = text_encoder_use(e);
    json_t *out = collect_weights(text_encoder_weights(e));
    set_size(out, "vocab_size", c->vocab_size);
    set_size(out, "hidden_size", c->hidden_size);
    set_size(out, "intermediate_size", c->intermediate_size);
    set_size(out, "num_hidden_layers", c->num_hidden_layers);
    set_size(out, "num_attention_heads", c->num_attention_heads);
    set_size(out, "max_position_embeddings", c->max_position_embeddings);
    json_object_set_new(out, "hidden_act",
                        json_string(c->hidden_act == ACT_QUICK_GELU ? "quick_gelu" : "gelu"));
    json_object_set_new(out, "layer_norm_eps", json_real(c->layer_norm_eps));
    if (use.pooled) {
        set_size(out, "projection_dim", c->projection_dim);
        json_object_set_new(out, "eos_token_id", json_integer(c->eos_token_id));
    }
    if (use.skip || !use.final_norm) {
        set_size(out, "layers_left_out_of_hidden_states", use.skip);
        json_object_set_new(out, "final_layer_norm", json_boolean(use.final_norm));
    }
    return out;
}

static json_t *collect_unet(const pipeline_t *p) {
    const unet_config_t *c = unet_config(p->unet);
    json_t *out = collect_weights(unet_weights(p->unet)), *down = json_array(), *up = json_array();
    set_size(out, "sample_size", c->sample_size);
    set_size(out, "in_channels", c->in_channels);
    set_size(out, "out_channels", c->out_channels);
    json_object_set_new(out, "block_out_channels", sizes(c->block_out_channels, c->levels));
    for (size_t i = 0; i < c->levels; i++) {
        json_array_append_new(
            down, json_string(c->down_attention[i] ? "CrossAttnDownBlock2D" : "DownBlock2D"));
        bool up_attention = c->down_attention[c->levels - 1 - i];
        json_array_append_new(up, json_string(up_attention ? "CrossAttnUpBlock2D" : "UpBlock2D"));
    }
    json_object_set_new(out, "down_block_types", down);
    json_object_set_new(out, "up_block_types", up);
    set_size(out, "layers_per_block", c->layers_per_block);
    json_object_set_new(out, "heads", sizes(c->heads, c->levels));
    json_object_set_new(out, "transformer_layers_per_block",
                        sizes(c->transformer_depth, c->levels));
    set_size(out, "cross_attention_dim", c->cross_attention_dim);
    set_size(out, "norm_num_groups", c->norm_num_groups);
    json_object_set_new(out, "norm_eps", json_real(c->norm_eps));
    json_object_set_new(out, "transformer_norm_eps", json_real(c->transformer_norm_eps));
    json_object_set_new(out, "layer_norm_eps", json_real(c->layer_norm_eps));
    json_object_set_new(out, "use_linear_projection", json_boolean(c->use_linear_projection));
    json_object_set_new(out, "flip_sin_to_cos", json_boolean(c->flip_sin_to_cos));
    json_object_set_new(out, "freq_shift", json_real(c->freq_shift));
    if (c->upcast_attention)
        json_object_set_new(out, "upcast_attention",
                            json_string("true; no effect, nothing is computed below float32"));
    if (c->added_embedding) {
        json_object_set_new(out, "addition_embed_type", json_string("text_time"));
        set_size(out, "addition_time_embed_dim", c->addition_time_embed_dim);
        set_size(out, "projection_class_embeddings_input_dim",
                 c->projection_class_embeddings_input_dim);
        set_size(out, "text_embeds", unet_text_embeds(c));
    }
    return out;
}

static json_t *collect_vae(const pipeline_t *p) {
    const vae_config_t *c = vae_config(p->vae);
    json_t *out = collect_weights(vae_weights(p->vae));
    set_size(out, "latent_channels", c->latent_channels);
    json_object_set_new(out, "block_out_channels", sizes(c->block_out_channels, c->levels));
    set_size(out, "layers_per_block", c->layers_per_block);
    set_size(out, "norm_num_groups", c->norm_num_groups);
    json_object_set_new(out, "norm_eps", json_real(c->norm_eps));
    json_object_set_new(out, "scaling_factor", json_real(c->scaling_factor));
    return out;
}

static json_t *collect_settings(const ddim_config_t *c) {
    return json_pack("{s:i, s:f, s:f, s:s, s:s, s:i, s:b, s:b, s:s, s:b}", "num_train_timesteps",
                     c->num_train_timesteps, "beta_start", c->beta_start, "beta_end", c->beta_end,
                     "beta_schedule", beta_schedule_name(c->beta_schedule), "timestep_spacing",
                     timestep_spacing_name(c->timestep_spacing), "steps_offset", c->steps_offset,
                     "set_alpha_to_one", c->set_alpha_to_one, "clip_sample", c->clip_sample,
                     "prediction_type", prediction_type_name(c->prediction_type),
                     "rescale_betas_zero_snr", c->rescale_betas_zero_snr);
}

/* Which scheduler the folder asks for, and what of its settings DDIM takes. */
static json_t *collect_scheduler(const ddim_config_t *c, const char *marked_by) {
    json_t *out = collect_settings(c);
    json_object_set_new(out, "asked_for", json_string(c->class_name));
    json_object_set_new(out, "runs", json_string("DDIMScheduler"));
    if (sampler_of_class(c->class_name) == SAMPLER_EULER)
        json_object_set_new(out, "runs_with_scheduler_config",
                            json_string("EulerDiscreteScheduler, unless a setting is not built"));
    if (*marked_by) json_object_set_new(out, "marked_by", json_string(marked_by));
    json_object_set_new(out, "taken_over", json_string(c->taken));
    json_object_set_new(out, "defaults_taken_for", json_string(c->defaults));
    json_object_set_new(out, "left_out", json_string(c->ignored));
    return out;
}

static json_t *collect_tokenizer(const tokenizer_t *tokenizer) {
    const tokenizer_info_t *t = tokenizer_info(tokenizer);
    return json_pack("{s:s, s:I, s:I, s:I, s:i, s:i, s:i, s:s}", "source", t->source, "vocabulary",
                     (json_int_t)t->vocab, "merges", (json_int_t)t->merges, "model_max_length",
                     (json_int_t)t->max_length, "bos", (int)t->bos, "eos", (int)t->eos, "pad",
                     (int)t->pad, "defaults_taken_for", t->defaults);
}

/* One line per wrapped layer: name, shape, and rank and scale of each expert. */
static json_t *collect_layers(const pipeline_t *p) {
    size_t count;
    const mole_site_t *site = unet_mole_sites(p->unet, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const linear_t *layer = site[i].layer;
        json_t *row = json_pack("{s:s, s:s, s:I, s:I}", "layer", layer->name, "kind",
                                site[i].conv ? "Conv2d 1x1" : "Linear", "in", (json_int_t)layer->in,
                                "out", (json_int_t)layer->out);
        for (size_t e = 0; layer->mole && e < layer->mole->experts; e++) {
            const mole_expert_t *expert = &layer->mole->expert[e];
            json_object_set_new(
                row, expert->name,
                json_pack("{s:I, s:f}", "rank", (json_int_t)expert->rank, "scale", expert->scale));
        }
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *collect_experts(const pipeline_t *p, const mole_files_t *files) {
    json_t *out = json_object();
    for (size_t i = 0; i < files->experts; i++)
        json_object_set_new(out, files->name[i], collect_weights(mole_set_expert(p->mole, i)));
    if (files->gates) json_object_set_new(out, "gates", collect_weights(mole_set_gates(p->mole)));
    set_size(out, "layers_wrapped", p->mole_layers);
    return out;
}

static json_t *collect_notes(const notes_t *notes) {
    json_t *list = json_array();
    for (size_t i = 0; i < notes->count; i++)
        json_array_append_new(list, json_string(notes->text[i]));
    return list;
}

/* The family, by the UNet: whether its layout is a published one, and its widths are. */
static json_t *collect_kind(const pipeline_t *p) {
    const unet_config_t *c = unet_config(p->unet);
    ldm_layout_t layout = unet_config_layout(c);
    const family_t *family = family_of_layout(&layout, c->use_linear_projection);
    bool same = family && c->block_out_channels[0] == family->channels &&
                c->cross_attention_dim == family->text;
    return json_sprintf("%s%s", family_name(family), family && !same ? ", in other widths" : "");
}

static json_t *collect_model(const pipeline_t *p, const cli_common_t *common) {
    json_t *out = json_pack("{s:s, s:o, s:s}", "model", common->files.folder, "kind",
                            collect_kind(p), "pipeline", p->kind->class_name);
    set_size(out, "default_size", pipeline_default_size(p));
    const notes_t *notes = common->files.notes;
    if (notes->count) json_object_set_new(out, "notes", collect_notes(notes));
    for (size_t i = 0; i < p->texts; i++) {
        json_object_set_new(out, pipeline_tokenizer_name(i), collect_tokenizer(p->tokenizer[i]));
        json_object_set_new(out, pipeline_text_encoder_name(i),
                            collect_text_encoder(p->text_encoder[i]));
    }
    json_object_set_new(out, "unet", collect_unet(p));
    json_object_set_new(out, "vae_decoder", collect_vae(p));
    json_object_set_new(out, "scheduler_config", collect_scheduler(&p->scheduler, p->marked_by));
    json_object_set_new(out, "scheduler_of_the_authors", collect_settings(&ddim_config_authors));
    if (p->mole) json_object_set_new(out, "mole", collect_experts(p, &common->files.mole));
    json_object_set_new(out, "mole_layers", collect_layers(p));
    return out;
}

static json_t *collect_unread(const st_file_t *file) {
    json_t *list = json_array();
    for (size_t i = 0; i < st_unread_count(file); i++) {
        const st_tensor_t *t = st_unread_at(file, i);
        json_array_append_new(list,
                              json_pack("{s:s, s:s}", "tensor", t->name, "reason", t->unread));
    }
    return list;
}

static json_t *collect_file(const st_file_t *file) {
    json_t *list = json_array();
    family_file_t seen = {0};
    for (size_t i = 0; i < st_count(file); i++) {
        const st_tensor_t *t = st_at(file, i);
        family_see(&seen, t->name, t->shape);
        json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "tensor", t->name, "dtype",
                                              dtype_name(t->dtype), "shape",
                                              sizes(t->shape.dim, (size_t)t->shape.ndim)));
    }
    json_t *out =
        json_pack("{s:s, s:I}", "file", st_path(file), "tensors", (json_int_t)st_count(file));
    if (seen.part)
        json_object_set_new(out, "for",
                            json_sprintf("%s (%s)", family_name(family_of_file(&seen)), seen.part));
    json_object_set_new(out, "list", list);
    if (st_unread_count(file)) json_object_set_new(out, "not_read", collect_unread(file));
    return out;
}

/* ---- printing ------------------------------------------------------------------------------------- */

/* Names out of files go to a terminal. As JSON they stand as they are: json_dumpf escapes what it must. */
static void print_text(const char *text) {
    char *clean = text_clean(xstrdup(text));
    fputs(clean, stdout);
    free(clean);
}

static void print_value(const json_t *value) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));
    print_text(json_is_string(value) ? json_string_value(value) : text ? text : "?");
    free(text);
}

/* An object as indented "key value" lines; a list of objects as one line each. */
static void print_object(const json_t *object, int indent) {
    const char *key;
    json_t *value, *item;
    size_t index;
    json_object_foreach((json_t *)object, key, value) {
        printf("%*s%-*s", indent, "", 26 - indent, key);
        bool rows = json_is_array(value) && json_is_object(json_array_get(value, 0));
        if (json_is_object(value)) {
            printf("\n");
            print_object(value, indent + 2);
        } else if (rows) {
            printf(" %zu\n", json_array_size(value));
            json_array_foreach(value, index, item) {
                const char *name;
                json_t *field;
                printf("%*s", indent + 2, "");
                json_object_foreach(item, name, field) {
                    if (json_is_object(field))
                        printf(" %s ", name);
                    else
                        printf(" ");
                    print_value(field);
                }
                printf("\n");
            }
        } else {
            printf(" ");
            print_value(value);
            printf("\n");
        }
    }
}

static void print_all(json_t *what, bool as_json) {
    if (as_json) {
        json_dumpf(what, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
        printf("\n");
    } else {
        print_object(what, 0);
    }
    json_decref(what);
}

static int inspect_file(const char *path, bool as_json) {
    err_t err;
    st_file_t *file;
    if (st_open_partly(&file, path, &err)) return cli_input_error(command, &err);
    print_all(collect_file(file), as_json);
    st_close(file);
    return 0;
}

static int inspect_model(cli_common_t *common, bool as_json) {
    err_t err;
    pipeline_t pipeline;
    notes_t notes = {0};
    common->files.notes = &notes;
    int status = pipeline_open(&pipeline, &common->files, &err);
    cli_print_notes(command, &notes, 0);
    if (status) {
        status = cli_input_error(command, &err);
    } else {
        cli_warn_scheduler(command, common->files.folder, &pipeline.scheduler);
        print_all(collect_model(&pipeline, common), as_json);
        pipeline_close(&pipeline);
    }
    notes_free(&notes);
    common->files.notes = NULL;
    return status;
}

typedef struct {
    cli_common_t common;
    const char *output;
    bool as_json, ranges, statistics, csv;
} options_t;

/* Of a trace. */
static int inspect_trace(const options_t *o, const char *path) {
    const cli_output_t outputs[] = {{"-o", o->output, CLI_TABLE}, {"TRACE", path, CLI_INPUT}};
    if (o->ranges) return cli_inspect_ranges(path, o->as_json);
    int status = cli_check_outputs(command, outputs, 2);
    bool csv = o->csv || (o->output && text_ends(o->output, ".csv"));
    return status ? status : cli_inspect_statistics(path, o->output, csv);
}

static int check_words(const options_t *o, int words) {
    const char *only = o->ranges ? "--ranges" : "--statistics";
    if (o->ranges && o->statistics)
        return cli_usage_error(command, "--ranges and --statistics are two reports: give one");
    if ((o->ranges || o->statistics) && (o->common.files.folder || words != 1))
        return cli_usage_error(command, "%s takes one trace, and no model", only);
    if (!o->statistics && (o->output || o->csv))
        return cli_usage_error(command, "%s is for --statistics", o->csv ? "--csv" : "-o");
    return 0;
}

int cli_inspect(int argc, char **argv) {
    enum { OPT_JSON = OPT_OWN, OPT_RANGES, OPT_STATISTICS, OPT_CSV };
    static const struct option table[] = {CLI_MODEL_OPTIONS,
                                          {"json", no_argument, NULL, OPT_JSON},
                                          {"ranges", no_argument, NULL, OPT_RANGES},
                                          {"statistics", no_argument, NULL, OPT_STATISTICS},
                                          {"csv", no_argument, NULL, OPT_CSV},
                                          {"output", required_argument, NULL, 'o'},
                                          CLI_HELP_OPTION};
    options_t o = {.common = CLI_COMMON_DEFAULTS};
    int option, status = 0;
    while (!status && (option = cli_next_option(command, argc, argv, ":ho:", table)) != -1) {
        switch (option) {
        case OPT_HELP: return print_help(), 0;
        case '?': return EXIT_USAGE;
        case OPT_JSON: o.as_json = true; break;
        case OPT_RANGES: o.ranges = true; break;
        case OPT_STATISTICS: o.statistics = true; break;
        case OPT_CSV: o.csv = true; break;
        case 'o': o.output = optarg; break;
        default: status = cli_common_option(&o.common, command, option, optarg);
        }
    }
    if (status || (status = check_words(&o, argc - optind))) return status;
    if (o.ranges || o.statistics) return inspect_trace(&o, argv[optind]);
    if (!o.common.files.folder && optind + 1 == argc) return inspect_file(argv[optind], o.as_json);
    if (optind < argc) return cli_usage_error(command, "unexpected word '%s'", argv[optind]);
    if ((status = cli_check_experts(&o.common, command))) return status;
    return inspect_model(&o.common, o.as_json);
}
