/* model_copy.c - see model_copy.h. */
#include "model_copy.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"

static const char original[] = "golden/models/sd15-tiny";
static const char *const folders[] = {"",           "/scheduler", "/text_encoder",
                                      "/tokenizer", "/unet",      "/vae"};
static const char *const files[] = {"/model_index.json",
                                    "/scheduler/scheduler_config.json",
                                    "/text_encoder/config.json",
                                    "/text_encoder/model.safetensors",
                                    "/tokenizer/merges.txt",
                                    "/tokenizer/vocab.json",
                                    "/tokenizer/tokenizer_config.json",
                                    "/tokenizer/special_tokens_map.json",
                                    "/tokenizer/tokenizer.json",
                                    "/unet/config.json",
                                    "/unet/diffusion_pytorch_model.safetensors",
                                    "/vae/config.json",
                                    "/vae/diffusion_pytorch_model.safetensors"};

enum { PATH = 1024 };
static char root[PATH];

static void path_of(char path[PATH], const char *file) {
    int length = snprintf(path, PATH, "%s/%s", root, file);
    assert_in_range(length, 1, PATH - 1);
}

const char *model_copy(void) {
    static int number;
    char name[32];
    snprintf(name, sizeof name, "model-%d", number++);
    return model_copy_named(name);
}

const char *model_copy_named(const char *name) {
    char here[PATH_MAX], from[PATH_MAX + PATH], to[PATH];
    snprintf(root, sizeof root, "%s", scratch_path(name));
    assert_non_null(getcwd(here, sizeof here));
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(to, sizeof to, "%s%s", root, folders[i]);
        assert_int_equal(mkdir(to, 0777), 0);
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(from, sizeof from, "%s/%s%s", here, original, files[i]);
        path_of(to, files[i] + 1);
        if (access(from, R_OK) == 0) assert_int_equal(symlink(from, to), 0);
    }
    return root;
}

void model_copy_set(const char *file, const char *key, json_t *value) {
    char path[PATH];
    json_error_t error;
    path_of(path, file);
    json_t *config = json_load_file(path, 0, &error);
    if (!config) fail_msg("%s: %s", path, error.text);
    if (value)
        json_object_set_new(config, key, value);
    else
        json_object_del(config, key);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
}

static int add_zeros(st_writer_t *writer, const char *name, shape_t shape, err_t *err) {
    void *zeros = calloc(shape_count(shape) + 1, sizeof(float));
    int status = st_writer_add(writer, name, DTYPE_F32, shape, zeros, err);
    free(zeros);
    return status;
}

static bool ends_with(const char *name, const char *ending) {
    size_t n = strlen(name), m = strlen(ending);
    return n >= m && strcmp(name + n - m, ending) == 0;
}

/* Write `file` anew: with one more tensor, or (size) with some of another size. */
static void rewrite(const char *file, const char *name, shape_t shape, int dim, size_t size) {
    char path[PATH];
    err_t err;
    st_file_t *old;
    st_writer_t *writer;
    size_t changed = 0;
    path_of(path, file);
    if (st_open(&old, path, &err) || st_writer_open(&writer, path, &err)) fail_msg("%s", err.text);
    int status = size ? 0 : add_zeros(writer, name, shape, &err);
    for (size_t i = 0; !status && i < st_count(old); i++) {
        st_tensor_t t = *st_at(old, i);
        if (size && ends_with(t.name, name)) {
            t.shape.dim[dim] = size;
            status = add_zeros(writer, t.name, t.shape, &err);
            changed++;
        } else {
            status = st_writer_add(writer, t.name, t.dtype, t.shape, t.data, &err);
        }
    }
    /* The link goes, not what it leads to. */
    assert_int_equal(unlink(path), 0);
    if (status || st_writer_finish(writer, &err)) fail_msg("%s", err.text);
    st_close(old);
    assert_true(!size || changed);
}

void model_copy_add(const char *file, const char *name, shape_t shape) {
    rewrite(file, name, shape, 0, 0);
}

void model_copy_resize(const char *file, const char *ending, int dim, size_t size) {
    rewrite(file, ending, SHAPE0(), dim, size);
}
